#!/usr/bin/env python3
"""Writes model_NAME.safetensors for test_example_models.cpp: the models of docs/examples as PyTorch computes them.

Run: python3 make_models.py   (needs torch and numpy; made with PyTorch 2.15)
Each model is written here anew from its paper, in plain PyTorch, with the names of parameters that docs/examples has. A file
holds w.NAME, all parameters and buffers, in.NAME, the inputs, and c, the cotangent, in float16, so that each side reads the
same numbers from few bytes; the output y and the gradients g.NAME are computed in float64 and stored in float32.
"""
import json
import os
import struct

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

FOLDER = os.path.dirname(os.path.abspath(__file__))


def write(name, tensors):
    header, data = {}, b""
    for key, (x, dtype) in tensors.items():
        x = x.detach().numpy()
        kind = {"F16": np.float16, "F32": np.float32, "I32": np.int32, "U8": np.uint8}[dtype]
        x = np.ascontiguousarray(x.astype(kind)).reshape(x.shape)
        header[key] = {"dtype": dtype, "shape": list(x.shape), "data_offsets": [len(data), len(data) + x.nbytes]}
        data += x.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(f"{FOLDER}/model_{name}.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)
    print(f"{name}: {(8 + len(text) + len(data)) / 1000:.0f} kB")


def halved(x):
    return x.half().double() if x.is_floating_point() else x


def record(name, model, inputs, gradients):
    """model(*inputs.values()) in training mode, its gradients by the parameters named; y_eval: of batch norms in evaluation."""
    model.double()
    state = model.state_dict()  # shares memory
    for key, x in state.items():
        if key.endswith("running_var"):
            x.uniform_(0.5, 2)
        elif key.endswith("running_mean"):
            x.normal_(0, 0.3)
        elif x.dim() == 1 and key.endswith("weight"):  # a norm's
            x.uniform_(0.5, 1.5)
        x.copy_(halved(x))
    inputs = {key: halved(x) for key, x in inputs.items()}  # integers stay
    tensors = {"w." + key: (x.clone(), "F16" if x.is_floating_point() else "I32") for key, x in state.items()}
    tensors |= {"in." + key: (x, "F16" if x.is_floating_point() else "U8") for key, x in inputs.items()}
    y_eval = model.eval()(*inputs.values())
    y = model.train()(*inputs.values())
    cotangent = halved(torch.randn(y.shape).double())
    y.backward(cotangent)
    tensors |= {"y": (y, "F32"), "c": (cotangent, "F16")}
    if any(key.endswith("running_mean") for key in state):
        tensors["y_eval"] = (y_eval, "F32")
    parameters = dict(model.named_parameters())
    tensors |= {"g." + key: (parameters[key].grad, "F32") for key in gradients}
    write(name, tensors)


# ---- ResNet-18: He et al. 2016, torchvision's names ------------------------------------------------------------------
def conv(i, o, kernel, stride):
    return nn.Conv2d(i, o, kernel, stride, kernel // 2, bias=False)


class BasicBlock(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.conv1, self.bn1 = conv(i, o, 3, stride), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = conv(o, o, 3, 1), nn.BatchNorm2d(o)
        if i != o:
            self.downsample = nn.Sequential(conv(i, o, 1, stride), nn.BatchNorm2d(o))

    def forward(self, x):
        shortcut = self.downsample(x) if hasattr(self, "downsample") else x
        return F.relu(shortcut + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class ResNet18(nn.Module):
    def __init__(self, classes, width):
        super().__init__()
        self.conv1, self.bn1 = conv(3, width, 7, 2), nn.BatchNorm2d(width)
        sizes = [width, width, 2 * width, 4 * width, 8 * width]
        for n in range(1, 5):
            blocks = BasicBlock(sizes[n - 1], sizes[n], 1 if n == 1 else 2), BasicBlock(sizes[n], sizes[n], 1)
            self.add_module(f"layer{n}", nn.Sequential(*blocks))
        self.fc = nn.Linear(8 * width, classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
        return self.fc(x.mean((2, 3)))


# ---- SPADE: Park et al. 2019, section 3 and appendix A ---------------------------------------------------------------
class Spade(nn.Module):
    def __init__(self, channels, classes, hidden, batch):
        super().__init__()
        self.param_free_norm = (nn.BatchNorm2d if batch else nn.InstanceNorm2d)(channels, affine=False)
        self.mlp_shared = nn.Sequential(nn.Conv2d(classes, hidden, 3, padding=1), nn.ReLU())
        self.mlp_gamma = nn.Conv2d(hidden, channels, 3, padding=1)
        self.mlp_beta = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x, labels):
        context = self.mlp_shared(F.interpolate(labels, x.shape[2:], mode="nearest"))
        return self.param_free_norm(x) * (1 + self.mlp_gamma(context)) + self.mlp_beta(context)


class SpadeBlock(nn.Module):
    def __init__(self, i, o, classes, hidden, batch):
        super().__init__()
        middle = min(i, o)
        spectral = nn.utils.spectral_norm
        self.conv_0 = spectral(nn.Conv2d(i, middle, 3, padding=1))
        self.conv_1 = spectral(nn.Conv2d(middle, o, 3, padding=1))
        self.norm_0, self.norm_1 = Spade(i, classes, hidden, batch), Spade(middle, classes, hidden, batch)
        if i != o:
            self.conv_s = spectral(nn.Conv2d(i, o, 1, bias=False))
            self.norm_s = Spade(i, classes, hidden, batch)

    def forward(self, x, labels):
        shortcut = self.conv_s(self.norm_s(x, labels)) if hasattr(self, "conv_s") else x
        x = self.conv_0(F.leaky_relu(self.norm_0(x, labels), 0.2))
        return shortcut + self.conv_1(F.leaky_relu(self.norm_1(x, labels), 0.2))


class SpadeGenerator(nn.Module):
    def __init__(self, classes, width, hidden, doublings, batch):
        super().__init__()
        self.doublings = doublings
        self.fc = nn.Conv2d(classes, 16 * width, 3, padding=1)
        plan = [("head_0", 16, 16, False), ("G_middle_0", 16, 16, True), ("G_middle_1", 16, 16, doublings >= 6)]
        plan += [("up_0", 16, 8, True), ("up_1", 8, 4, True), ("up_2", 4, 2, True), ("up_3", 2, 1, True)]
        plan += [("up_4", 1, 0.5, True)] if doublings == 7 else []
        for name, i, o, _ in plan:
            self.add_module(name, SpadeBlock(int(i * width), int(o * width), classes, hidden, batch))
        self.plan = plan
        self.conv_img = nn.Conv2d(int(plan[-1][2] * width), 3, 3, padding=1)

    def forward(self, labels):
        labels = F.one_hot(labels, self.fc.in_channels).permute(0, 3, 1, 2).double()
        x = self.fc(F.interpolate(labels, [n >> self.doublings for n in labels.shape[2:]], mode="nearest"))
        for name, _, _, doubled in self.plan:
            x = getattr(self, name)(F.interpolate(x, scale_factor=2, mode="nearest") if doubled else x, labels)
        return torch.tanh(self.conv_img(F.leaky_relu(x, 0.2)))


# ---- a picture as a network, with Fourier features: Tancik et al. 2020, equation 4 -----------------------------------
class Cppn(nn.Module):
    def __init__(self, features, deviation, width, hidden_layers):
        super().__init__()
        self.register_buffer("frequencies", torch.randn(2, features) * deviation)
        sizes = [2 * features] + [width] * hidden_layers
        layers = [layer for i, o in zip(sizes, sizes[1:]) for layer in (nn.Linear(i, o), nn.ReLU())]
        self.layers = nn.Sequential(*layers, nn.Linear(width, 3), nn.Sigmoid())

    def forward(self, places):
        angles = 2 * torch.pi * places @ self.frequencies
        return self.layers(torch.cat([angles.cos(), angles.sin()], 1))


# ---- HDRnet: Gharbi et al. 2017, sections 3.1 to 3.3; the grid sliced by grid_sample ---------------------------------
class ConvRelu(nn.Conv2d):
    def forward(self, x):
        return F.relu(super().forward(x))


class Mean(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


class Hdrnet(nn.Module):
    def __init__(self, small, grid, depth, width):
        super().__init__()
        self.small, self.depth = small, depth
        splat, c = [], 3
        while small > grid:
            splat.append(ConvRelu(c, width, 3, 2, 1))
            c, width, small = width, 2 * width, small // 2
        self.splat = nn.Sequential(*splat)
        self.local = nn.Sequential(ConvRelu(c, c, 3, 1, 1), nn.Conv2d(c, c, 3, 1, 1, bias=False))
        pooled = Mean(), nn.Linear(c, c), nn.ReLU(), nn.Linear(c, c)
        self.add_module("global", nn.Sequential(ConvRelu(c, c, 3, 2, 1), ConvRelu(c, c, 3, 2, 1), *pooled))
        self.to_grid = nn.Conv2d(c, 12 * depth, 1)
        self.guide = nn.Sequential(ConvRelu(3, 16, 1), nn.Conv2d(16, 1, 1), nn.Sigmoid())

    def forward(self, x):
        n, _, h, w = x.shape
        features = self.splat(F.interpolate(x, (self.small, self.small), mode="bilinear", align_corners=False))
        fused = F.relu(self.local(features) + getattr(self, "global")(features)[:, :, None, None])
        grid = self.to_grid(fused)
        grid = grid.reshape(n, 12, self.depth, *grid.shape[2:])
        z = (2 * self.guide(x)[:, 0] * (self.depth - 1) + 1) / self.depth - 1  # so that 0 and 1 are the outer layers' middles
        across = ((2 * torch.arange(w, dtype=x.dtype) + 1) / w - 1).expand(n, h, w)
        down = ((2 * torch.arange(h, dtype=x.dtype) + 1) / h - 1)[:, None].expand(n, h, w)
        places = torch.stack([across, down, z], 3)[:, None]
        sliced = F.grid_sample(grid, places, padding_mode="border", align_corners=False)[:, :, 0].reshape(n, 3, 4, h, w)
        return (sliced[:, :, :3] * x[:, None]).sum(2) + sliced[:, :, 3]


# ---- pix2pixHD's global generator: Wang et al. 2018, appendix --------------------------------------------------------
class ResidualBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        layers = [nn.ReflectionPad2d(1), nn.Conv2d(c, c, 3), nn.InstanceNorm2d(c)]
        again = [nn.ReflectionPad2d(1), nn.Conv2d(c, c, 3), nn.InstanceNorm2d(c)]
        self.conv_block = nn.Sequential(*layers, nn.ReLU(), *again)

    def forward(self, x):
        return x + self.conv_block(x)


class Pix2pixHd(nn.Module):
    def __init__(self, classes, width, halvings, blocks):
        super().__init__()
        layers = [nn.ReflectionPad2d(3), nn.Conv2d(classes, width, 7), nn.InstanceNorm2d(width), nn.ReLU()]
        c = width
        for _ in range(halvings):
            layers += [nn.Conv2d(c, 2 * c, 3, 2, 1), nn.InstanceNorm2d(2 * c), nn.ReLU()]
            c *= 2
        layers += [ResidualBlock(c) for _ in range(blocks)]
        for _ in range(halvings):
            layers += [nn.ConvTranspose2d(c, c // 2, 3, 2, 1, output_padding=1), nn.InstanceNorm2d(c // 2), nn.ReLU()]
            c //= 2
        self.model = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(c, 3, 7), nn.Tanh())

    def forward(self, labels):
        classes = self.model[1].in_channels
        return self.model(F.one_hot(labels, classes).permute(0, 3, 1, 2).double())


# ---- pix2pix: Isola et al. 2017, section 6.1 -------------------------------------------------------------------------
class UNet(nn.Module):
    def __init__(self, classes, width, halvings):
        super().__init__()
        sizes = [min(width << i, 8 * width) for i in range(halvings)]
        self.down = nn.ModuleList(nn.Conv2d(i, o, 4, 2, 1) for i, o in zip([classes] + sizes, sizes))
        outs = [3] + sizes[:-1]
        self.up = nn.ModuleList()
        for k in reversed(range(halvings)):
            self.up.append(nn.ConvTranspose2d(sizes[k] * (1 if k == halvings - 1 else 2), outs[k], 4, 2, 1))

    def forward(self, labels):
        x = F.one_hot(labels, self.down[0].in_channels).permute(0, 3, 1, 2).double()
        skips = []
        for k, down in enumerate(self.down):
            x = down(x if k == 0 else F.leaky_relu(x, 0.2))
            if 0 < k < len(self.down) - 1:
                x = F.instance_norm(x)
            skips.append(x)
        for k, up in enumerate(self.up):
            x = skips[-1] if k == 0 else torch.cat([x, skips[-1 - k]], 1)
            x = up(F.relu(x))
            if k < len(self.up) - 1:
                x = F.instance_norm(x)
        return torch.tanh(x)


class PatchGan(nn.Module):
    def __init__(self, channels, width):
        super().__init__()
        layers = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for i, stride in ((width, 2), (2 * width, 1)):
            layers += [nn.Conv2d(i, 2 * i, 4, stride, 1), nn.InstanceNorm2d(2 * i), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(4 * width, 1, 4, 1, 1))

    def forward(self, x):
        return self.layers(x)


# ---- GPT: Radford et al. 2019 ----------------------------------------------------------------------------------------
class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.randn(3 * width, width) / width**0.5)
        self.in_proj_bias = nn.Parameter(torch.randn(3 * width) / 10)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x, causal):
        n, length, width = x.shape
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias).reshape(n, length, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(2, 3) / (width // self.heads) ** 0.5
        if causal:
            scores = scores.masked_fill(torch.ones(length, length).triu(1).bool(), float("-inf"))
        return self.out_proj((scores.softmax(3) @ v).transpose(1, 2).reshape(n, length, width))


class GptBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln_1, self.attn = nn.LayerNorm(width), Attention(width, heads)
        self.ln_2, self.mlp = nn.LayerNorm(width), nn.Module()
        self.mlp.c_fc, self.mlp.c_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x), True)
        return x + self.mlp.c_proj(F.gelu(self.mlp.c_fc(self.ln_2(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self, vocabulary, context, width, heads, layers):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.h = nn.ModuleList(GptBlock(width, heads) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe.weight[:tokens.shape[1]]
        for block in self.h:
            x = block(x)
        return self.ln_f(x) @ self.wte.weight.T


# ---- vision transformer: Dosovitskiy et al. 2021, torchvision's names ------------------------------------------------
class VitBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln_1, self.self_attention = nn.LayerNorm(width, eps=1e-6), Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(0), nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.self_attention(self.ln_1(x), False)
        return x + self.mlp(self.ln_2(x))


class Vit(nn.Module):
    def __init__(self, channels, side, patch, width, heads, layers, classes):
        super().__init__()
        self.class_token = nn.Parameter(torch.randn(1, 1, width))
        self.conv_proj = nn.Conv2d(channels, width, patch, patch)
        self.encoder = nn.Module()
        self.encoder.pos_embedding = nn.Parameter(torch.randn(1, (side // patch) ** 2 + 1, width))
        self.encoder.layers = nn.Sequential()
        for i in range(layers):
            self.encoder.layers.add_module(f"encoder_layer_{i}", VitBlock(width, heads))
        self.encoder.ln = nn.LayerNorm(width, eps=1e-6)
        self.heads = nn.Sequential()
        self.heads.add_module("head", nn.Linear(width, classes))

    def forward(self, x):
        patches = self.conv_proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), patches], 1) + self.encoder.pos_embedding
        return self.heads(self.encoder.ln(self.encoder.layers(x))[:, 0])


def label_map(classes, height, width):
    """Squares of 4x4 pixels."""
    return torch.randint(0, classes, (1, height // 4, width // 4)).repeat_interleave(4, 1).repeat_interleave(4, 2)


def main():
    torch.manual_seed(1)
    record("resnet18", ResNet18(5, 3), {"x": torch.randn(2, 3, 70, 64)},
           ["conv1.weight", "bn1.weight", "layer1.0.conv1.weight", "layer2.0.downsample.0.weight", "layer4.1.bn2.bias",
            "fc.weight"])
    record("spade", SpadeGenerator(4, 1, 2, 6, False), {"labels": label_map(4, 128, 64)},
           ["fc.weight", "head_0.conv_0.weight_orig", "up_0.norm_s.mlp_shared.0.weight", "up_3.conv_s.weight_orig",
            "up_3.norm_1.mlp_gamma.weight", "conv_img.bias"])
    record("spade_batch", SpadeGenerator(3, 1, 2, 5, True), {"labels": label_map(3, 32, 64)},
           ["fc.weight", "head_0.norm_0.mlp_gamma.weight", "up_0.norm_s.mlp_shared.0.weight", "up_3.conv_1.bias"])
    record("cppn", Cppn(16, 3, 20, 2), {"places": torch.rand(50, 2)},
           ["layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.4.weight"])
    record("hdrnet", Hdrnet(32, 8, 4, 4), {"x": torch.rand(2, 3, 26, 37)},
           ["splat.0.weight", "splat.1.weight", "local.1.weight", "global.5.bias", "to_grid.weight", "guide.0.weight",
            "guide.1.bias"])
    record("pix2pixhd", Pix2pixHd(4, 2, 2, 2), {"labels": label_map(4, 32, 40)},
           ["model.1.weight", "model.4.weight", "model.10.conv_block.5.weight", "model.12.weight", "model.15.weight",
            "model.19.bias"])
    record("pix2pix", UNet(4, 2, 5), {"labels": label_map(4, 32, 64)},
           ["down.0.weight", "down.4.weight", "up.0.weight", "up.3.weight", "up.4.bias"])
    record("patchgan", PatchGan(5, 3), {"x": torch.randn(2, 5, 32, 40)},
           ["layers.0.weight", "layers.2.weight", "layers.5.weight", "layers.8.bias"])
    record("gpt", Gpt(11, 9, 16, 4, 2), {"tokens": torch.randint(0, 11, (3, 7))},
           ["wte.weight", "wpe.weight", "h.0.ln_1.bias", "h.0.attn.in_proj_weight", "h.1.mlp.c_fc.weight", "ln_f.weight"])
    record("vit", Vit(2, 16, 4, 16, 2, 2, 5), {"x": torch.randn(3, 2, 16, 16)},
           ["class_token", "conv_proj.weight", "encoder.pos_embedding",
            "encoder.layers.encoder_layer_0.self_attention.in_proj_bias", "encoder.layers.encoder_layer_1.mlp.3.weight",
            "heads.head.weight"])


if __name__ == "__main__":
    main()
