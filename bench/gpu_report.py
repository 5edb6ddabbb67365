"""Makes tables of a run of scripts/gpu-check: writes OUT/report.md and OUT/report.json.

    python3 bench/gpu_report.py RAW OUT

OUT/summary.txt is the script's own, a line for each check. RAW has what the programs wrote: machine.tsv; bench_ops' results
(ops_*.json) and bench_asapnet's (times_*.json), both Google Benchmark's; those of bench/peers/bench_torch.py (torch*.json).
What is missing or cut off is left out: the table of checks says what ran.
"""
import json
import os
import re
import sys
from pathlib import Path

PRECISIONS = ["float32", "tf32", "bf16"]
MODES = ["eager", "eager-last", "graphs", "graphs-last", "compile", "compile-graphs"]


def read_machine(raw):
    return dict(line.split("\t", 1) for line in (raw / "machine.tsv").read_text().splitlines())


def read_checks(out):
    """The latest line of each check, in the order in which they first came."""
    checks, run = {}, ""
    for line in (out / "summary.txt").read_text().splitlines():
        if header := re.match(r"== (first|second): ", line):
            run = header[1]
        elif found := re.match(r"(passed|skipped|FAILED|cut-off|crashed) +(\S+) +(\d+) s  (.*)", line):
            checks[found[2]] = {"check": found[2], "run": run, "result": found[1], "seconds": int(found[3]), "note": found[4]}
    return list(checks.values())


def read_json(file):
    """The file's content, also where a benchmark that was stopped left its list open; None if there is nothing."""
    text = file.read_text()
    for ending in ("", "]}", "}]}"):
        try:
            return json.loads(text.rstrip().rstrip(",") + ending)
        except json.JSONDecodeError:
            pass
    print(f"gpu_report.py: {file} cannot be read; it is left out", file=sys.stderr)
    return None


def medians(raw, pattern):
    """Google Benchmark's median rows: name without the parts that only say how it was timed, and the row itself."""
    for file in sorted(raw.glob(pattern)):
        for row in (read_json(file) or {}).get("benchmarks", []):
            if row.get("error_occurred") or row.get("aggregate_name") == "median":
                yield plain_name(row["run_name"]), row


def plain_name(run_name):
    how = re.compile(r"^(repeats|min_time|min_warmup_time|iterations|threads):|^(process_time|real_time|manual_time)$")
    return "/".join(part for part in run_name.removeprefix("cuda/").split("/") if not how.search(part))


def milliseconds(row):
    return row["real_time"] * {"ns": 1e-6, "us": 1e-3, "ms": 1, "s": 1e3}[row["time_unit"]]


def read_model(raw):
    rows = {}
    for name, row in medians(raw, "times_*.json"):
        entry = {"error": row["error_message"]} if "error_message" in row else {"ms": milliseconds(row)}
        rows[name] = entry | ({"MiB": row["tensors_MiB"]} if "tensors_MiB" in row else {})
    return rows


def read_torch(raw):
    """By the name that bench_asapnet uses, then by mode."""
    about, rows = {}, {}
    for file in sorted(raw.glob("torch*.json")):
        content = read_json(file) or {}
        about |= {key: value for key, value in content.items() if key != "rows"}
        for row in content.get("rows", []):
            name = row["name"].removesuffix("/" + row["mode"])
            entry = {"error": row["error"]} if "error" in row else {"ms": row["median_ms"], "cv": row["cv"], "MiB": row["peak_MiB"]}
            rows.setdefault(name, {})[row["mode"]] = entry
    return about, rows


def read_ops(raw):
    rows = []
    for name, row in medians(raw, "ops_*.json"):
        row_name, variant = name.rsplit("/", 1)
        entry = {"row": row_name, "variant": variant}
        if row.get("%peak", 0) > (400 if variant.startswith("cudnn") else 100):  # as bench_ops judges
            rows.append(entry | {"error": f"{row['%peak']:.0f} % of the card's peak: the measurement is wrong"})
        elif "error_message" not in row:
            rows.append(entry | {"ms": milliseconds(row)} | {key: row[key] for key in ("GFLOP/s", "GB/s", "%peak") if key in row})
        elif "does not take" not in row["error_message"]:
            rows.append(entry | {"error": row["error_message"]})
    return rows


def beside_torch(ours, theirs):
    """One entry a row of the model, ours and PyTorch's, with the ratios that the comparison is about."""
    def order(name):
        kind, preset, *rest = name.split("/")
        precision = next((i for i, p in enumerate(PRECISIONS) if p in rest), len(PRECISIONS))
        return kind, re.sub(r"\d", "", preset), int(re.sub(r"\D", "", preset) or 0), len(rest), precision

    rows = []
    for name in sorted(set(ours) | set(theirs), key=order):
        peer = re.sub(r"^session(_graph)?/", "inference/", name).replace("train_step_eager/", "train_step/")
        row = {"row": name, "ours": ours.get(name), "torch": theirs.get(peer, {})}
        times = {mode: entry["ms"] for mode, entry in row["torch"].items() if "ms" in entry}
        if times and row["ours"] and "ms" in row["ours"]:
            row["best_torch_mode"] = min(times, key=times.get)
            row["best_torch/ours"] = min(times.values()) / row["ours"]["ms"]
            if "eager" in times:
                row["eager/ours"] = times["eager"] / row["ours"]["ms"]
        rows.append(row)
    return rows


def beside_libraries(ops):
    """For each row and precision the fastest of our variants, and of NVIDIA's libraries where they have one."""
    best = {}
    for op in (op for op in ops if "ms" in op):
        precision = next((p for p in PRECISIONS if op["variant"].endswith("_" + p)), "float32")
        sides = best.setdefault((op["row"], precision), {})
        side = "library" if re.match("cublas|cudnn", op["variant"]) else "ours"
        if side not in sides or op["ms"] < sides[side]["ms"]:
            sides[side] = op
    return [{"row": row, "precision": precision} | sides for (row, precision), sides in best.items()]


# ---- Markdown -------------------------------------------------------------------------------------------------------


def number(value):
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def cell(entry, key="ms"):
    if not entry:
        return ""
    return number(entry.get(key)) if key in entry else entry.get("error", "")[:60] if key == "ms" else ""


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(str(value).replace("\n", " ").replace("|", "/") for value in row) + " |" for row in rows])


def markdown(report):
    parts = ["# GPU check", "; ".join(f"{key}: {value}" for key, value in report["machine"].items()) + "."]
    parts += ["## Checks", table(["check", "run", "result", "seconds", "what"],
                                 [[c["check"], c["run"], c["result"], c["seconds"], c["note"]] for c in report["checks"]])]
    if report["model"]:
        parts += ["## The model beside PyTorch", torch_sentence(report["torch"]), model_table(report["model"])]
    if report["kernels"]:
        parts += ["## Kernels", "Microseconds from an empty cache, the fastest variant at each precision; all are in report.json.",
                  kernel_table(report["kernels"])]
    return "\n\n".join(parts) + "\n"


def torch_sentence(about):
    if not about:
        return "Medians in milliseconds. PyTorch was not measured."
    return ("Medians in milliseconds, peak memory of tensors in MiB. Beside it PyTorch "
            + ", ".join([about["torch"]] + [f"{key} {about[key]}" for key in about if key != "torch"]) + ".")


def model_table(rows):
    lines = []
    for row in rows:
        theirs = row["torch"]
        best = theirs.get(row.get("best_torch_mode"))
        lines.append([row["row"], cell(row["ours"]), cell(row["ours"], "MiB")] + [cell(theirs.get(mode)) for mode in MODES]
                     + [cell(best, "MiB"), number(row.get("eager/ours")), number(row.get("best_torch/ours"))])
    return table(["row", "ours", "MiB"] + MODES + ["MiB, best mode", "eager/ours", "best/ours"], lines)


def kernel_table(rows):
    lines = []
    for row in rows:
        ours, library = row.get("ours", {}), row.get("library", {})
        ratio = library["ms"] / ours["ms"] if ours and library else None
        times = [[side.get("variant", ""), number(1000 * side["ms"]) if side else ""] for side in (ours, library)]
        lines.append([row["row"], row["precision"], *times[0], number(ours.get("GFLOP/s")), number(ours.get("GB/s")),
                      number(ours.get("%peak")), *times[1], number(ratio)])
    return table(["row", "precision", "ours", "us", "GFLOP/s", "GB/s", "% of peak", "library", "us", "library/ours"], lines)


def write(file, text):
    part = file.with_suffix(".part")
    part.write_text(text)
    os.replace(part, file)


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: gpu_report.py RAW OUT (folders of scripts/gpu-check)")
    raw, out = Path(sys.argv[1]), Path(sys.argv[2])
    about_torch, torch_rows = read_torch(raw)
    ops = read_ops(raw)
    report = {"machine": read_machine(raw), "checks": read_checks(out), "torch": about_torch,
              "model": beside_torch(read_model(raw), torch_rows), "kernels": beside_libraries(ops), "ops": ops}
    write(out / "report.json", json.dumps(report, indent=1) + "\n")
    write(out / "report.md", markdown(report))


if __name__ == "__main__":
    main()
