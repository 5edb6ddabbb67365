#!/usr/bin/env python3
"""Writes evaluate.safetensors: the numbers of `asapnet evaluate` by their reference implementations, for test_evaluate.cpp.

Run: python3 make_evaluate.py [WEIGHTS]   (needs scikit-image, scipy, mpmath, torch and pytorch-msssim; made with 0.26, 1.17,
1.3, 2.15 and 1.0). WEIGHTS: the folder of the real feature nets; without it their features are left as they are in the file.
Pictures and small networks come from formulas in whole numbers, which the test repeats. Everything is computed in float64.
"""
import json
import pathlib
import struct
import sys

import numpy as np
import scipy.linalg
import torch
import torch.nn.functional as F
from mpmath import mp
from pytorch_msssim import ms_ssim
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

target = pathlib.Path(__file__).with_name("evaluate.safetensors")
tensors = {}


def read(path):
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    types = {"F32": np.float32, "F64": np.float64}
    return {name: np.frombuffer(data[8 + length:][slice(*t["data_offsets"])], types[t["dtype"]]).reshape(t["shape"])
            for name, t in json.loads(data[8:8 + length]).items() if name != "__metadata__"}


# ---- pictures: HWC ------------------------------------------------------------------------------------------------------
def wave(v, period):
    return np.abs(v % (2 * period) - period) * 255 // period


def reference(width, height):
    y, x, c = np.mgrid[0:height, 0:width, 0:3]
    return ((wave(x + 2 * y + 9 * c, 23) + wave(3 * x + y, 41 + c)) // 2).astype(np.uint8)


def picture(width, height):
    y, x, c = np.mgrid[0:height, 0:width, 0:3]
    noise = ((x * 73856093) ^ (y * 19349663) ^ (c * 83492791)) % 41 - 20
    return np.clip(reference(width, height).astype(np.int64) * 3 // 4 + 30 + noise, 0, 255).astype(np.uint8)


def seams(image, tile):
    image = image.astype(np.float64)
    across, inside = [], []
    for axis in (0, 1):
        differences = np.moveaxis(np.abs(np.diff(image, axis=axis)), axis, 0)
        border = np.arange(1, image.shape[axis]) % tile == 0
        across.append(differences[border].ravel())
        inside.append(differences[~border].ravel())
    return np.concatenate(across).mean() / np.concatenate(inside).mean()


def chw(image):
    return torch.tensor(image).permute(2, 0, 1)[None].double()


for width, height in [(37, 29), (192, 176)]:
    a, b = picture(width, height), reference(width, height)
    case = f"{width}x{height}/"
    tensors[case + "psnr"] = peak_signal_noise_ratio(b, a, data_range=255)
    tensors[case + "ssim"] = structural_similarity(a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
                                                   data_range=255, channel_axis=-1)
    tensors[case + "seams"] = seams(a, 8)
    if width > 176:
        tensors[case + "ms-ssim"] = ms_ssim(chw(a), chw(b), data_range=255).item()

# ---- distances of features ------------------------------------------------------------------------------------------------
random = np.random.default_rng(1)


def frechet(x, y):
    sx, sy = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    if len(x) > x.shape[1] < len(y):
        cross = np.trace(scipy.linalg.sqrtm(sx @ sy)).real
    else:  # singular: rounding of the covariances alone costs half of the digits, so with 60 of them
        mp.dps = 60

        def covariance(a):
            a = mp.matrix(a.tolist())
            centred = a - mp.ones(a.rows, a.rows) * a / a.rows
            return centred.T * centred / (a.rows - 1)

        values, vectors = mp.eigsy(covariance(x))
        root = vectors * mp.diag([mp.sqrt(max(v, 0)) for v in values]) * vectors.T
        cross = float(sum(mp.sqrt(max(v, 0)) for v in mp.eigsy(root * covariance(y) * root, eigvals_only=True)))
    return np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(sx) + np.trace(sy) - 2 * cross


def kernel(x, y):
    k = lambda a, b: (a @ b.T / a.shape[1] + 1) ** 3
    n, m = len(x), len(y)
    off_diagonal = lambda k: k.sum() - np.trace(k)
    return off_diagonal(k(x, x)) / (n * (n - 1)) + off_diagonal(k(y, y)) / (m * (m - 1)) - 2 * k(x, y).mean()


for case, n, m, d in [("many", 12, 9, 5), ("few", 4, 6, 7), ("mixed", 9, 3, 6)]:
    x, y = random.normal(size=(n, d)), random.normal(0.5, 1.5, size=(m, d))
    tensors |= {f"{case}/x": x, f"{case}/y": y, f"{case}/frechet": frechet(x, y), f"{case}/kernel": kernel(x, y)}


# ---- feature nets -----------------------------------------------------------------------------------------------------------
def small(shapes):
    """Weights for (key, out, in, kernel): number i of the tensor number k is a hash of both, scaled as He et al. do."""
    weights = {}
    for number, (key, out, width, kernel) in enumerate(shapes):
        def values(k, count):
            h = (np.arange(count, dtype=np.uint64) * 2654435761 + k * 2246822519) % 2**32
            h ^= h >> np.uint64(15)
            h = h * 2246822519 % 2**32
            h ^= h >> np.uint64(13)
            return h / 2**32 - 0.5
        fan_in = width * kernel * kernel
        w = values(2 * number, out * fan_in) * np.sqrt(24 / fan_in)
        weights[key + ".weight"] = w.astype(np.float32).reshape(out, width, kernel, kernel)
        weights[key + ".bias"] = values(2 * number + 1, out).astype(np.float32)
    return weights


def small_mobilenet():
    shapes, width = [("features.0.0", 4, 3, 3)], 4
    outs = [2] + [3] * 2 + [4] * 3 + [5] * 4 + [6] * 3 + [7] * 3 + [8]
    for block, out in enumerate(outs, 1):
        key, wide = f"features.{block}.conv.", 6 if block > 1 else width
        if block > 1:
            shapes.append((key + "0.0", wide, width, 1))
        shapes.append((key + ("1.0" if block > 1 else "0.0"), wide, 1, 3))
        shapes.append((key + ("2" if block > 1 else "1"), out, wide, 1))
        width = out
    return small(shapes + [("features.18.0", 10, width, 1)])


def small_squeezenet():
    shapes, width = [("features.0", 4, 3, 3)], 4
    for fire in [3, 4, 6, 7, 9, 10, 11, 12]:
        key = f"features.{fire}."
        shapes += [(key + "squeeze", 2, width, 1), (key + "expand1x1", 3, 2, 1), (key + "expand3x3", 4, 2, 3)]
        width = 7
    return small(shapes)


def conv(x, w, key, **options):
    return F.conv2d(x, torch.tensor(w[key + ".weight"]).double(), torch.tensor(w[key + ".bias"]).double(), **options)


def mobilenet(x, w):
    x = F.relu6(conv(x, w, "features.0.0", stride=2, padding=1))
    for block in range(1, 18):
        key, y = f"features.{block}.conv.", x
        if block > 1:
            y = F.relu6(conv(y, w, key + "0.0"))
        stride = 2 if block in (2, 4, 7, 14) else 1
        y = F.relu6(conv(y, w, key + ("1.0" if block > 1 else "0.0"), stride=stride, padding=1, groups=y.shape[1]))
        y = conv(y, w, key + ("2" if block > 1 else "1"))
        x = x + y if stride == 1 and x.shape == y.shape else y
    return F.relu6(conv(x, w, "features.18.0")).mean((2, 3))


def squeezenet(x, w):
    x = F.relu(conv(x, w, "features.0", stride=2))
    for fire in [3, 4, 6, 7, 9, 10, 11, 12]:
        if fire in (3, 6, 9):
            x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        key = f"features.{fire}."
        x = F.relu(conv(x, w, key + "squeeze"))
        x = torch.cat([F.relu(conv(x, w, key + "expand1x1")), F.relu(conv(x, w, key + "expand3x3", padding=1))], 1)
    return x.mean((2, 3))


mean, deviation = (torch.tensor(v).double()[None, :, None, None] for v in ([.485, .456, .406], [.229, .224, .225]))
x = (chw(picture(224, 224)) / 255 - mean) / deviation
tensors["small MobileNetV2"] = mobilenet(x, small_mobilenet()).numpy()
tensors["small SqueezeNet 1.1"] = squeezenet(x, small_squeezenet()).numpy()
if len(sys.argv) > 1:
    folder = pathlib.Path(sys.argv[1])
    tensors["MobileNetV2"] = mobilenet(x, read(folder / "mobilenetv2_features_bnfused.safetensors")).float().numpy()
    tensors["SqueezeNet 1.1"] = squeezenet(x, read(folder / "squeezenet1_1.safetensors")).float().numpy()
else:
    tensors |= {name: value for name, value in read(target).items() if name in ("MobileNetV2", "SqueezeNet 1.1")}

header, data = {}, b""
for name, value in tensors.items():
    value = np.asarray(value)
    header[name] = {"dtype": "F32" if value.dtype == np.float32 else "F64", "shape": list(value.shape),
                    "data_offsets": [len(data), len(data) + value.nbytes]}
    data += value.tobytes()
    if value.size == 1:
        print(name, value)
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
target.write_bytes(struct.pack("<Q", len(text)) + text + data)
