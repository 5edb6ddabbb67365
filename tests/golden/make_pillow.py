"""Makes pillow_*.png: a small picture and Pillow's own resized versions of it, which train/resize.cpp must equal bit for bit.

    pip install "pillow<13"     # 13 runs the two bicubic passes in another order for some shapes
    python make_pillow.py

Run with Pillow 12.0.0; 9.5.0 and 11.3.0 give the same files.
"""
import random
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
WIDTH, HEIGHT = 23, 17
BICUBIC = [(40, 40), (11, 7), (23, 9), (50, 17), (13, 31), (37, 5), (1, 1)]
NEAREST = [(46, 34), (17, 13), (31, 51), (5, 3), (69, 17)]

random.seed(3)
source = Image.new("RGB", (WIDTH, HEIGHT))
for y in range(HEIGHT):
    for x in range(WIDTH):
        if x < 12:  # a ramp with hard edges: overshoot must be clipped between the passes
            value = (255 * (x > 5), 15 * y, 255 * ((x + y) % 2))
        else:
            value = tuple(random.randrange(256) for _ in range(3))
        source.putpixel((x, y), value)
source.save(HERE / "pillow_source.png")
for name, method, sizes in (("bicubic", Image.BICUBIC, BICUBIC), ("nearest", Image.NEAREST, NEAREST)):
    for w, h in sizes:
        source.resize((w, h), method).save(HERE / f"pillow_{name}_{w}x{h}.png", optimize=True)

# 1086 -> 1093: one of the sizes where Pillow's running sum and (x + 0.5) * scale pick different source pixels.
# Two digits a pixel, base 256, hold each source index.
row = Image.new("RGB", (1086, 1))
row.putdata([(x >> 8, x & 255, 0) for x in range(1086)])
row.resize((1093, 1), Image.NEAREST).save(HERE / "pillow_nearest_row_1086_to_1093.png", optimize=True)
