"""Makes the tables and the roofline chart of a run of scripts/bench: reads OUT/raw.json, writes OUT/table.md, OUT/table.json and
OUT/roofline.svg. The standard library alone.

    python3 bench/cpu_report.py OUT
"""
import json
import statistics
import sys
from pathlib import Path

from cpu_roofline import roofline
from cpu_walk import floor_ms
from gpu_report import number, table, write

OURS = "ours"


def side(timing):
    """Median over the rounds; the least and the largest of the rounds' medians are the noise."""
    medians = [entry["median"] for entry in timing["rounds"]]
    return {"mode": timing["mode"], "ms": statistics.median(medians), "min_ms": min(medians), "max_ms": max(medians),
            "rounds": len(medians), "MiB": max(entry["MiB"] for entry in timing["rounds"])}


def beside(timings, peak):
    """One entry a row and precision: ours, all peers, and how many times longer the strongest peer takes."""
    entries = {}
    for timing in timings:
        key = timing["row"], timing["precision"]
        entry = entries.setdefault(key, {"row": key[0], "precision": key[1], "peers": [], "errors": {}})
        if not timing["rounds"]:
            entry["errors"][timing["mode"]] = timing["error"]
        elif timing["mode"] == OURS:
            entry[OURS] = side(timing) | {k: timing[k] for k in ("variant", "compared") if k in timing}
            if "flops" in timing:
                entry |= {"flops": timing["flops"], "bytes": timing["bytes"],
                          "floor_ms": floor_ms(peak, timing["precision"], timing["flops"], timing["bytes"])}
        else:
            entry["peers"].append(side(timing))
    for entry in entries.values():
        entry["peers"].sort(key=lambda peer: peer["ms"])
        if entry["peers"] and OURS in entry:
            entry["strongest/ours"] = entry["peers"][0]["ms"] / entry[OURS]["ms"]
    return list(entries.values())


# ---- Markdown -------------------------------------------------------------------------------------------------------


def span(times):
    return f"{number(times['ms'])} ({number(times['min_ms'])}-{number(times['max_ms'])})" if times else ""


def model_lines(entries):
    for entry in entries:
        ours, peers = entry.get(OURS), entry["peers"]
        best = peers[0] if peers else None
        yield [entry["row"], entry["precision"], span(ours) or entry["errors"].get(OURS, ""), ours["MiB"] if ours else "",
               best["mode"] if best else "", span(best), best["MiB"] if best else "", number(entry.get("strongest/ours")),
               ", ".join(f"{peer['mode']} {number(peer['ms'])}" for peer in peers[1:])]


def kernel_lines(entries):
    for entry in entries:
        ours, peers = entry.get(OURS), entry["peers"]
        best = peers[0] if peers else None
        if ours:
            rate = number(entry["flops"] / ours["ms"] / 1e6)
            facts = [ours.get("variant", ""), span(ours), rate, number(100 * entry["floor_ms"] / ours["ms"])]
        else:
            facts = ["", entry["errors"].get(OURS, ""), "", ""]
        yield [entry["row"], entry["precision"], *facts, best["mode"] if best else "", span(best),
               number(entry.get("strongest/ours")), ", ".join(f"{peer['mode']} {number(peer['ms'])}" for peer in peers[1:])]


def head_lines(head, peak):
    versions = ", ".join(f"{name} {version}" for name, version in head["versions"].items()) or "none"
    reads = ", ".join(f"{number(kib)} KiB {number(rate)} GB/s" for kib, rate in peak["read_kib_gbs"])
    bf16 = f"{number(peak['bf16_gflops'])} GFLOP/s" if peak["bf16_gflops"] else "no products of it"
    return table(["what", "value"], [
        ["processor", f"{head['processor']}, instruction set {head['isa']}"], ["threads", head["threads"]],
        ["date", head["date"]], ["compiler", head["compiler"]], ["peers", versions], ["rounds", head["rounds"]],
        ["float32 peak", f"{number(peak['float32_gflops'])} GFLOP/s"], ["bf16 peak", bf16], ["reading a working set of", reads]])


def markdown(result):
    parts = ["# ASAPNet on this machine", head_lines(result["head"], result["peak"])]
    model, kernels = ([e for e in result["rows"] if ("flops" in e) == flag] for flag in (False, True))
    failed = [e for e in model if OURS not in e and e["row"].split("/")[0] not in ("session", "train_step")]
    model = [e for e in model if e not in failed]
    parts.append("Medians over the rounds in milliseconds, in brackets the smallest and the largest round. A ratio above 1: the "
                 "strongest peer of that precision takes so many times longer than ours.")
    if model:
        parts += ["## The model", "Batch 1, labels in and picture out, or one training iteration. MiB: peak resident memory of "
                  "a process that holds this one session or trainer.",
                  table(["row", "precision", "ours", "MiB", "strongest peer", "ms", "MiB", "peer/ours", "other modes"], model_lines(model))]
    if kernels or failed:
        parts += ["## Kernels", "Floor: operations of the definition over the peak, or compulsory bytes over the bandwidth, "
                  "whichever is longer; Winograd does fewer multiplications and may pass it.",
                  table(["row", "precision", "variant", "ours", "GFLOP/s", "floor is % of it", "strongest peer", "ms", "peer/ours",
                         "other modes"], kernel_lines(kernels + failed))]
    errors = [[e["row"], e["precision"], mode, text] for e in result["rows"] for mode, text in e["errors"].items()]
    if errors:
        parts += ["## Not measured", table(["row", "precision", "mode", "what it said"], errors)]
    return "\n\n".join(parts) + "\n"


def report(out):
    raw = json.loads((out / "raw.json").read_text())
    result = {"head": raw["head"], "peak": raw["peak"], "rows": beside(raw["timings"], raw["peak"])}
    write(out / "table.json", json.dumps(result, indent=1) + "\n")
    write(out / "table.md", markdown(result))
    write(out / "roofline.svg", roofline(result))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: cpu_report.py OUT (a folder of scripts/bench)")
    report(Path(sys.argv[1]))
