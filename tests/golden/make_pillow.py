"""Makes pillow_*: a small picture and Pillow's own resized versions of it, which train/pictures/resize.cpp must equal bit for bit; and in
pictures/ files of many formats, each photo with the pixels that Pillow shows (NAME.png beside NAME.jpg, .webp or .tif), and one
label map in every form that keeps its numbers (label_*; label_index.png is the palette PNG).

    pip install "pillow<13"     # 13 runs the two bicubic passes in another order for some shapes
    python make_pillow.py

Run with Pillow 12.0.0; 9.5.0 and 11.3.0 give the same pillow_* files. pictures/ is of Pillow 12.3.0 (libjpeg-turbo 3.1.4), whose
pixels libjpeg-turbo 2.1 equals. arithmetic.jpg came from another encoder: Pillow writes no such files.
"""
import random
from pathlib import Path

from PIL import Image, ImageOps

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

# ---- pictures/ ----

PICTURES = HERE / "pictures"
PICTURES.mkdir(exist_ok=True)
photo = Image.new("RGB", (37, 26))
photo.putdata([(7 * x % 256, 9 * y % 256, 255 * (x // 5 % 2 ^ y // 4 % 2)) for y in range(26) for x in range(37)])


def save(name, picture, **options):
    """The file, and what Pillow shows of it."""
    path = PICTURES / name
    if picture:
        picture.save(path, **options)
    shown = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    shown.save(path.with_suffix(".png"), optimize=True)


for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
    save(f"jpeg_{subsampling.replace(':', '')}.jpg", photo, quality=80, subsampling=subsampling)
save("jpeg_progressive.jpg", photo, quality=60, progressive=True)
save("jpeg_restarts.jpg", photo, quality=70, restart_marker_blocks=2)
save("jpeg_rgb.jpg", photo, quality=80, keep_rgb=True)
save("jpeg_gray.jpg", photo.convert("L"), quality=80)
save("arithmetic.jpg", None)

# Four components: with Adobe's marker (transform 0: CMYK), the same taken for YCCK (transform 2), and without the marker.
black = Image.new("L", photo.size)
black.putdata([3 * x + 2 * y for y in range(26) for x in range(37)])
inks = Image.merge("CMYK", (*photo.split(), black))
save("jpeg_cmyk.jpg", inks, quality=80)
cmyk = (PICTURES / "jpeg_cmyk.jpg").read_bytes()
marker = cmyk.index(b"\xff\xee\0\x0eAdobe")
for name, data in (("jpeg_ycck", cmyk[:marker + 15] + b"\2" + cmyk[marker + 16:]),
                   ("jpeg_four_plain", cmyk[:marker] + cmyk[marker + 16:])):
    (PICTURES / f"{name}.jpg").write_bytes(data)
    save(f"{name}.jpg", None)

side = Image.Exif()
side[0x0112] = 6
save("webp_lossy.webp", photo, quality=70)
save("webp_lossless_6.webp", photo, lossless=True, exif=side)
save("tiff_lzw.tif", photo, compression="tiff_lzw")
save("tiff_jpeg.tif", photo, compression="jpeg", quality=80)
save("tiff_ycbcr.tif", photo.convert("YCbCr"), compression="jpeg", quality=80)
save("tiff_palette.tif", photo.quantize(16))
save("tiff_side_6.tif", photo, exif=side, compression="packbits")
photo.save(PICTURES / "animation.webp", save_all=True, append_images=[photo.transpose(Image.FLIP_TOP_BOTTOM)])
inks.save(PICTURES / "cmyk.tif", compression="tiff_lzw")
photo.resize((4, 3)).save(PICTURES / "foreign.gif")
photo.resize((4, 3)).save(PICTURES / "foreign.avif")
photo.resize((4, 3)).save(PICTURES / "foreign.tga")
photo.resize((4, 3)).save(PICTURES / "foreign.ppm")

labels = [(x // 4 + y // 3) % 8 for y in range(17) for x in range(23)]
index, gray = Image.new("P", (23, 17)), Image.new("L", (23, 17))
index.putdata(labels)
index.putpalette([v for i in range(8) for v in (i * 30, 255 - i * 20, i * 7)])
gray.putdata(labels)
alpha = gray.point(lambda v: 32 * v)
wide = Image.new("I;16", (23, 17))
wide.putdata([1000 * v + 7 for v in labels])
index.save(PICTURES / "label_index.png")
gray.save(PICTURES / "label_gray.png")
gray.convert("RGB").save(PICTURES / "label_rgb.png")
Image.merge("LA", (gray, alpha)).save(PICTURES / "label_gray_alpha.png")
Image.merge("RGBA", (gray, gray, gray, alpha)).save(PICTURES / "label_rgb_alpha.png")
sixteen = Image.new("I;16", (23, 17))
sixteen.putdata(labels)
sixteen.save(PICTURES / "label_16.png")
index.save(PICTURES / "label_index.bmp")
gray.convert("RGB").save(PICTURES / "label_rgb.bmp")
gray.save(PICTURES / "label_gray.tif")
index.save(PICTURES / "label_index.tif", compression="tiff_deflate")
sixteen.save(PICTURES / "label_16.tif")
wide.save(PICTURES / "wide.png")  # not one of label_*: class v is 1000 v + 7
index.convert("RGB").save(PICTURES / "colours.png")
index.convert("RGB").save(PICTURES / "colours.jpg", quality=90)
