"""Times asapnet_torch.py under the names that bench_asapnet prints, so that rows can be laid side by side:

    python3 bench/peers/bench_torch.py --threads 2 --reuse-pages
    python3 bench/peers/bench_torch.py --device cuda --modes eager,graphs --filter facades512 --out torch.json

Random weights, VGG-19 of the full widths. On the CPU, float32 at batch 1; every row runs in a process of its own, so that
its peak resident memory is its own. --reuse-pages tells glibc's malloc to keep freed memory, as our allocator does; without
it PyTorch spends a good part of its time on page faults. Compare with the faster of the two.

On a GPU all rows run in one process and are timed by CUDA events around one call on an idle card: median of many.
  modes       eager: as written. graphs: captured once as a CUDA graph, replayed. compile: torch.compile.
              compile-graphs: the compiled code captured as a CUDA graph. Each also with -last behind it: weights and
              pictures in channels_last, which cuDNN's tensor-core convolutions want.
  precisions  float32: no TF32 anywhere. tf32: in products and convolutions. bf16: inference with weights and activations
              in bfloat16, training under autocast.
cuDNN may try its algorithms first (benchmark mode); Adam is fused; losses stay on the card. The rows worth most come first,
and --seconds ends the run in time: what is then missing is listed as not run.
"""
import argparse
import dataclasses
import functools
import gc
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time

import torch

from asapnet_torch import (Discriminator, Generator, TrainingStep, Vgg19, highres_stream, one_hot_input, preset)
from bench_cpu import MALLOC_KEEPS_PAGES

CPU_INFERENCE = ["facades256", "facades512", "facades1024", "cityscapes256", "cityscapes512"]
CPU_TRAINING = ["facades256", "facades512"]
MODES = [mode + layout for mode in ("eager", "graphs", "compile", "compile-graphs") for layout in ("", "-last")]
PRECISIONS = ["float32", "tf32", "bf16"]
# Kind, preset, batch: the most telling first.
CUDA_WORK = [("inference", "facades512", 1), ("train_step", "facades256", 1), ("inference", "facades1024", 1),
             ("inference", "facades256", 1), ("inference", "cityscapes512", 1), ("train_step", "facades512", 1),
             ("inference", "facades2048", 1), ("inference", "cityscapes256", 1), ("lowres_stream", "facades512", 1),
             ("highres_stream", "facades512", 1), ("train_step", "facades256", 8), ("train_step", "facades1024", 1),
             ("train_step", "facades512", 8), ("train_step", "facades1024", 8)]


@dataclasses.dataclass(frozen=True)
class Row:
    kind: str  # inference, lowres_stream, highres_stream, train_step
    preset: str
    batch: int = 1
    precision: str = "float32"
    mode: str = "eager"

    @property
    def name(self):
        parts = [self.kind, self.preset] + ([f"batch{self.batch}"] if self.batch > 1 else []) + [self.precision]
        return "/".join(parts + ([self.mode] if self.mode != "eager" else []))


def cpu_rows():
    rows = [Row(kind, name) for name in CPU_INFERENCE for kind in ("inference", "lowres_stream", "highres_stream")]
    return rows + [Row("train_step", name) for name in CPU_TRAINING]


def cuda_rows(modes, precisions):
    """Quick modes before those that wait for a compiler."""
    passes = [[m for m in modes if not m.startswith("compile")], [m for m in modes if m.startswith("compile")]]
    return [Row(*work, precision, mode) for some in passes for work in CUDA_WORK for precision in precisions for mode in some]


# ---- what is timed --------------------------------------------------------------------------------------------------


def random_picture(config, batch, device):
    """Labels [N,H,W], instance edges [N,1,H,W] or None, photo [N,3,H,W]."""
    size = (config.height, config.crop_size)
    labels = torch.randint(config.label_nc, (batch, *size), device=device)
    instance = None if config.no_instance_edge else torch.randint(2, (batch, 1, *size), device=device).float()
    return labels, instance, torch.rand(batch, 3, *size, device=device) * 2 - 1


def make_work(row, device, lean):
    """The function to time, without arguments. It waits for nothing."""
    config = preset(row.preset)
    labels, instance, photo = random_picture(config, row.batch, device)
    compiled = row.mode.startswith("compile")
    layout = torch.channels_last if row.mode.endswith("-last") else torch.contiguous_format
    if row.kind == "train_step":
        autocast = functools.partial(torch.autocast, device, torch.bfloat16, enabled=row.precision == "bf16")
        nets = [net.to(device, memory_format=layout) for net in (Generator(config), Discriminator(config), Vgg19())]
        photo = photo.contiguous(memory_format=layout)
        if compiled:
            for net in nets:
                net.compile()
        step = TrainingStep(config, *nets, lean, autocast=autocast)
        return lambda: step.run(labels, photo, instance)

    dtype = torch.bfloat16 if row.precision == "bf16" else torch.float32
    generator = Generator(config).to(device, dtype, memory_format=layout)

    def encode(l, i):
        return one_hot_input(config, l, i, dtype).contiguous(memory_format=layout)

    x = encode(labels, instance)
    if row.kind == "inference":
        function, arguments = lambda l, i: generator(encode(l, i))[0], (labels, instance)
    elif row.kind == "lowres_stream":
        function, arguments = generator.lowres_stream, (x,)
    else:
        function, arguments = functools.partial(highres_stream, config), (x, generator.lowres_stream(x))
    if compiled:
        function = torch.compile(function)
    return lambda: function(*arguments)


def captured(work):
    """The work as a CUDA graph. All calls before are on the stream of the capture: gradients are added up on the stream that
    first made them, and a capture must not touch another."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(5):
            work()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        graph.result = work()
    return graph.replay


def time_on_cpu(work, repetitions):
    seconds = []
    for _ in range(repetitions):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return [1000 * s for s in seconds]


def time_on_cuda(work, repetitions, limit_s=4):
    """Milliseconds between two events around one call; fewer calls, but at least five, where they take long."""
    milliseconds = []
    begin = time.perf_counter()
    while len(milliseconds) < repetitions and (len(milliseconds) < 5 or time.perf_counter() - begin < limit_s):
        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        first.record()
        work()
        last.record()
        last.synchronize()
        milliseconds.append(first.elapsed_time(last))
    return milliseconds


def summary(row, milliseconds, peak_mib):
    mean = statistics.mean(milliseconds)
    return {"name": row.name, **dataclasses.asdict(row), "median_ms": statistics.median(milliseconds),
            "min_ms": min(milliseconds), "max_ms": max(milliseconds), "cv": statistics.stdev(milliseconds) / mean,
            "repetitions": len(milliseconds), "peak_MiB": peak_mib}


def time_row_cpu(row, lean, repetitions):
    training = row.kind == "train_step"
    with torch.set_grad_enabled(training):
        work = make_work(row, "cpu", lean)
        for _ in range(2):
            work()
        milliseconds = time_on_cpu(work, repetitions or (5 if training else 11))
    return summary(row, milliseconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def time_row_cuda(row, lean, repetitions):
    training = row.kind == "train_step"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = row.precision == "tf32"
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    with torch.set_grad_enabled(training):
        work = make_work(row, "cuda", lean)
        if "graphs" in row.mode:
            work = captured(work)
        for _ in range(5):
            work()
        milliseconds = time_on_cuda(work, repetitions or (15 if training else 50))
    return summary(row, milliseconds, torch.cuda.max_memory_allocated() / 2**20)


# ---- the program ----------------------------------------------------------------------------------------------------


def print_row(result):
    if "error" in result:
        print(f"{result['name']:44} {result['error']}", flush=True)
        return
    print(f"{result['name']:44} median {result['median_ms']:9.3f} ms  min {result['min_ms']:9.3f}  max {result['max_ms']:9.3f}"
          f"  cv {100 * result['cv']:4.1f} %  peak {result['peak_MiB']:6.0f} MiB", flush=True)


def write_json(arguments, rows):
    if not arguments.out:
        return
    device = {"device": "cpu", "threads": arguments.threads}
    if arguments.device == "cuda":
        device = {"device": torch.cuda.get_device_name(), "cuda": torch.version.cuda,
                  "cudnn": torch.backends.cudnn.version()}
    with open(arguments.out + ".part", "w") as file:
        json.dump({"torch": torch.__version__, **device, "rows": rows}, file, indent=1)
    os.replace(arguments.out + ".part", arguments.out)


def one_line(error):
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return "out of memory"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def run_cuda(arguments, rows):
    """Rows one after the other; one that fails is reported and the next one runs. The file is whole after every row."""
    torch.backends.cudnn.benchmark = True
    begin = time.perf_counter()
    results = []
    for row in rows:
        if arguments.seconds and time.perf_counter() - begin > arguments.seconds:
            result = {"name": row.name, **dataclasses.asdict(row), "error": "not run: the time was up"}
        else:
            try:
                result = time_row_cuda(row, arguments.lean, arguments.repetitions)
            except Exception as error:  # out of memory, or what the compiler cannot take
                result = {"name": row.name, **dataclasses.asdict(row), "error": one_line(error)}
            torch._dynamo.reset()
        results.append(result)
        print_row(result)
        write_json(arguments, results)
    return results


def run_cpu(arguments, rows):
    environment = dict(os.environ)
    if arguments.reuse_pages:
        environment.update(MALLOC_KEEPS_PAGES)
    results = []
    for row in rows:
        command = [sys.executable, __file__, "--row", row.name, "--threads", str(arguments.threads),
                   "--repetitions", str(arguments.repetitions)] + (["--lean"] if arguments.lean else [])
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        results.append(json.loads(done.stdout))
        print_row(results[-1])
        write_json(arguments, results)
    return results


def choice_list(allowed):
    def parse(text):
        chosen = text.split(",")
        for item in chosen:
            if item not in allowed:
                raise argparse.ArgumentTypeError(f"'{item}' is none of {', '.join(allowed)}")
        return chosen
    return parse


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="PyTorch's threads (default: one a core)")
    parser.add_argument("--filter", default="", metavar="REGEX", help="only rows whose name it matches")
    parser.add_argument("--repetitions", type=int, default=0, metavar="N",
                        help="default: CPU 11, training 5; GPU 50, training 15; at least 2")
    parser.add_argument("--reuse-pages", action="store_true", help="CPU: let glibc's malloc keep freed memory")
    parser.add_argument("--lean", action="store_true", help="no weight gradients of D in the G step")
    parser.add_argument("--modes", type=choice_list(MODES), default=MODES, metavar="LIST",
                        help=f"GPU: some of {','.join(MODES)} (default: all)")
    parser.add_argument("--precisions", type=choice_list(PRECISIONS), default=PRECISIONS, metavar="LIST",
                        help="GPU: some of float32,tf32,bf16 (default: all)")
    parser.add_argument("--seconds", type=float, default=0, metavar="N", help="GPU: begin no row after so many seconds")
    parser.add_argument("--out", metavar="FILE", help="write all rows to FILE as JSON")
    parser.add_argument("--list", action="store_true", help="print the names of the rows, time nothing")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    on_gpu = arguments.device == "cuda"
    if arguments.row:
        row = next(row for row in cpu_rows() if row.name == arguments.row)
        print(json.dumps(time_row_cpu(row, arguments.lean, arguments.repetitions)))
        return
    rows = cuda_rows(arguments.modes, arguments.precisions) if on_gpu else cpu_rows()
    rows = [row for row in rows if re.search(arguments.filter, row.name)]
    if arguments.list:
        print("\n".join(row.name for row in rows))
        return
    if on_gpu and not torch.cuda.is_available():
        sys.exit("bench_torch.py: this PyTorch sees no GPU")
    print(f"PyTorch {torch.__version__}, {torch.cuda.get_device_name() if on_gpu else f'{arguments.threads} threads'}"
          f"{', malloc keeps pages' if arguments.reuse_pages else ''}{', lean' if arguments.lean else ''}")
    results = run_cuda(arguments, rows) if on_gpu else run_cpu(arguments, rows)
    if not any("median_ms" in result for result in results):
        sys.exit("bench_torch.py: no row was timed")


if __name__ == "__main__":
    main()
