#!/usr/bin/env python3
"""Writes ops.safetensors: inputs, results and gradients of a few ops as PyTorch computes them, for test_op_goldens.cpp, and of
layers, for test_layers.cpp.

Run: python3 make_ops.py   (needs torch and numpy; made with PyTorch 2.15). Everything is float32 computed in float64.
Names: <case>/in<i> for inputs, <case>/out, <case>/cotangent, <case>/grad<i>. Of a layer also <case>/state/<key>, its state_dict;
<case>/grad/<key>, the gradients of its parameters; <case>/after/<key>, its buffers behind the forward pass.
"""
import json
import struct

import numpy as np
import torch
import torch.nn as nn
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
    if out.requires_grad:
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

case("erf", torch.erf, R(5, 7) * 2)
case("gelu", F.gelu, R(5, 7) * 3)
case("gelu_tanh", lambda x: F.gelu(x, approximate="tanh"), R(5, 7) * 3)
case("silu", F.silu, R(5, 7) * 3)
case("where", lambda c, a, b: torch.where(c.bool(), a, b), torch.randint(0, 2, (3, 1, 4), dtype=torch.int32), R(3, 5, 4),
     R(5, 1))
for mode in ("bilinear", "nearest"):
    for padding in ("zeros", "border", "reflection"):
        for corners in (False, True):
            case(f"grid_sample_{mode}_{padding}" + ("_corners" if corners else ""),
                 lambda x, grid: F.grid_sample(x, grid, mode=mode, padding_mode=padding, align_corners=corners),
                 R(2, 2, 4, 5), R(2, 3, 4, 2) * 1.2)
case("conv_transpose2d", lambda *x: F.conv_transpose2d(*x, stride=(2, 3), padding=(1, 2), output_padding=(1, 2), groups=2,
                                                       dilation=(2, 1)), R(2, 4, 3, 4), R(4, 3, 3, 4), R(6))
case("conv1d", lambda x, w, b: F.conv1d(x, w, b, stride=2, padding=3, dilation=2, groups=2), R(2, 4, 11), R(6, 2, 5), R(6))
case("layer_norm", lambda x, g, b: F.layer_norm(x, (3, 5), g, b), R(2, 4, 3, 5), R(3, 5), R(3, 5))
case("group_norm", lambda x, g, b: F.group_norm(x, 3, g, b), R(2, 6, 3, 5), R(6), R(6))
case("matmul_batches", torch.matmul, R(2, 1, 4, 5), R(3, 5, 6))
case("matmul_matrix_batches", torch.matmul, R(4, 5), R(2, 3, 5, 6))
case("linear_tokens", F.linear, R(2, 5, 4), R(3, 4), R(3))
case("embedding", lambda i, w: F.embedding(i.long(), w), torch.randint(0, 7, (3, 5), dtype=torch.int32), R(7, 4))
case("attention", F.scaled_dot_product_attention, R(2, 3, 5, 4), R(2, 3, 7, 4), R(2, 3, 7, 6))
case("attention_mask", F.scaled_dot_product_attention, R(2, 3, 5, 4), R(2, 3, 7, 4), R(2, 3, 7, 4), R(5, 7))
case("attention_causal", lambda *x: F.scaled_dot_product_attention(*x, is_causal=True), R(2, 5, 4), R(2, 6, 4), R(2, 6, 4))
case("adaptive_avg_pool2d", lambda x: F.adaptive_avg_pool2d(x, (3, 4)), R(2, 3, 5, 7))
case("adaptive_avg_pool2d_dividing", lambda x: F.adaptive_avg_pool2d(x, (2, 3)), R(2, 3, 4, 6))
case("cross_entropy_smoothing", lambda x, t: F.cross_entropy(x, t.long(), ignore_index=2, label_smoothing=0.2), R(2, 5, 3, 4) * 3,
     torch.randint(0, 5, (2, 3, 4), dtype=torch.int32))


def layer(name, module, *inputs, f=None, training=True):
    """Records f(module, *inputs), or module(*inputs), with weights away from their initial ones and zeros."""
    module = module.double().train(training)
    with torch.no_grad():
        for value in module.parameters():
            value.copy_(rounded(value + 0.3 * R(value.shape)))
        for key, value in module.state_dict().items():
            if key.endswith("running_mean"):
                value.copy_(rounded(R(value.shape)))
            if key.endswith("running_var"):
                value.copy_(rounded(0.5 + torch.rand(value.shape)))
    for key, value in module.state_dict().items():
        tensors[f"{name}/state/{key}"] = value.clone()
    case(name, lambda *x: f(module, *x) if f else module(*x), *inputs)
    for key, value in module.named_parameters():
        tensors[f"{name}/grad/{key}"] = value.grad
    for key, value in module.named_buffers():
        tensors[f"{name}/after/{key}"] = value


layer("ConvTranspose2d", nn.ConvTranspose2d(4, 6, (3, 2), stride=2, padding=1, output_padding=1, groups=2, dilation=2),
      R(2, 4, 3, 4))
layer("Conv1d", nn.Conv1d(4, 6, 5, stride=2, padding=3, dilation=2, groups=2), R(2, 4, 11))
layer("Conv1d_reflect", nn.Conv1d(3, 4, 3, padding=1, padding_mode="reflect", bias=False), R(2, 3, 7))
layer("BatchNorm1d", nn.BatchNorm1d(5), R(7, 5))
layer("BatchNorm1d_sequence", nn.BatchNorm1d(3, momentum=0.3), R(4, 3, 6))
layer("BatchNorm1d_eval", nn.BatchNorm1d(3), R(4, 3, 6), training=False)
layer("LayerNorm", nn.LayerNorm((3, 5), eps=1e-3), R(2, 4, 3, 5))
layer("GroupNorm", nn.GroupNorm(3, 6, eps=1e-3), R(2, 6, 3, 5))
layer("Embedding", nn.Embedding(7, 4), torch.randint(0, 7, (3, 5), dtype=torch.int32))
heads = lambda **options: nn.MultiheadAttention(8, 2, batch_first=True, **options)
causal = {"is_causal": True, "attn_mask": nn.Transformer.generate_square_subsequent_mask(5).double()}
layer("MultiheadAttention", heads(), R(2, 5, 8), f=lambda m, x: m(x, x, x, need_weights=False)[0])
layer("MultiheadAttention_causal", heads(bias=False), R(2, 5, 8),
      f=lambda m, x: m(x, x, x, need_weights=False, **causal)[0])
layer("MultiheadAttention_cross", heads(), R(2, 5, 8), R(2, 7, 8), R(2, 7, 8), R(5, 7),
      f=lambda m, q, k, v, mask: m(q, k, v, need_weights=False, attn_mask=mask)[0])

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
