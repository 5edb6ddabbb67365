#!/usr/bin/env python3
"""Writes optim.safetensors: AdamW with two parameter groups, clipped gradients and a warm-up before a cosine, by PyTorch in float64.
Per step i: grad.NAME.i, norm.i (before clipping), lr.i (the first group's), NAME.i (the parameter after the step).
For tests/test_optim.cpp. Needs torch and numpy."""
import json
import struct

import numpy as np
import torch

torch.manual_seed(7)
STEPS, WARMUP, LR, LR_END = 12, 4, 0.05, 0.001
tensors = {}


def rounded(x):
    """Numbers that float32 holds exactly, so that the file says what was computed with."""
    return x.float().double()


w = torch.nn.Parameter(rounded(torch.randn(3, 4, dtype=torch.float64)))
b = torch.nn.Parameter(rounded(torch.randn(5, dtype=torch.float64)))
tensors["start.w"], tensors["start.b"] = w.detach().clone(), b.detach().clone()
adamw = torch.optim.AdamW([{"params": [w]}, {"params": [b], "lr": LR / 10, "weight_decay": 0}], lr=LR, betas=(0.8, 0.95),
                          eps=1e-8, weight_decay=0.3)
schedulers = torch.optim.lr_scheduler
# A cosine's own end is absolute, the groups' rates are not: as a factor, for both.
cosine = schedulers.LambdaLR(
    adamw, lambda i: LR_END / LR + (1 - LR_END / LR) * (1 + np.cos(np.pi * min(1, i / (STEPS - WARMUP)))) / 2)
warmup = schedulers.LinearLR(adamw, start_factor=1 / WARMUP, end_factor=1, total_iters=WARMUP - 1)
schedule = schedulers.SequentialLR(adamw, [warmup, cosine], milestones=[WARMUP])
for i in range(STEPS):
    for name, p in (("w", w), ("b", b)):
        p.grad = rounded(torch.randn(p.shape, dtype=torch.float64) * 10 ** (1 - i % 4))
        tensors[f"grad.{name}.{i}"] = p.grad.clone()
    tensors[f"lr.{i}"] = torch.tensor(adamw.param_groups[0]["lr"], dtype=torch.float64)
    tensors[f"norm.{i}"] = torch.nn.utils.clip_grad_norm_([w, b], 1.5)
    adamw.step()
    schedule.step()
    for name, p in (("w", w), ("b", b)):
        tensors[f"{name}.{i}"] = p.detach().clone()

header, data = {}, b""
for name, x in tensors.items():
    x = np.ascontiguousarray(x.numpy().astype(np.float64)).reshape(x.shape)
    header[name] = {"dtype": "F64", "shape": list(x.shape), "data_offsets": [len(data), len(data) + x.nbytes]}
    data += x.tobytes()
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
with open(__file__.rsplit("/", 1)[0] + "/optim.safetensors" if "/" in __file__ else "optim.safetensors", "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text + data)
