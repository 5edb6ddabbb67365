"""Executes exported generators in ONNX Runtime and OpenVINO, whichever is installed, and compares their pictures with the
generator's own. run.sh calls it on the cases that test_export.cpp writes:

    runtimes.py --probe    exit code 0 if there is anything to execute them with
    runtimes.py FOLDER     cases.txt, and for each case NAME.onnx, NAME.INPUT.npy and NAME.picture.npy
"""
import importlib.util
import sys
from pathlib import Path

# Of pictures in [-1,1]. Float32 runtimes round in an order of their own: for a golden whose float32 and float64 pictures differ by
# `gap`, by up to 2 (ONNX Runtime) or 12 (OpenVINO) times that.
TOLERANCE, GAPS = 1e-4, 20


def onnxruntime_run(path, feed):
    import onnxruntime
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    types = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(int32)": "int32"}
    return session.run(None, {i.name: feed[i.name].astype(types[i.type]) for i in session.get_inputs()})[0]


def openvino_run(path, feed):
    import openvino
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled({i.any_name: feed[i.any_name].astype(i.element_type.to_dtype()) for i in compiled.inputs})[0]


RUNTIMES = {"onnxruntime": onnxruntime_run, "openvino": openvino_run}


def main():
    installed = [name for name in RUNTIMES if importlib.util.find_spec(name) and importlib.util.find_spec("numpy")]
    if not installed:
        sys.exit("SKIPPED: python3 has neither onnxruntime nor openvino with numpy")
    if sys.argv[1] == "--probe":
        return
    import numpy as np
    folder, failed = Path(sys.argv[1]), 0
    for line in (folder / "cases.txt").read_text().splitlines():
        name, gap = line.split()
        path = str(folder / f"{name}.onnx")
        if importlib.util.find_spec("onnx"):
            import onnx
            onnx.checker.check_model(path, full_check=True)
        feed = {file.name.split(".")[1]: np.load(file) for file in folder.glob(f"{name}.*.npy")}
        wanted = feed.pop("picture")
        for runtime in installed:
            picture = RUNTIMES[runtime](path, feed)
            assert picture.shape == wanted.shape, (picture.shape, wanted.shape)
            far = float(np.abs(picture.astype("float64") - wanted).max())
            allowed = 1 if picture.dtype == np.uint8 else max(TOLERANCE, GAPS * float(gap))
            failed += not far <= allowed
            print(f"{'ok  ' if far <= allowed else 'FAIL'} {name:30} {runtime:12} {far:.2g}, allowed {allowed:.2g}")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
