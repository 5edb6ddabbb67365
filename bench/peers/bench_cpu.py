"""Times what others offer on a CPU beside our rows, one mode and row a process, and prints a line of JSON as ours do
(bench/one_row.h). scripts/bench runs it; by hand:

    python3 bench/peers/bench_cpu.py --versions
    python3 bench/peers/bench_cpu.py --mode openvino --row session/facades512/bf16 --threads 2 --calls 9

Modes of the model's rows (session, train_step):
  eager, eager-last      PyTorch as written; weights and pictures in channels_last
  compile, compile-last  torch.compile
  freeze, freeze-last    inference: torch.compile with the weights as constants
  openvino, onnxruntime  inference: the exported model; ONNX Runtime in float32 alone
Modes of single kernels (rows of tests/op_cases.h): torch, torch-last, and onednn: PyTorch's mkldnn tensors, whose pictures
and weights lie as oneDNN wants them before the clock starts.
Needs: pip install torch numpy; for the last two modes of the model also onnx openvino onnxruntime.
"""
import argparse
import dataclasses
import importlib.metadata
import importlib.util
import json
import re
import resource
import sys
import tempfile
import time
from pathlib import Path

NEEDS = {"eager": ["torch"], "eager-last": ["torch"], "compile": ["torch"], "compile-last": ["torch"], "freeze": ["torch"],
         "freeze-last": ["torch"], "torch": ["torch"], "torch-last": ["torch"], "onednn": ["torch"],
         "openvino": ["torch", "numpy", "onnx", "openvino"], "onnxruntime": ["torch", "numpy", "onnx", "onnxruntime"]}
INFERENCE_MODES = ["eager", "eager-last", "compile", "compile-last", "freeze", "freeze-last", "openvino", "onnxruntime"]
# For glibc's malloc: keep freed memory, as our allocator does. It helps every peer.
MALLOC_KEEPS_PAGES = {"MALLOC_TRIM_THRESHOLD_": "4294967296", "MALLOC_MMAP_THRESHOLD_": "4294967296",
                      "MALLOC_TOP_PAD_": "67108864"}
TRAINING_MODES = ["eager", "eager-last", "compile", "compile-last"]


def versions():
    """Of what is installed, without importing it."""
    packages = sorted({package for needed in NEEDS.values() for package in needed})
    return {package: importlib.metadata.version(package) for package in packages if importlib.util.find_spec(package)}


def missing(mode, installed):
    return [package for package in NEEDS[mode] if package not in installed]


def modes_for(row):
    """Those that can do a row named kind/.../precision, the installed packages apart."""
    kind, precision = row.split("/")[0], row.rsplit("/", 1)[1]
    if kind == "train_step":
        return TRAINING_MODES
    if kind == "session":
        return [mode for mode in INFERENCE_MODES if (mode, precision) != ("onnxruntime", "bf16")]
    if kind == "conv2d":
        return ["torch", "torch-last"] + (["onednn"] if "/forward/" in row else [])
    return ["torch"]


def time_calls(work, calls):
    """As bench/one_row.cpp does it."""
    work()
    work()
    milliseconds = []
    while len(milliseconds) < calls or (sum(milliseconds) < 250 and len(milliseconds) < 1000):
        begin = time.perf_counter()
        work()
        milliseconds.append(1000 * (time.perf_counter() - begin))
    return milliseconds


# ---- the model ------------------------------------------------------------------------------------------------------


def exported(generator, x):
    """The float32 model as an ONNX file, made anew: a file left by another run may be of another model."""
    import torch

    class Picture(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.generator = generator

        def forward(self, x):
            return self.generator(x)[0]

    path = Path(tempfile.mkdtemp(prefix="asapnet-onnx-")) / "generator.onnx"
    torch.onnx.export(Picture(), (x,), str(path), opset_version=17, dynamo=False)
    return path


def remove(path):
    path.unlink()
    path.parent.rmdir()


def frozen_work(generator, labels, instance, dtype, layout):
    """The weights become constants of the compiled code, which may then lay them out as it likes."""
    import torch
    import torch._inductor.config
    from asapnet_torch import one_hot_input
    torch._inductor.config.freezing = True
    generator = generator.to(memory_format=layout)
    compiled = torch.compile(lambda x: generator(x)[0])
    return lambda: compiled(one_hot_input(generator.config, labels, instance, dtype).contiguous(memory_format=layout))


def openvino_work(generator, x, threads, precision):
    import openvino
    path = exported(generator, x)
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads,
             "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32"}
    request = openvino.Core().compile_model(str(path), "CPU", hints).create_infer_request()
    remove(path)
    return lambda: request.infer([x.numpy()])


def onnxruntime_work(generator, x, threads):
    import onnxruntime
    path = exported(generator, x)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    remove(path)
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: x.numpy()})


def model_work(row, mode, threads):
    import torch
    from asapnet_torch import Generator, one_hot_input, preset
    from bench_torch import Row, make_work, random_picture
    kind, name, precision = row.split("/")
    if kind == "train_step" or mode.startswith(("eager", "compile")):
        kind = {"session": "inference"}.get(kind, kind)
        return make_work(Row(kind, name, 1, precision, mode), "cpu", lean=True)  # without D's gradients that nobody needs
    config = preset(name)
    labels, instance, _ = random_picture(config, 1, "cpu")
    generator = Generator(config).eval()
    x = one_hot_input(config, labels, instance)
    if mode == "openvino":
        return openvino_work(generator, x, threads, precision)
    if mode == "onnxruntime":
        return onnxruntime_work(generator, x, threads)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    layout = torch.channels_last if mode.endswith("-last") else torch.contiguous_format
    return frozen_work(generator.to(dtype), labels, instance, dtype, layout)


# ---- single kernels -------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Conv:
    inputs: int
    outputs: int
    size: int
    kernel: int
    stride: int = 1
    padding: int = 0


CONVS = {
    "G_3x3_1024_1024_@18": Conv(1024, 1024, 18, 3),
    "G_1x1_1024_14851_@16": Conv(1024, 14851, 16, 1),
    "G_3x3_s2_64_64_@257": Conv(64, 64, 257, 3, 2),
    "D_4x4_s2_64_128_@257": Conv(64, 128, 257, 4, 2, 2),
    "VGG_3x3_64_64_@512": Conv(64, 64, 512, 3, 1, 1),
    "VGG_3x3_256_256_@128": Conv(256, 256, 128, 3, 1, 1),
    "VGG_3x3_512_512_@32": Conv(512, 512, 32, 3, 1, 1),
}
MATMULS = {"2048x2048x2048_nn": ([2048, 2048], [2048, 2048]), "256_tiles_1024x64x64_nn": ([256, 1024, 64], [256, 64, 64]),
           "1024x256x9216_nn": ([1024, 9216], [9216, 256])}


def conv_work(name, direction, mode, dtype):
    import torch
    import torch.nn.functional as F
    conv = CONVS[name]
    layout = torch.channels_last if mode == "torch-last" else torch.contiguous_format
    x = torch.randn(1, conv.inputs, conv.size, conv.size, dtype=dtype).contiguous(memory_format=layout)
    w = torch.randn(conv.outputs, conv.inputs, conv.kernel, conv.kernel, dtype=dtype).contiguous(memory_format=layout)
    if mode == "onednn":
        packed = torch._C._nn.mkldnn_reorder_conv2d_weight(w.to_mkldnn(), conv.padding, conv.stride, 1, 1, list(x.shape))
        blocked = x.to_mkldnn()
        return lambda: torch.conv2d(blocked, packed, None, conv.stride, conv.padding)
    if direction == "forward":
        return lambda: F.conv2d(x, w, None, conv.stride, conv.padding)
    dy = F.conv2d(x, w, None, conv.stride, conv.padding)
    wanted = [direction == "input_grad", direction == "weight_grad", False]
    return lambda: torch.ops.aten.convolution_backward(dy, x, w, None, [conv.stride] * 2, [conv.padding] * 2, [1, 1], False,
                                                       [0, 0], 1, wanted)


def norm_work(name, direction, dtype):
    import torch
    import torch.nn.functional as F
    shape = [1] + [int(n) for n in re.findall(r"\d+", name)]
    x = torch.randn(shape, dtype=dtype, requires_grad=direction == "backward")
    gamma, beta = torch.randn(shape[1]), torch.randn(shape[1])
    if dtype != torch.float32:
        gamma, beta = gamma.to(dtype), beta.to(dtype)

    def forward():
        return F.relu(F.instance_norm(x, weight=gamma, bias=beta), inplace=True)

    if direction == "forward":
        return forward
    y = forward()
    dy = torch.randn_like(y)
    return lambda: torch.autograd.grad(y, x, dy, retain_graph=True)


def tile_mlp_work(name, direction, dtype):
    import torch
    from asapnet_torch import highres_stream, preset
    config = preset(name.replace("_", ""))
    grid = config.crop_size // config.tile
    x = torch.randn(1, config.input_channels, config.height, config.crop_size, dtype=dtype)
    phi = (0.1 * torch.randn(1, config.phi_channels, grid, grid)).to(dtype).requires_grad_(direction == "backward")
    if direction == "forward":
        return lambda: highres_stream(config, x, phi)
    dy = torch.randn(1, 3, config.height, config.crop_size, dtype=dtype)
    # Ours computes the hidden layers anew from x and phi, as training does; so PyTorch's forward pass belongs to its time.
    return lambda: torch.autograd.grad(highres_stream(config, x, phi), phi, dy)


def op_work(row, mode):
    import torch
    parts = row.split("/")
    family, name, precision = parts[0], parts[1], parts[-1]
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    if family == "conv2d":
        return conv_work(name, parts[2], mode, dtype)
    if family == "instance_norm":
        return norm_work(name, parts[2], dtype)
    if family == "tile_mlp":
        return tile_mlp_work(name, parts[2], dtype)
    if family == "matmul":
        a, b = (torch.randn(shape, dtype=dtype) for shape in MATMULS[name])
        return lambda: torch.matmul(a, b)
    raise ValueError(f"there is no peer for {row}")


# ---- the program ----------------------------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", action="store_true", help="print what is installed as JSON")
    parser.add_argument("--mode", choices=sorted(NEEDS))
    parser.add_argument("--row", metavar="NAME/PRECISION", help="precision: float32 or bf16")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="default: PyTorch's choice")
    parser.add_argument("--calls", type=int, default=9, metavar="N")
    arguments = parser.parse_args()
    if arguments.versions:
        print(json.dumps(versions()))
        return
    if not arguments.row or arguments.mode not in modes_for(arguments.row):
        parser.error("--row and a --mode that can do it are needed")
    if lacks := missing(arguments.mode, versions()):
        sys.exit(f"bench_cpu.py: {arguments.mode} needs what is not installed: pip install {' '.join(lacks)}")

    import torch
    threads = arguments.threads or torch.get_num_threads()
    torch.set_num_threads(threads)
    kind = arguments.row.split("/")[0]
    torch.set_grad_enabled(kind == "train_step" or "/backward/" in arguments.row)
    if kind in ("session", "train_step"):
        work = model_work(arguments.row, arguments.mode, threads)
    else:
        work = op_work(arguments.row, arguments.mode)
    milliseconds = time_calls(work, arguments.calls)
    print(json.dumps({"row": arguments.row, "ms": milliseconds,
                      "process_MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))


if __name__ == "__main__":
    main()
