"""The roofline chart as SVG: operations a byte against operations a second, both in decades, with the machine's roofs and a
point for each kernel of ours. S. Williams, A. Waterman, D. Patterson: Roofline, Communications of the ACM 52(4), 2009.
"""
import math
from html import escape

WIDTH, HEIGHT = 1120, 640
LEFT, RIGHT, TOP, BOTTOM = 80, 420, 60, 70  # margins; the names of the points stand in the right one
COLOURS = {"float32": "#1f5fa8", "bf16": "#c8501e"}
ROOF = "#555555"


class Axes:
    """Decimal logarithms of the first and the last value of both axes."""

    def __init__(self, intensities, rates):
        self.x = math.log10(min(intensities) / 1.5), math.log10(max(intensities) * 1.5)
        self.y = math.log10(min(rates) / 1.5), math.log10(max(rates) * 1.5)

    def at(self, intensity, rate):
        across = (math.log10(intensity) - self.x[0]) / (self.x[1] - self.x[0])
        up = (math.log10(rate) - self.y[0]) / (self.y[1] - self.y[0])
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)


def text(x, y, content, anchor="start", size=13, colour="#222222", turn=0):
    turned = f' transform="rotate({turn:.1f} {x:.1f} {y:.1f})"' if turn else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}"{turned}>{escape(content)}</text>'


def line(start, end, colour, width=1.0, dash=""):
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return (f'<line x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" stroke="{colour}" '
            f'stroke-width="{width}"{dashed}/>')


def grid(axes):
    parts = []
    for decade in range(math.ceil(axes.x[0]), math.floor(axes.x[1]) + 1):
        low, high = axes.at(10**decade, 10**axes.y[0]), axes.at(10**decade, 10**axes.y[1])
        parts += [line(low, high, "#dddddd"), text(low[0], low[1] + 20, f"{10**decade:g}", "middle")]
    for decade in range(math.ceil(axes.y[0]), math.floor(axes.y[1]) + 1):
        low, high = axes.at(10**axes.x[0], 10**decade), axes.at(10**axes.x[1], 10**decade)
        parts += [line(low, high, "#dddddd"), text(low[0] - 8, low[1] + 4, f"{10**decade:g}", "end")]
    middle = (LEFT + WIDTH - RIGHT) / 2
    return parts + [text(middle, HEIGHT - BOTTOM + 48, "floating-point operations a byte that must move", "middle", 14),
                    text(24, (TOP + HEIGHT - BOTTOM) / 2, "GFLOP/s", "middle", 14, turn=-90)]


def slopes(peak):
    """Name and GB/s of the bandwidths that are drawn: the second level of cache and main memory."""
    levels = peak["read_kib_gbs"]
    return [("L2", levels[1][1]), ("DRAM", levels[-1][1])]


def ceilings(peak):
    return [(p, peak[f"{p}_gflops"]) for p in COLOURS if peak[f"{p}_gflops"] > 0]


def roofs(axes, peak):
    parts, highest = [], max(rate for _, rate in ceilings(peak))
    right = 10**axes.x[1]
    for name, bandwidth in slopes(peak):
        first = max(10**axes.x[0], 10**axes.y[0] / bandwidth)
        start, end = axes.at(first, first * bandwidth), axes.at(highest / bandwidth, highest)
        parts.append(line(start, end, ROOF, 2))
        turn = math.degrees(math.atan2(end[1] - start[1], end[0] - start[0]))
        at = axes.at(first * 1.3, first * 1.3 * bandwidth)
        parts.append(text(at[0] + 4 * math.sin(math.radians(turn)), at[1] - 8, f"{name}, {bandwidth:.0f} GB/s read", "start", 12,
                          ROOF, turn))
    for name, rate in ceilings(peak):
        start, end = axes.at(rate / slopes(peak)[0][1], rate), axes.at(right, rate)
        parts += [line(start, end, COLOURS[name], 2),
                  text(end[0] - 4, end[1] - 7, f"{name} peak, {rate:.0f} GFLOP/s", "end", 12, COLOURS[name])]
    return parts


def mark(x, y, precision, label):
    colour = COLOURS[precision]
    shape = (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="8" fill="{colour}"/>' if precision == "float32" else
             f'<rect x="{x - 8:.1f}" y="{y - 8:.1f}" width="16" height="16" rx="2" fill="{colour}"/>')
    return shape + text(x, y + 4, str(label), "middle", 10, "#ffffff")


def marks_of(axes, points):
    """A mark whose place is taken stands at the nearest free one, with a line to where it belongs."""
    steps = sorted(((17 * i, 17 * k) for i in range(-6, 7) for k in range(-6, 7)), key=lambda step: math.hypot(*step))
    taken, lines, parts = [], [], []
    for label, _, places in points:
        for precision, place in places.items():
            x, y = axes.at(*place)
            free = [(x + i, y + k) for i, k in steps
                    if all(abs(x + i - other_x) >= 17 or abs(y + k - other_y) >= 17 for other_x, other_y in taken)]
            at = free[0] if free else (x, y)
            taken.append(at)
            lines.append(line((x, y), at, COLOURS[precision]))
            parts.append(mark(*at, precision, label))
    return lines + parts


def points_of(rows):
    """[number, name, {precision: (intensity, GFLOP/s)}], a number for each kernel."""
    kernels = {}
    for entry in rows:
        if "flops" in entry and "ours" in entry:
            place = entry["flops"] / entry["bytes"], entry["flops"] / entry["ours"]["ms"] / 1e6
            kernels.setdefault(entry["row"], {})[entry["precision"]] = place
    return [(i + 1, name, places) for i, (name, places) in enumerate(kernels.items())]


def names(points):
    left, parts = WIDTH - RIGHT + 30, []
    for i, (label, name, places) in enumerate(points):
        y = TOP + 46 + 16.5 * i
        rates = " / ".join(f"{places[p][1]:.3g}" if p in places else "-" for p in COLOURS)
        parts += [text(left + 18, y, str(label), "end", 11), text(left + 26, y, name, "start", 11),
                  text(WIDTH - 12, y, rates, "end", 11)]
    parts += [mark(left + 10, TOP + 2, "float32", ""), text(left + 24, TOP + 7, "float32", size=12, colour=COLOURS["float32"]),
              mark(left + 98, TOP + 2, "bf16", ""), text(left + 112, TOP + 7, "bf16", size=12, colour=COLOURS["bf16"]),
              text(WIDTH - 12, TOP + 26, "GFLOP/s, float32 / bf16", "end", 11, "#666666")]
    return parts


def roofline(result):
    peak, points = result["peak"], points_of(result["rows"])
    places = [place for _, _, at in points for place in at.values()]
    peaks = [rate for _, rate in ceilings(peak)]
    axes = Axes([x for x, _ in places] + [0.3, 1000], [y for _, y in places] + [max(peaks), min(peaks) / 50])
    head = result["head"]
    parts = ([text(LEFT, 28, "Kernels of ASAPNet under this machine's roofs", size=18),
              text(LEFT, 47, f"{head['processor']}, {head['isa']}, threads {head['threads']}, {head['date'][:10]}. Operations are the "
                             "definition's: Winograd's may pass the peak.", size=11, colour="#666666")]
             + grid(axes) + roofs(axes, peak) + marks_of(axes, points) + names(points))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
            f'font-family="sans-serif">\n<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n")
