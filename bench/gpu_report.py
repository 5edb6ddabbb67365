"""Makes the table of scripts/gpu-check: reads what its steps left under DIR/raw and writes DIR/gpu-check.md and .json.

    python3 bench/gpu_report.py results

raw/machine.tsv and raw/STEP.tsv are the script's own; bench_ops.json and bench_asapnet.json are Google Benchmark's; torch.json
is that of bench/peers/bench_torch.py. What is missing or cut off is left out: the table says what ran.
"""
import json
import re
import sys
from pathlib import Path

STEPS = ["build", "tests", "sanitizers", "bits", "losses", "bench_ops", "bench_model", "torch"]
PRECISIONS = ["float32", "tf32", "bf16"]
LIBRARIES = ("cublaslt", "cudnn")  # variants that call NVIDIA's
MODES = ["eager", "graphs", "compile", "compile-graphs"]


def read_machine(raw):
    lines = (raw / "machine.tsv").read_text().splitlines()
    return dict(line.split("\t", 1) for line in lines)


def read_steps(raw):
    steps = []
    for name in STEPS:
        file = raw / f"{name}.tsv"
        if file.exists():
            result, seconds, commit, note = file.read_text().rstrip("\n").split("\t", 3)
            steps.append({"step": name, "result": result, "seconds": int(seconds), "commit": commit, "note": note})
    return steps


def read_json(file):
    """The file's content, also where a benchmark that was stopped left its list open; None if there is nothing."""
    if not file.exists():
        return None
    text = file.read_text()
    for ending in ("", "]}", "}]}"):
        try:
            return json.loads(text.rstrip().rstrip(",") + ending)
        except json.JSONDecodeError:
            pass
    print(f"gpu_report.py: {file} cannot be read; it is left out", file=sys.stderr)
    return None


def medians(file):
    """Google Benchmark's median rows: name without the parts that only say how it was timed, and the row itself."""
    for row in (read_json(file) or {}).get("benchmarks", []):
        if row.get("error_occurred"):
            yield plain_name(row["run_name"]), row
        elif row.get("aggregate_name") == "median":
            yield plain_name(row["run_name"]), row


def plain_name(run_name):
    how = re.compile(r"^(repeats|min_time|min_warmup_time|iterations|threads):|^(process_time|real_time|manual_time)$")
    return "/".join(part for part in run_name.removeprefix("cuda/").split("/") if not how.search(part))


def milliseconds(row):
    return row["real_time"] * {"ns": 1e-6, "us": 1e-3, "ms": 1, "s": 1e3}[row["time_unit"]]


def read_model(raw):
    rows = {}
    for name, row in medians(raw / "bench_asapnet.json"):
        memory = [value for key, value in row.items() if key == "tensors_MiB"]
        entry = {"error": row["error_message"]} if "error_message" in row else {"ms": milliseconds(row)}
        rows[name] = entry | ({"MiB": memory[0]} if memory else {})
    return rows


def read_torch(raw):
    """By the name that bench_asapnet uses, then by mode."""
    content = read_json(raw / "torch.json") or {}
    rows = {}
    for row in content.get("rows", []):
        name = row["name"].removesuffix("/" + row["mode"])
        entry = {"error": row["error"]} if "error" in row else {"ms": row["median_ms"], "cv": row["cv"], "MiB": row["peak_MiB"]}
        rows.setdefault(name, {})[row["mode"]] = entry
    return {key: value for key, value in content.items() if key != "rows"}, rows


def precision_of(variant):
    return next((p for p in PRECISIONS if variant.endswith("_" + p)), "float32")


def beside_library(rows):
    """Adds to our kernels how many times as long NVIDIA's library takes for the same row at the same precision."""
    theirs = {(row["row"], precision_of(row["variant"])): row["ms"] for row in rows
              if row["variant"].startswith(LIBRARIES) and "ms" in row}
    for row in rows:
        library_ms = theirs.get((row["row"], precision_of(row["variant"])))
        if library_ms and "ms" in row and not row["variant"].startswith(LIBRARIES):
            row["library/ours"] = library_ms / row["ms"]
    return rows


def read_ops(raw):
    rows = []
    for name, row in medians(raw / "bench_ops.json"):
        row_name, variant = name.rsplit("/", 1)
        entry = {"row": row_name, "variant": variant}
        if "error_message" in row:
            if "does not take" not in row["error_message"]:
                rows.append(entry | {"error": row["error_message"]})
            continue
        rows.append(entry | {"ms": milliseconds(row)} | {key: row[key] for key in ("GFLOP/s", "GB/s", "%peak") if key in row})
    return beside_library(rows)


def compared(ours, theirs):
    """One entry a row of the model, ours and PyTorch's, with the ratios that the comparison is about."""
    def order(name):
        parts = name.split("/")
        precision = next((i for i, p in enumerate(PRECISIONS) if p in parts), len(PRECISIONS))
        size = int(re.sub(r"\D", "", parts[1]) or 0) if len(parts) > 1 else 0
        return parts[0], re.sub(r"\d", "", parts[1]) if len(parts) > 1 else "", size, len(parts), precision

    rows = []
    for name in sorted(set(ours) | set(theirs), key=order):
        row = {"row": name, "ours": ours.get(name), "torch": theirs.get(name.replace("session/", "inference/"), {})}
        times = {mode: entry["ms"] for mode, entry in row["torch"].items() if "ms" in entry}
        if times and row["ours"] and "ms" in row["ours"]:
            row["best_torch_mode"] = min(times, key=times.get)
            row["best_torch/ours"] = min(times.values()) / row["ours"]["ms"]
            if "eager" in times:
                row["eager/ours"] = times["eager"] / row["ours"]["ms"]
        rows.append(row)
    return rows


# ---- Markdown -------------------------------------------------------------------------------------------------------


def number(value):
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def cell(entry, key="ms"):
    if not entry:
        return ""
    return number(entry.get(key)) if key in entry else entry.get("error", "")[:60].replace("|", "/") if key == "ms" else ""


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(str(value).replace("\n", " ") for value in row) + " |" for row in rows])


def markdown(report):
    machine = report["machine"]
    parts = ["# GPU check", "; ".join(f"{key}: {value}" for key, value in machine.items()) + "."]
    if report["emulated"]:
        parts.insert(1, "**EMULATED on the CPU. Nothing below ran on a GPU, and no time below says anything about one.**")
    parts += ["## Steps", table(["step", "result", "seconds", "commit", "what"],
                                [[s["step"], s["result"], s["seconds"], s["commit"], s["note"]] for s in report["steps"]])]
    if report["model"]:
        parts += ["## The model beside PyTorch", torch_sentence(report["torch"]), model_table(report["model"])]
    if report["ops"]:
        parts += ["## Kernels", table(["row", "variant", "ms", "GFLOP/s", "GB/s", "% of peak", "library/ours"],
                                      [[o["row"], o["variant"], cell(o), number(o.get("GFLOP/s")), number(o.get("GB/s")),
                                        number(o.get("%peak")), number(o.get("library/ours"))] for o in report["ops"]])]
    return "\n\n".join(parts) + "\n"


def torch_sentence(about):
    if not about:
        return "Medians in milliseconds. PyTorch was not measured."
    return ("Medians in milliseconds, peak memory of tensors in MiB. Beside it PyTorch "
            + ", ".join([about["torch"]] + [f"{key} {about[key]}" for key in about if key != "torch"]) + ".")


def model_table(rows):
    header = ["row", "ours", "MiB"] + MODES + ["MiB, best mode", "eager/ours", "best/ours"]
    lines = []
    for row in rows:
        theirs = row["torch"]
        best = theirs.get(row.get("best_torch_mode"))
        lines.append([row["row"], cell(row["ours"]), cell(row["ours"], "MiB")] + [cell(theirs.get(mode)) for mode in MODES]
                     + [cell(best, "MiB"), number(row.get("eager/ours")), number(row.get("best_torch/ours"))])
    return table(header, lines)


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: gpu_report.py DIR (the folder of scripts/gpu-check)")
    out = Path(sys.argv[1])
    raw = out / "raw"
    machine = read_machine(raw)
    about_torch, torch_rows = read_torch(raw)
    report = {"emulated": "EMULATED" in machine["card"], "machine": machine, "steps": read_steps(raw), "torch": about_torch,
              "model": compared(read_model(raw), torch_rows), "ops": read_ops(raw)}
    (out / "gpu-check.json").write_text(json.dumps(report, indent=1) + "\n")
    (out / "gpu-check.md").write_text(markdown(report))
    print(f"The table: {out / 'gpu-check.md'}")


if __name__ == "__main__":
    main()
