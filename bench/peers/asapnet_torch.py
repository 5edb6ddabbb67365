"""ASAPNet in PyTorch, to time beside the C++ one: the same layers, state_dict keys and numbers, written from the paper
and docs/asapnet.md. Run as a program it proves that by the golden files:

    python3 bench/peers/asapnet_torch.py --check tests/golden

Next: bench_torch.py, which times it.
"""
import argparse
import ast
import contextlib
import dataclasses
import json
import math
import struct
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import spectral_norm


# ---- configuration --------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Config:
    label_nc: int = 13
    no_instance_edge: bool = True
    lr_instance: bool = False
    crop_size: int = 512
    aspect_ratio: float = 1.0
    learned_ds_factor: int = 16
    lr_width: int = 64
    lr_max_width: int = 1024
    lr_depth: int = 7
    hr_width: int = 64
    hr_depth: int = 5
    reflection_pad: bool = False
    replicate_pad: bool = False
    output_nc: int = 3
    ndf: int = 64
    ndf_max: int = 512
    n_layers_D: int = 4
    num_D: int = 2
    norm_D: str = "spectralinstance"

    @property
    def height(self):
        return round(self.crop_size / self.aspect_ratio)

    @property
    def tile(self):
        return int(self.crop_size / (16 * self.aspect_ratio))

    @property
    def input_channels(self):
        return self.label_nc + (0 if self.no_instance_edge else 1)

    @property
    def mlp_channels(self):
        """Channels of every layer of a tile's MLP, its input first."""
        encoding = 4 * int(math.log2(self.tile))
        first = self.input_channels - (1 if self.lr_instance else 0) + encoding
        return [first] + [self.hr_width] * (self.hr_depth - 1) + [self.output_nc]

    @property
    def phi_channels(self):
        channels = self.mlp_channels
        return sum(o + i * o for i, o in zip(channels, channels[1:]))


def preset(name):
    if name.startswith("facades"):
        return Config(crop_size=int(name[len("facades"):]), reflection_pad=True)
    if name.startswith("cityscapes"):
        width = 2 * int(name[len("cityscapes"):])
        return Config(label_nc=35, crop_size=width, aspect_ratio=2.0, no_instance_edge=False, lr_instance=True)
    raise ValueError(f"there is no preset {name}")


# ---- generator ------------------------------------------------------------------------------------------------------


def tent_downsample(x, factor):
    """Fixed S1 downsampling: the tent [1, 3, .., 3, 1] along W, then along H, on the reflected picture."""
    if factor == 1:
        return x
    rising = torch.arange(1, 2 * factor, 2, dtype=x.dtype, device=x.device)
    tent = torch.cat([rising, rising.flip(0)]) / (2 * factor * factor)
    channels = x.shape[1]
    x = F.pad(x, [factor // 2] * 4, mode="reflect")
    x = F.conv2d(x, tent.view(1, 1, 1, -1).repeat(channels, 1, 1, 1), stride=(1, factor), groups=channels)
    return F.conv2d(x, tent.view(1, 1, -1, 1).repeat(channels, 1, 1, 1), stride=(factor, 1), groups=channels)


def conv_norm_relu(config, inputs, outputs, stride):
    """[padding layer,] conv + instance norm, ReLU: 3 or 2 children, which is what numbers the checkpoint's keys."""
    padding = []
    if config.reflection_pad:
        padding = [nn.ReflectionPad2d(1)]
    elif config.replicate_pad:
        padding = [nn.ReplicationPad2d(1)]
    conv = nn.Conv2d(inputs, outputs, 3, stride, padding=0 if padding else 1, bias=False)
    return padding + [nn.Sequential(conv, nn.InstanceNorm2d(outputs, affine=True)), nn.ReLU(inplace=True)]


class Block(nn.Module):
    """One of the lr_depth convolutions at the grid's size."""

    def __init__(self, config):
        super().__init__()
        self.conv_block = nn.Sequential(*conv_norm_relu(config, config.lr_max_width, config.lr_max_width, 1))

    def forward(self, x):
        return self.conv_block(x)


class LowresStream(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.fixed_factor = config.tile // config.learned_ds_factor
        halvings = int(math.log2(config.learned_ds_factor))
        layers = conv_norm_relu(config, config.input_channels, config.lr_width, 1)
        for i in range(halvings):
            outputs = config.lr_max_width if i == halvings - 1 else config.lr_width
            layers += conv_norm_relu(config, config.lr_width, outputs, 2)
        layers += [Block(config) for _ in range(config.lr_depth)]
        layers += [nn.Conv2d(config.lr_max_width, config.phi_channels, 1)]
        self.model = nn.Sequential(*layers)

    def forward(self, x):
        return self.model(tent_downsample(x, self.fixed_factor))


def positional_encoding(height, width, tile, like):
    """[1, 4 log2(tile), H, W]: for f = tile, tile/2, .., 2 the cosine and sine of 2 pi X/f, then of 2 pi Y/f."""
    dtype = torch.promote_types(like.dtype, torch.float32)  # bfloat16 cannot count pixels
    x = torch.arange(width, dtype=dtype, device=like.device).expand(height, width)
    y = torch.arange(height, dtype=dtype, device=like.device).view(-1, 1).expand(height, width)
    planes = []
    period = tile
    while period >= 2:
        for position in (x, y):
            angle = 2 * math.pi * (position % period) / period
            planes += [torch.cos(angle), torch.sin(angle)]
        period //= 2
    return torch.stack(planes).unsqueeze(0).to(like.dtype)


def highres_stream(config, x, phi):
    """Every tile's own MLP as batched matrix products: [tiles, S*S, in] times [tiles, in, out]."""
    if config.lr_instance:
        x = x[:, :-1]
    batch, _, height, width = x.shape
    s, rows, columns = config.tile, height // config.tile, width // config.tile
    encoding = positional_encoding(height, width, s, x).expand(batch, -1, -1, -1)
    z = torch.cat([x, encoding], 1).view(batch, -1, rows, s, columns, s)
    # In phi's type, which under autocast is not x's: torch.compile rejects a product whose operands differ in theirs.
    z = z.permute(0, 2, 4, 3, 5, 1).reshape(batch * rows * columns, s * s, -1).to(phi.dtype)
    weights = phi.permute(0, 2, 3, 1).reshape(batch * rows * columns, -1)
    at = 0
    channels = config.mlp_channels
    for layer, (inputs, outputs) in enumerate(zip(channels, channels[1:])):
        bias = weights[:, at:at + outputs].unsqueeze(1)
        matrix = weights[:, at + outputs:at + outputs + inputs * outputs].view(-1, inputs, outputs)
        at += outputs + inputs * outputs
        z = torch.baddbmm(bias, z, matrix)
        z = torch.tanh(z) if layer == config.hr_depth - 1 else F.leaky_relu(z, 0.01, inplace=True)
    z = z.view(batch, rows, columns, s, s, config.output_nc)
    return z.permute(0, 5, 1, 3, 2, 4).reshape(batch, config.output_nc, height, width)


class Generator(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.lowres_stream = LowresStream(config)

    def forward(self, x):
        phi = self.lowres_stream(x)
        return highres_stream(self.config, x, phi), phi


# ---- discriminator --------------------------------------------------------------------------------------------------


class PatchDiscriminator(nn.Module):
    def __init__(self, config):
        super().__init__()
        filters = config.ndf
        inputs = config.input_channels + config.output_nc
        self.model0 = nn.Sequential(nn.Conv2d(inputs, filters, 4, 2, 2), nn.LeakyReLU(0.2, inplace=True))
        self.count = config.n_layers_D + 1
        for i in range(1, config.n_layers_D):
            previous, filters = filters, min(2 * filters, config.ndf_max)
            stride = 1 if i == config.n_layers_D - 1 else 2
            conv = nn.Conv2d(previous, filters, 4, stride, 2, bias=False)
            spectral = config.norm_D == "spectralinstance"
            norm = nn.InstanceNorm2d(filters, affine=not spectral)
            normed = nn.Sequential(spectral_norm(conv) if spectral else conv, norm)
            setattr(self, f"model{i}", nn.Sequential(normed, nn.LeakyReLU(0.2, inplace=True)))
        setattr(self, f"model{config.n_layers_D}", nn.Sequential(nn.Conv2d(filters, 1, 4, 1, 2)))

    def forward(self, x):
        outputs = []
        for i in range(self.count):
            x = getattr(self, f"model{i}")(x)
            outputs.append(x)
        return outputs


class Discriminator(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.count = config.num_D
        for i in range(config.num_D):
            setattr(self, f"discriminator_{i}", PatchDiscriminator(config))

    def forward(self, x):
        scales = []
        for i in range(self.count):
            scales.append(getattr(self, f"discriminator_{i}")(x))
            x = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
        return scales


# ---- losses ---------------------------------------------------------------------------------------------------------


def discriminator_hinge(scales, real):
    return sum(F.relu(1 - o[-1] if real else 1 + o[-1]).mean() for o in scales) / len(scales)


def generator_hinge(scales):
    return sum(-o[-1].mean() for o in scales) / len(scales)


def feature_matching(fake, real):
    terms = [F.l1_loss(f, r.detach()) for fs, rs in zip(fake, real) for f, r in zip(fs[:-1], rs[:-1])]
    return sum(terms) / len(fake)


class Vgg19(nn.Module):
    """torchvision's VGG-19 layers 0..29; `divisor` narrows it. Returns relu1_1, 2_1, 3_1, 4_1, 5_1."""

    WIDTHS = [64, 64, "pool", 128, 128, "pool", 256, 256, 256, 256, "pool", 512, 512, 512, 512, "pool", 512]
    TAPS = (1, 6, 11, 20, 29)
    WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1)

    def __init__(self, divisor=1):
        super().__init__()
        layers, inputs = [], 3
        for width in self.WIDTHS:
            if width == "pool":
                layers.append(nn.MaxPool2d(2, 2))
            else:
                layers += [nn.Conv2d(inputs, width // divisor, 3, padding=1), nn.ReLU(inplace=True)]
                inputs = width // divisor
        self.features = nn.Sequential(*layers)
        self.requires_grad_(False)

    def forward(self, x):
        taps = []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in self.TAPS:
                taps.append(x)
        return taps


def perceptual_loss(vgg, fake, real):
    with torch.no_grad():
        wanted = vgg(real)
    return sum(w * F.l1_loss(f, r) for w, f, r in zip(Vgg19.WEIGHTS, vgg(fake), wanted))


# ---- one training iteration -----------------------------------------------------------------------------------------


def one_hot_input(config, labels, instance=None, dtype=torch.float32):
    """labels [N,H,W] -> [N,C,H,W], with the instance channel last."""
    shape = (labels.shape[0], config.label_nc, *labels.shape[1:])
    x = torch.zeros(shape, dtype=dtype, device=labels.device).scatter_(1, labels.unsqueeze(1), 1.0)
    return x if instance is None else torch.cat([x, instance.to(dtype)], 1)


class TrainingStep:
    """G step, then D step on the same batch, with the default losses and TTUR Adam. `autocast` makes the context in which
    the forward passes run."""

    def __init__(self, config, generator, discriminator, vgg, lean=False, lr=2e-4, eps=1e-8,
                 autocast=contextlib.nullcontext):
        self.config, self.G, self.D, self.vgg, self.lean = config, generator, discriminator, vgg, lean
        self.autocast = autocast
        settings = {"betas": (0.0, 0.9), "eps": eps}
        if next(generator.parameters()).is_cuda:
            settings.update(fused=True, capturable=True)
        self.adam_G = torch.optim.Adam(self.G.parameters(), lr=lr / 2, **settings)
        self.adam_D = torch.optim.Adam(self.D.parameters(), lr=lr * 2, **settings)

    def discriminate(self, x, fake, real):
        both = torch.cat([torch.cat([x, fake], 1), torch.cat([x, real], 1)])
        scales = self.D(both)
        n = x.shape[0]
        return [[f[:n] for f in fs] for fs in scales], [[f[n:] for f in fs] for fs in scales]

    def run(self, labels, real, instance=None):
        """The losses as tensors: nothing here waits for the device."""
        x = one_hot_input(self.config, labels, instance)
        losses = {}
        if self.lean:  # no weight gradients of D, which the G step does not need
            self.D.requires_grad_(False)
        with self.autocast():
            fake, _ = self.G(x)
            on_fake, on_real = self.discriminate(x, fake, real)
            losses["GAN"] = generator_hinge(on_fake)
            losses["GAN_Feat"] = 10 * feature_matching(on_fake, on_real)
            losses["VGG"] = 10 * perceptual_loss(self.vgg, fake, real)
        self.adam_G.zero_grad(set_to_none=True)
        sum(losses.values()).backward()
        self.adam_G.step()
        self.D.requires_grad_(True)

        with self.autocast():
            with torch.no_grad():
                fake, _ = self.G(x)
            on_fake, on_real = self.discriminate(x, fake, real)
            losses["D_Fake"] = discriminator_hinge(on_fake, real=False)
            losses["D_real"] = discriminator_hinge(on_real, real=True)
        self.adam_D.zero_grad(set_to_none=True)
        (losses["D_Fake"] + losses["D_real"]).backward()
        self.adam_D.step()
        return losses

    def __call__(self, labels, real, instance=None):
        return {name: value.item() for name, value in self.run(labels, real, instance).items()}


# ---- the golden numbers ---------------------------------------------------------------------------------------------


def read_safetensors(path):
    """Tensors and metadata: 8 bytes header length, a JSON header, the tensors' bytes."""
    data = bytearray(Path(path).read_bytes())
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    metadata = header.pop("__metadata__", {})
    types = {"F32": torch.float32, "F64": torch.float64, "I32": torch.int32, "I64": torch.int64, "U8": torch.uint8}
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        raw = torch.frombuffer(data, dtype=torch.uint8, offset=8 + length + begin, count=end - begin)
        tensors[name] = raw.clone().view(types[entry["dtype"]]).view(entry["shape"])
    return tensors, metadata


def config_from(metadata):
    fields = {f.name: f.type for f in dataclasses.fields(Config)}
    values = {}
    for name, text in metadata.items():
        if name in fields:
            values[name] = text if fields[name] is str else ast.literal_eval(text)
    return Config(**values)


def with_prefix(tensors, prefix):
    return {name[len(prefix):]: value for name, value in tensors.items() if name.startswith(prefix)}


def difference(a, b):
    """Largest difference over the largest magnitude."""
    return ((a - b).abs().max() / b.abs().max()).item()


class Checks:
    def __init__(self):
        self.failed = 0

    def compare(self, what, difference, tolerance):
        good = difference <= tolerance
        self.failed += not good
        print(f"{'ok  ' if good else 'FAIL'} {what}: {difference:.2g} (allowed {tolerance:.2g})")


def check_generator(path, checks):
    tensors, metadata = read_safetensors(path)
    generator = Generator(config_from(metadata))
    generator.load_state_dict(with_prefix(tensors, "w."))  # strict: every key, no other
    x = tensors["x"].requires_grad_()
    y, phi = generator(x)
    (y * tensors["c"]).sum().backward()
    rounding = ast.literal_eval(metadata["f32_vs_f64_reldiff"])  # float32 against float64, when the file was made
    for name, value, key in [("y", y, "y"), ("phi", phi, "lr_features"), ("input gradient", x.grad, "gx")]:
        checks.compare(f"{path.stem} {name}", difference(value.detach(), tensors[key]), 4 * rounding[key])
    worst = max(difference(p.grad, tensors["g." + name]) for name, p in generator.named_parameters())
    checks.compare(f"{path.stem} worst weight gradient", worst, 4 * rounding["worst_gw"])


def check_discriminator(path, checks):
    tensors, metadata = read_safetensors(path)
    discriminator = Discriminator(config_from(metadata))
    discriminator.load_state_dict(with_prefix(tensors, "before."))
    outputs = discriminator(tensors["x"])
    worst = max(difference(value.detach(), tensors[f"out.{scale}.{layer}"])
                for scale, values in enumerate(outputs) for layer, value in enumerate(values))
    checks.compare(f"{path.stem} outputs", worst, 2e-5)
    state = discriminator.state_dict()
    for name, value in with_prefix(tensors, "after.").items():
        checks.compare(f"{path.stem} {name} after", difference(state[name], value), 2e-5)


def check_training(folder, lean, checks):
    """Five iterations from the well-conditioned start, G then D, against the losses of the float64 run."""
    tensors, metadata = read_safetensors(folder / "train5_smooth.safetensors")
    data, _ = read_safetensors(folder / "train5.safetensors")
    config = config_from(metadata)
    generator, discriminator, vgg = Generator(config), Discriminator(config), Vgg19(int(metadata["vgg_width_divisor"]))
    generator.load_state_dict(with_prefix(tensors, "start.G."))
    discriminator.load_state_dict(with_prefix(tensors, "start.D."))
    slices = with_prefix(tensors, "start.V.")  # sliceK.N.weight
    vgg.load_state_dict({"features." + name.split(".", 1)[1]: value for name, value in slices.items()})
    lr, eps = float(metadata["lr"]), float(metadata["eps"])
    step = TrainingStep(config, generator, discriminator, vgg, lean, lr, eps)
    rounding = ast.literal_eval(metadata["loss_reldiff_f32_vs_f64_per_step"])
    columns = metadata["loss_columns"].split(",")
    for i, (labels, image) in enumerate(zip(data["label"], data["image"])):
        losses = step(labels.squeeze(1).long(), image)
        mine = torch.tensor([losses[name] for name in columns], dtype=torch.float64)
        kind = "lean training" if lean else "training"
        worst = difference(mine, tensors["losses_f64"][i])
        checks.compare(f"{kind} step {i + 1} losses", worst, 4 * max(rounding[:i + 1]))


def main():
    parser = argparse.ArgumentParser(description="Checks this model against the golden files.")
    parser.add_argument("--check", metavar="DIR", required=True, type=Path, help="folder of the golden files")
    folder = parser.parse_args().check
    torch.set_num_threads(1)
    checks = Checks()
    for path in sorted(folder.glob("gen_*.safetensors")):
        check_generator(path, checks)
    for path in sorted(folder.glob("disc_*.safetensors")):
        check_discriminator(path, checks)
    for lean in (False, True):
        check_training(folder, lean, checks)
    print("all equal" if checks.failed == 0 else f"{checks.failed} differ")
    sys.exit(checks.failed != 0)


if __name__ == "__main__":
    main()
