"""Runs a file that `asapnet export` wrote in ONNX Runtime and OpenVINO, whichever is installed: compares its picture with that of
`asapnet generate --raw`, and times it. docs/deploy.md has the commands around it.

    python3 bench/peers/bench_onnx.py facades.onnx --labels map.png --raw pictures/map.npy --threads 2 --calls 9
Needs: pip install numpy pillow onnxruntime openvino
"""
import argparse
import importlib.util
import time

import numpy as np
from PIL import Image


def onnxruntime_work(path, threads, inputs):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, inputs)[0]


def openvino_work(path, threads, inputs):
    import openvino
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    core = openvino.Core()
    model = core.read_model(path)
    model.reshape({name: list(value.shape) for name, value in inputs.items()})
    request = core.compile_model(model, "CPU", hints).create_infer_request()
    return lambda: request.infer(inputs)[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="of a model without an instance channel")
    parser.add_argument("--labels", required=True, help="label map whose sides are multiples of the tile")
    parser.add_argument("--raw", help="NAME.npy of asapnet generate --raw --size native")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--calls", type=int, default=9)
    arguments = parser.parse_args()
    inputs = {"labels": np.asarray(Image.open(arguments.labels))[None]}
    for name, make in (("onnxruntime", onnxruntime_work), ("openvino", openvino_work)):
        if not importlib.util.find_spec(name):
            print(f"{name}: not installed")
            continue
        work = make(arguments.model, arguments.threads, inputs)
        picture, times = work().copy(), []
        for _ in range(arguments.calls):
            begin = time.perf_counter()
            work()
            times.append(1000 * (time.perf_counter() - begin))
        far = f", at most {np.abs(picture[0] - np.load(arguments.raw)).max():.2g} from generate" if arguments.raw else ""
        print(f"{name}: median {np.median(times):.1f} ms ({min(times):.1f}-{max(times):.1f}){far}")


if __name__ == "__main__":
    main()
