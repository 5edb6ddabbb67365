"""The walk of docs/performance.md: three kernels from their definition to the fastest, a number after each step."""
from gpu_report import number, table

ONE, ALL = "one", "all"
# Variant, precision, instruction set (None: the best one), threads, what the step is. What a machine or a build lacks says so.
WALK = {
    "3x3 convolution, 1024 channels at 16x16": ("conv2d/G_3x3_1024_1024_@18/forward", [
        ("naive", "float32", None, ONE, "the definition: a loop for each output, sums in f64, one thread"),
        ("naive", "float32", None, ALL, "all threads"),
        ("implicit_gemm", "float32", "baseline", ALL, "a matrix product in blocks that stay in caches and registers, SSE"),
        ("implicit_gemm", "float32", "avx2", ALL, "the same in vectors of 8"),
        ("implicit_gemm", "float32", "avx512", ALL, "the same in vectors of 16"),
        ("winograd", "float32", None, ALL, "Winograd's F(4x4, 3x3): 36 multiplications for 144"),
        ("winograd", "bf16", None, ALL, "the same, bf16 in memory and f32 in registers"),
        ("bf16_blocks", "bf16", "avx512_bf16", ALL, "direct sums of bf16, blocks of 32x32, by vectors of pairs"),
        ("winograd_bf16", "bf16", "avx512_bf16", ALL, "Winograd's F(2x2, 3x3), 16 multiplications for 36, by vectors of pairs"),
        ("bf16_blocks", "bf16", "amx", ALL, "direct sums in tiles"),
    ]),
    "tile MLP, facades 256": ("tile_mlp/facades_256/forward", [
        ("naive", "float32", None, ONE, "the definition: every pixel by itself, one thread"),
        ("naive", "float32", None, ALL, "all threads"),
        ("fused", "float32", "baseline", ALL, "all layers of a strip of pixels while they are in the cache, SSE"),
        ("fused", "float32", "avx2", ALL, "the same in vectors of 8"),
        ("fused", "float32", "avx512", ALL, "the same in vectors of 16"),
        ("bf16_blocks", "bf16", "avx512_bf16", ALL, "bf16, blocks of 32x32 sums, by vectors of pairs"),
        ("bf16_blocks", "bf16", "amx", ALL, "the same blocks in tiles"),
    ]),
    "instance norm and ReLU, 64x512x512": ("instance_norm/64x512x512_relu/forward", [
        ("naive", "float32", None, ONE, "the definition: mean, variance, value, each a pass over the plane, one thread"),
        ("naive", "float32", None, ALL, "all threads"),
        ("chunked", "float32", "baseline", ALL, "statistics in one pass, scale, shift and ReLU in the other, SSE"),
        ("chunked", "float32", "avx2", ALL, "the same in vectors of 8"),
        ("chunked", "float32", "avx512", ALL, "the same in vectors of 16"),
        ("chunked", "bf16", None, ALL, "bf16: half the bytes"),
    ]),
}


def bandwidth(peak, size):
    """Of the largest measured working set that is not larger, in GB/s."""
    fitting = [rate for kib, rate in peak["read_kib_gbs"] if 1024 * kib <= size]
    return fitting[-1] if fitting else peak["read_kib_gbs"][0][1]


def floor_ms(peak, precision, flops, size):
    """Operations over the peak or bytes over the bandwidth, whichever takes longer."""
    rate = max(peak["float32_gflops"], peak["bf16_gflops"] if precision == "bf16" else 0)
    return max(flops / rate, size / bandwidth(peak, size)) / 1e6


def steps_of(row, steps, peak, arguments, run_json, failed):
    before, first, lines = None, None, []
    for variant, precision, isa, threads, text in steps:
        command = [arguments.programs / "bench_ops", f"--row={row}", f"--variant={variant}",
                   f"--dtype={'f32' if precision == 'float32' else 'bf16'}",
                   f"--calls={1 if variant == 'naive' else arguments.calls}",
                   f"--threads={1 if threads == ONE else arguments.threads}"]
        if arguments.quick and variant == "naive":
            lines.append([text, variant, "", "", "", "", "left out by --quick"])
            continue
        print(f"{row}: {text}", flush=True)
        try:
            told = run_json(command, {"ASAP_ISA": isa} if isa else {})
        except failed as failure:
            lines.append([text, variant, "", "", "", "", str(failure).removeprefix("bench_ops: ")])
            continue
        ms = sorted(told["ms"])[len(told["ms"]) // 2]
        first = first or ms
        share = 100 * floor_ms(peak, precision, told["flops"], told["bytes"]) / ms
        lines.append([text, variant, number(ms), number(told["flops"] / ms / 1e6), number(before / ms) if before else "",
                      number(first / ms), number(share)])
        before = ms
    return lines


def walk(walks, head, peak, arguments, run_json, failed):
    parts = ["# From the definition to the fastest", "; ".join(f"{key}: {value}" for key, value in head.items()) + "."]
    for title, (row, steps) in walks.items():
        lines = steps_of(row, steps, peak, arguments, run_json, failed)
        header = ["step", "variant", "ms", "GFLOP/s", "times the step before", "times the first", "floor is % of it"]
        parts += [f"## {title}", table(header, lines)]
        print("\n" + parts[-1] + "\n", flush=True)
    return "\n\n".join(parts) + "\n"
