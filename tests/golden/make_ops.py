#!/usr/bin/env python3
"""Writes ops.safetensors: inputs, results and gradients of a few ops as PyTorch computes them, for test_op_goldens.cpp.

Run: python3 make_ops.py   (needs torch and numpy; made with PyTorch 1.13). Everything is float32 computed in float64.
Names: <case>/in<i> for inputs, <case>/out, <case>/cotangent, <case>/grad<i>.
"""
import json
import struct

import numpy as np
import torch
import torch.nn.functional as F

torch.manual_seed(1)
tensors = {}


def rounded(x):
    return x.float().double()


def case(name, f, *inputs, grads=None):
    """Records f(*inputs) and, for the inputs whose number is in `grads` (default: all floating), their gradients."""
    if grads is None:
        grads = [i for i, x in enumerate(inputs) if x.is_floating_point()]
    inputs = [rounded(x) if x.is_floating_point() else x for x in inputs]
    for i in grads:
        inputs[i].requires_grad_()
    out = f(*inputs)
    for i, x in enumerate(inputs):
        tensors[f"{name}/in{i}"] = x
    tensors[f"{name}/out"] = out
    if grads:
        cotangent = rounded(torch.randn(out.shape))
        out.backward(cotangent)
        tensors[f"{name}/cotangent"] = cotangent
        for i in grads:
            tensors[f"{name}/grad{i}"] = inputs[i].grad


R = torch.randn
case("conv2d_groups", lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=(1, 2), dilation=(2, 1), groups=2),
     R(2, 4, 9, 8), R(6, 2, 3, 3), R(6))
case("conv2d_4x4", lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=2), R(1, 3, 9, 10), R(4, 3, 4, 4), R(4))
case("conv2d_tent", lambda x, w: F.conv2d(x, w, None, stride=(1, 2), groups=3), R(1, 3, 5, 12), R(3, 1, 1, 4))
case("instance_norm", lambda x, g, b: F.instance_norm(x, weight=g, bias=b, eps=1e-5), R(2, 3, 5, 6), R(3), R(3))
case("instance_norm_leaky", lambda x: F.leaky_relu(F.instance_norm(x, eps=1e-5), 0.2), R(2, 3, 5, 6))
case("batch_norm", lambda x, g, b: F.relu(F.batch_norm(x, None, None, g, b, training=True, eps=1e-5)), R(3, 4, 5, 6), R(4), R(4))
case("avg_pool_count_pad", lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=True), R(2, 3, 7, 8))
case("avg_pool_skip_pad", lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), R(2, 3, 7, 8))
case("max_pool", lambda x: F.max_pool2d(x, 3, 2, 1), R(2, 3, 7, 8))
case("pad_zero", lambda x: F.pad(x, (1, 2, 3, 0)), R(2, 3, 5, 6))
case("pad_reflect", lambda x: F.pad(x, (1, 2, 3, 0), mode="reflect"), R(2, 3, 5, 6))
case("pad_replicate", lambda x: F.pad(x, (1, 2, 3, 0), mode="replicate"), R(2, 3, 5, 6))
case("resize_nearest", lambda x: F.interpolate(x, (9, 4), mode="nearest"), R(2, 3, 5, 6))
case("resize_bilinear", lambda x: F.interpolate(x, (9, 4), mode="bilinear", align_corners=False), R(2, 3, 5, 6))
case("resize_corners", lambda x: F.interpolate(x, (9, 4), mode="bilinear", align_corners=True), R(2, 3, 5, 6))
case("bce", F.binary_cross_entropy_with_logits, R(4, 7) * 20, torch.rand(4, 7), grads=[0])
case("cross_entropy", lambda x, t: F.cross_entropy(x, t.long()), R(2, 5, 3, 4) * 3,
     torch.randint(0, 5, (2, 3, 4), dtype=torch.int32))
case("softmax", lambda x: F.softmax(x, 1), R(2, 5, 3) * 3)
case("log_softmax", lambda x: F.log_softmax(x, 1), R(2, 5, 3) * 3)
case("gather", lambda x, i: torch.gather(x, 1, i.long()), R(3, 4, 5), torch.randint(0, 4, (3, 7, 5), dtype=torch.int32))
case("softplus", F.softplus, R(5, 7) * 15)
case("max_ties", lambda x: torch.amax(x, 1), torch.randint(-1, 2, (5, 7)).double())
case("matmul", lambda a, b: a.transpose(1, 2) @ b, R(3, 4, 5), R(1, 4, 6))
case("linear", F.linear, R(5, 4), R(3, 4), R(3))

header, data = {}, b""
for name, x in tensors.items():
    x = x.detach().numpy()
    x = np.ascontiguousarray(x.astype(np.int32 if x.dtype.kind == "i" else np.float32)).reshape(x.shape)
    header[name] = {"dtype": "I32" if x.dtype == np.int32 else "F32", "shape": list(x.shape),
                    "data_offsets": [len(data), len(data) + x.nbytes]}
    data += x.tobytes()
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
with open(__file__.rsplit("/", 1)[0] + "/ops.safetensors" if "/" in __file__ else "ops.safetensors", "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text + data)
