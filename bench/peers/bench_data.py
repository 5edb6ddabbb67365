#!/usr/bin/env python3
"""What bench_data load measures, with torchvision: pairs of a label map and a photo through a DataLoader, batch 1, shuffled.

    bench_data.py LABELS IMAGES [--load-size N] [--crop-size N] [--aspect X] [--workers N,..] [--samples N]

Two ways: "pil" (Pillow decodes and resizes, as most training code does) and "io" (torchvision.io decodes, tensors are resized
with antialias). Labels nearest, photos bicubic; one random crop and mirroring for both; photos to floats in [-1, 1]. One JSON
object a line. Needs torch, torchvision and pillow.
"""
import argparse
import json
import random
import time
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.io import ImageReadMode, decode_image, read_file
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F


class Pairs(Dataset):
    def __init__(self, options, way):
        self.labels = sorted(Path(options.labels).rglob("*.png"))
        photos = {p.stem: p for p in Path(options.images).rglob("*.jpg")}
        self.photos = [photos[p.stem] for p in self.labels]
        self.way = way
        self.load = [round(options.load_size / options.aspect), options.load_size]
        self.crop = [round(options.crop_size / options.aspect), options.crop_size]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        if self.way == "pil":
            label, photo = Image.open(self.labels[i]), Image.open(self.photos[i]).convert("RGB")
        else:
            label = decode_image(read_file(str(self.labels[i])), ImageReadMode.UNCHANGED)
            photo = decode_image(read_file(str(self.photos[i])), ImageReadMode.RGB)
        label = F.resize(label, self.load, InterpolationMode.NEAREST)
        photo = F.resize(photo, self.load, InterpolationMode.BICUBIC, antialias=True)
        top = random.randint(0, self.load[0] - self.crop[0])
        left = random.randint(0, self.load[1] - self.crop[1])
        label, photo = (F.crop(x, top, left, *self.crop) for x in (label, photo))
        if random.random() < 0.5:
            label, photo = F.horizontal_flip(label), F.horizontal_flip(photo)
        if self.way == "pil":
            label, photo = F.pil_to_tensor(label), F.pil_to_tensor(photo)
        return label, F.normalize(F.to_dtype(photo, torch.float32, scale=True), [0.5] * 3, [0.5] * 3)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labels")
    parser.add_argument("images")
    parser.add_argument("--load-size", type=int, default=286)
    parser.add_argument("--crop-size", type=int, default=256)
    parser.add_argument("--aspect", type=float, default=1.0)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--samples", type=int, default=400)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for way in ("pil", "io"):
        for workers in map(int, options.workers.split(",")):
            data = Pairs(options, way)
            loader = DataLoader(data, batch_size=1, shuffle=True, num_workers=workers, persistent_workers=True)
            done = 0
            for _ in loader:  # starts the processes
                break
            begin = time.perf_counter()
            while done < options.samples:
                for _ in loader:
                    done += 1
                    if done == options.samples:
                        break
            rate = done / (time.perf_counter() - begin)
            print(json.dumps({"loader": f"torchvision {way}", "threads": workers, "pictures": done,
                              "pictures_a_second": round(rate, 2)}), flush=True)


if __name__ == "__main__":
    main()
