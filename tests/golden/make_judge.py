#!/usr/bin/env python3
"""Writes judge.safetensors: the networks behind the numbers of `asapnet evaluate`, narrow, with their weights and what they make
of pictures, for test_judge.cpp.

Run: python3 make_judge.py   (needs torch; made with 2.15). Inception-v3 has pytorch-fid's keys and poolings, the backbones of LPIPS
have torchvision's keys, the heads those of richzhang's files; the modules below are written from the papers and those keys.
Weights and inputs are float32, all is computed in float64.
"""
import json
import pathlib
import struct

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(4)
tensors = {}


def thin(channels):
    return max(2, channels // 32)


# ---- Inception-v3, 2015-12-05 -----------------------------------------------------------------------------------------------
class Unit(nn.Module):
    def __init__(self, i, o, kernel, **options):
        super().__init__()
        self.conv = nn.Conv2d(i, o, kernel, bias=False, **options)
        self.bn = nn.BatchNorm2d(o, eps=1e-3)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


def mean_pool(x):
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class Block(nn.Module):
    """Branches by name: units in a row behind the block's input, or behind a pooling of it."""

    def __init__(self, i, branches, pool=None, pool_out=0):
        super().__init__()
        self.branches, self.pool, self.outputs = {}, pool, 0
        for name, units in branches.items():
            width, keys = i, []
            for n, (out, kernel, options) in enumerate(units, 1):
                key = name if len(units) == 1 and not name.endswith("!") else f"{name.rstrip('!')}_{n}"
                setattr(self, key, Unit(width, thin(out), kernel, **options))
                keys.append(key)
                width = thin(out)
            self.branches[name] = keys
            self.outputs += width
        if pool_out:
            self.branch_pool = Unit(i, thin(pool_out), 1)
            self.outputs += thin(pool_out)
        elif pool:
            self.outputs += i

    def forward(self, x):
        results = []
        for keys in self.branches.values():
            y = x
            for key in keys:
                y = getattr(self, key)(y)
            results.append(y)
        if self.pool:
            y = self.pool(x)
            results.append(self.branch_pool(y) if hasattr(self, "branch_pool") else y)
        return torch.cat(results, 1)


class BlockE(nn.Module):
    def __init__(self, i, pool):
        super().__init__()
        row, column = dict(kernel=(1, 3), padding=(0, 1)), dict(kernel=(3, 1), padding=(1, 0))
        self.pool = pool
        self.branch1x1 = Unit(i, thin(320), 1)
        self.branch3x3_1 = Unit(i, thin(384), 1)
        self.branch3x3_2a, self.branch3x3_2b = Unit(thin(384), thin(384), **row), Unit(thin(384), thin(384), **column)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Unit(i, thin(448), 1), Unit(thin(448), thin(384), 3, padding=1)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = Unit(thin(384), thin(384), **row), Unit(thin(384), thin(384), **column)
        self.branch_pool = Unit(i, thin(192), 1)
        self.outputs = thin(320) + 4 * thin(384) + thin(192)

    def forward(self, x):
        a, b = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        return torch.cat([self.branch1x1(x), self.branch3x3_2a(a), self.branch3x3_2b(a), self.branch3x3dbl_3a(b),
                          self.branch3x3dbl_3b(b), self.branch_pool(self.pool(x))], 1)


def block_a(i, pooled):
    return Block(i, {"branch1x1": [(64, 1, {})], "branch5x5": [(48, 1, {}), (64, 5, dict(padding=2))],
                     "branch3x3dbl": [(64, 1, {}), (96, 3, dict(padding=1)), (96, 3, dict(padding=1))]}, mean_pool, pooled)


def block_b(i):
    return Block(i, {"branch3x3": [(384, 3, dict(stride=2))],
                     "branch3x3dbl": [(64, 1, {}), (96, 3, dict(padding=1)), (96, 3, dict(stride=2))]},
                 lambda x: F.max_pool2d(x, 3, 2))


def block_c(i, c):
    row, column = ((1, 7), dict(padding=(0, 3))), ((7, 1), dict(padding=(3, 0)))
    return Block(i, {"branch1x1": [(192, 1, {})], "branch7x7": [(c, 1, {}), (c, *row), (192, *column)],
                     "branch7x7dbl": [(c, 1, {}), (c, *column), (c, *row), (c, *column), (192, *row)]}, mean_pool, 192)


def block_d(i):
    row, column = ((1, 7), dict(padding=(0, 3))), ((7, 1), dict(padding=(3, 0)))
    return Block(i, {"branch3x3": [(192, 1, {}), (320, 3, dict(stride=2))],
                     "branch7x7x3": [(192, 1, {}), (192, *row), (192, *column), (192, 3, dict(stride=2))]},
                 lambda x: F.max_pool2d(x, 3, 2))


class Inception(nn.Module):
    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3 = Unit(3, thin(64), 3, stride=2)
        self.Conv2d_2a_3x3 = Unit(thin(64), thin(96), 3)
        self.Conv2d_2b_3x3 = Unit(thin(96), thin(96), 3, padding=1)
        self.Conv2d_3b_1x1 = Unit(thin(96), thin(128), 1)
        self.Conv2d_4a_3x3 = Unit(thin(128), thin(192), 3)
        width = thin(192)
        for name, make in [("5b", lambda i: block_a(i, 32)), ("5c", lambda i: block_a(i, 64)), ("5d", lambda i: block_a(i, 64)),
                           ("6a", block_b), ("6b", lambda i: block_c(i, 128)), ("6c", lambda i: block_c(i, 160)),
                           ("6d", lambda i: block_c(i, 160)), ("6e", lambda i: block_c(i, 192)), ("7a", block_d),
                           ("7b", lambda i: BlockE(i, mean_pool)), ("7c", lambda i: BlockE(i, lambda x: F.max_pool2d(x, 3, 1, 1)))]:
            block = make(width)
            setattr(self, "Mixed_" + name, block)
            width = block.outputs

    def forward(self, x01):
        x = 2 * F.interpolate(x01, (299, 299), mode="bilinear", align_corners=False) - 1
        x = F.max_pool2d(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))), 3, 2)
        x = F.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)), 3, 2)
        for name in ["5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"]:
            x = getattr(self, "Mixed_" + name)(x)
        return x.mean((2, 3))


def keep(prefix, module):
    """The module with float32 weights, which go into the file, in float64."""
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            tensors[prefix + name] = value.float().numpy()
    return module.double().eval()


def picture(height, width):
    """8-bit values, smooth with some noise, in [0, 1]."""
    coarse = F.interpolate(torch.rand(1, 3, 5, 6), (height, width), mode="bicubic", align_corners=False)
    return (255 * (0.9 * coarse + 0.1 * torch.rand(1, 3, height, width)).clamp(0, 1)).round().double() / 255


def store_input(name, x01):
    tensors[name] = (2 * x01 - 1).float().numpy()


inception = Inception()
for module in inception.modules():
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight)
    if isinstance(module, nn.BatchNorm2d):
        nn.init.uniform_(module.weight, 0.5, 1.5)
        nn.init.uniform_(module.bias, -0.3, 0.3)
        nn.init.uniform_(module.running_mean, -0.3, 0.3)
        nn.init.uniform_(module.running_var, 0.3, 1.0)
inception = keep("inception/", inception)
with torch.no_grad():
    x = picture(40, 56)
    store_input("inception x", x)
    tensors["inception y"] = inception(x).numpy()


# ---- LPIPS -------------------------------------------------------------------------------------------------------------------
class Fire(nn.Module):
    def __init__(self, i, squeeze, expand):
        super().__init__()
        self.squeeze, self.expand1x1 = nn.Conv2d(i, squeeze, 1), nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x):
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], 1)


def alexnet():
    w = [3, 4, 6, 8, 7, 5]
    layers = [nn.Conv2d(w[0], w[1], 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(w[1], w[2], 5, padding=2), nn.ReLU(),
              nn.MaxPool2d(3, 2), nn.Conv2d(w[2], w[3], 3, padding=1), nn.ReLU(), nn.Conv2d(w[3], w[4], 3, padding=1), nn.ReLU(),
              nn.Conv2d(w[4], w[5], 3, padding=1), nn.ReLU()]
    return layers, [1, 4, 7, 9, 11], w[1:]


def vgg16():
    layers, taps, widths, i = [], [], [3, 4, 6, 5, 7], 3
    for group, (count, out) in enumerate(zip([2, 2, 3, 3, 3], widths)):
        if group:
            layers.append(nn.MaxPool2d(2, 2))
        for _ in range(count):
            layers += [nn.Conv2d(i, out, 3, padding=1), nn.ReLU()]
            i = out
        taps.append(len(layers) - 1)
    return layers, taps, widths


def squeezenet():
    pool = lambda: nn.MaxPool2d(3, 2, ceil_mode=True)
    layers = [nn.Conv2d(3, 5, 3, 2), nn.ReLU(), pool(), Fire(5, 2, 3), Fire(6, 2, 3), pool(), Fire(6, 2, 4), Fire(8, 2, 4),
              pool(), Fire(8, 3, 4), Fire(8, 3, 4), Fire(8, 3, 5), Fire(10, 3, 5)]
    return layers, [1, 4, 7, 9, 10, 11, 12], [5, 6, 8, 8, 8, 10, 10]


shift, scale = (torch.tensor(v).double()[None, :, None, None] for v in ([-.030, -.088, -.188], [.458, .448, .450]))


def unit_features(x, layers, taps):
    x, features = ((2 * x - 1) - shift) / scale, []
    for number, layer in enumerate(layers):
        x = layer(x)
        if number in taps:
            features.append(x / (x.pow(2).sum(1, keepdim=True).sqrt() + 1e-10))
    return features


with torch.no_grad():
    for size in [(48, 64), (37, 34), (34, 41)]:
        case = f"{size[1]}x{size[0]}"
        a = picture(*size)
        b = (a * 0.7 + 0.2 * picture(*size)).mul(255).round() / 255
        store_input(case + "/a", a)
        store_input(case + "/b", b)
    for name, (layers, taps, widths) in {"AlexNet": alexnet(), "VGG-16": vgg16(), "SqueezeNet 1.1": squeezenet()}.items():
        network = nn.Sequential(*layers)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
                nn.init.uniform_(module.bias, -0.2, 0.2)
        network = keep(name + "/features.", network)
        heads = [torch.rand(1, w, 1, 1) for w in widths]
        for i, head in enumerate(heads):
            tensors[f"{name}/heads/lin{i}.model.1.weight"] = head.numpy()
        for case in ["64x48", "34x37", "41x34"]:
            a, b = ((torch.tensor(tensors[f"{case}/{k}"]).double() + 1) / 2 for k in "ab")
            pairs = zip(unit_features(a, network, taps), unit_features(b, network, taps), heads)
            tensors[f"{name}/{case}"] = sum(((p - q).pow(2) * h.double()).sum(1).mean() for p, q, h in pairs).numpy()
            print(name, case, tensors[f"{name}/{case}"])


# ---- the segmenter, and how its classes are counted -------------------------------------------------------------------------
class Segmenter(nn.Module):
    def __init__(self, widths, classes):
        super().__init__()

        def unit(i, o, stride):
            return [nn.Conv2d(i, o, 3, stride, 1, bias=False, padding_mode="replicate"), nn.InstanceNorm2d(o, affine=True)]

        def with_relus(units):
            return nn.Sequential(*units)

        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for i, width in enumerate(widths):
            self.down.append(with_relus(unit(3 if i == 0 else widths[i - 1], width, 2) + unit(width, width, 1)))
        for i in range(len(widths) - 1):
            self.up.append(with_relus(unit(widths[i + 1] + widths[i], widths[i], 1)))
        self.head = nn.Conv2d(widths[0], classes, 1)

    @staticmethod
    def run(units, x):
        for conv, norm in zip(units[::2], units[1::2]):
            x = F.relu(norm(conv(x)))
        return x

    def forward(self, x):
        height, width = x.shape[2:]
        unit = 2 ** len(self.down)
        x = F.pad(x, (0, -width % unit, 0, -height % unit), mode="replicate")
        whole, levels = x.shape[2:], []
        for level in self.down:
            x = self.run(level, x)
            levels.append(x)
        for up, beside in zip(list(self.up)[::-1], levels[-2::-1]):
            x = self.run(up, torch.cat([F.interpolate(x, beside.shape[2:], mode="bilinear", align_corners=False), beside], 1))
        x = F.interpolate(self.head(x), whole, mode="bilinear", align_corners=False)
        return x[:, :, :height, :width]


segmenter = Segmenter([4, 5, 6], 5)
for module in segmenter.modules():
    if isinstance(module, nn.InstanceNorm2d):
        nn.init.uniform_(module.weight, 0.5, 1.5)
        nn.init.uniform_(module.bias, -0.3, 0.3)
segmenter = keep("segmenter/", segmenter)
with torch.no_grad():
    tensors["segmenter y"] = segmenter(torch.tensor(tensors["34x37/a"]).double()).numpy()

random = np.random.default_rng(2)
labels = random.choice([0, 1, 2, 4, 6, 7], size=(9, 14), p=[.4, .3, .1, .1, .05, .05])  # of 6: two are no class, 3 and 5 are not there
predicted = np.where(random.random(labels.shape) < 0.6, labels, random.integers(0, 6, labels.shape))
predicted[(predicted > 5) | (predicted == 5)] = 0
counts = np.zeros((6, 6))
for label, guess in zip(labels.ravel(), predicted.ravel()):
    if label < 6:
        counts[label, guess] += 1
with np.errstate(invalid="ignore"):  # Long, Shelhamer, Darrell 2015
    diagonal = np.diag(counts)
    tensors["confusion/scores"] = np.array([diagonal.sum() / counts.sum(), np.nanmean(diagonal / counts.sum(1)),
                                            np.nanmean(diagonal / (counts.sum(1) + counts.sum(0) - diagonal))])
print(tensors["confusion/scores"])
tensors["confusion/labels"], tensors["confusion/predicted"] = labels.astype(np.int32), predicted.astype(np.int32)

header, data = {}, b""
for name, value in tensors.items():
    value = np.ascontiguousarray(value)
    header[name] = {"dtype": {"float32": "F32", "float64": "F64", "int32": "I32"}[value.dtype.name], "shape": list(value.shape),
                    "data_offsets": [len(data), len(data) + value.nbytes]}
    data += value.tobytes()
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
pathlib.Path(__file__).with_name("judge.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
