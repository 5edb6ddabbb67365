"""Takes the turns of scripts/bench: ours and each peer's mode, row by row and round by round, each in a process of its own
that times its calls and prints a line of JSON. What they say goes to OUT/raw.json, whole after every round; cpu_report.py makes
the tables and the chart of it. The standard library alone.
"""
import argparse
import datetime
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import cpu_report
import cpu_walk
from gpu_report import write

PEERS = Path(__file__).parent / "peers" / "bench_cpu.py"
sys.path.append(str(PEERS.parent))
import bench_cpu  # the peers' modes; imports no peer by itself

MODEL_ROWS = ["session/facades512", "session/facades1024", "session/cityscapes256", "train_step/facades256",
              "train_step/facades512"]
OP_ROWS = ([f"conv2d/{name}/{direction}" for name in bench_cpu.CONVS for direction in ("forward", "input_grad", "weight_grad")]
           + [f"{name}/{direction}" for name in ("tile_mlp/facades_512", "instance_norm/64x512x512_relu")
              for direction in ("forward", "backward")]
           + [f"matmul/{name}" for name in bench_cpu.MATMULS])
PRECISIONS = {"float32": "f32", "bf16": "bf16"}  # as names of rows and bench_ops have them
OURS = "ours"
HOPELESS = 1.5  # a peer's mode so much slower than the strongest one is timed in the first round alone

PATIENCE_S = 600  # for a peer's mode


def processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


class Failed(Exception):
    """One sentence of what a program said before it failed."""


def run_json(command, environment=None, limit_s=None):
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=limit_s,
                              env={**os.environ, **(environment or {})})
    except subprocess.TimeoutExpired:
        raise Failed(f"took more than {limit_s} s") from None
    lines = done.stdout.strip().splitlines()
    if done.returncode == 0 and lines:
        return json.loads(lines[-1])
    errors = [line for line in done.stderr.strip().splitlines() if "Error" in line or ": " in line]
    raise Failed(" ".join(errors[-1].split())[:200] if errors else f"exit status {done.returncode}")


class Contender:
    """One row at one precision by one side: its command and what came of it."""

    def __init__(self, row, precision, mode):
        self.row, self.precision, self.mode = row, precision, mode
        self.rounds, self.facts, self.error = [], {}, None

    @property
    def is_ours(self):
        return self.mode == OURS

    @property
    def ms(self):
        return statistics.median(entry["median"] for entry in self.rounds)

    def command(self, arguments, round_number):
        common = [f"--threads={arguments.threads}", f"--calls={arguments.calls}"]
        if not self.is_ours:
            return [sys.executable, PEERS, "--mode", self.mode, "--row", f"{self.row}/{self.precision}", *common]
        if self.row in MODEL_ROWS:
            return [arguments.programs / "bench_asapnet", f"--row={self.row}/{self.precision}", *common]
        verify = ["--verify"] if round_number == 0 and not arguments.quick else []
        return [arguments.programs / "bench_ops", f"--row={self.row}", f"--dtype={PRECISIONS[self.precision]}", *common,
                *verify]

    def take_turn(self, arguments, round_number):
        try:
            command = self.command(arguments, round_number)
            told = run_json(command) if self.is_ours else run_json(command, bench_cpu.MALLOC_KEEPS_PAGES, PATIENCE_S)
        except Failed as failure:
            self.error = str(failure)
            return
        ms = told["ms"]
        self.rounds.append({"median": statistics.median(ms), "min": min(ms), "max": max(ms), "MiB": told["process_MiB"]})
        self.facts |= {key: told[key] for key in ("variant", "flops", "bytes") if key in told}
        if told.get("compared", "not compared") != "not compared":
            self.facts["compared"] = told["compared"]

    def as_json(self):
        entry = {"row": self.row, "precision": self.precision, "mode": self.mode, "rounds": self.rounds, **self.facts}
        return entry | ({"error": self.error} if self.error else {})


def is_wanted(row, arguments):
    return any(text in row for text in arguments.rows.split(","))


def contenders(arguments, installed):
    chosen = []
    for row in MODEL_ROWS + OP_ROWS:
        if not is_wanted(row, arguments):
            continue
        for precision in arguments.precision.split(","):
            modes = [] if arguments.no_peers else bench_cpu.modes_for(f"{row}/{precision}")
            chosen += [Contender(row, precision, mode) for mode in [OURS] + modes
                       if mode == OURS or not bench_cpu.missing(mode, installed)]
    return chosen


def is_hopeless(contender, all_of_them):
    if contender.is_ours or not contender.rounds:
        return False
    rivals = [other.ms for other in all_of_them if not other.is_ours and other.rounds
              and (other.row, other.precision) == (contender.row, contender.precision)]
    return contender.ms > HOPELESS * min(rivals)


def in_turns(chosen, arguments, save):
    begin, done = time.monotonic(), 0
    for round_number in range(arguments.rounds):
        active = [c for c in chosen if not c.error and not (round_number and is_hopeless(c, chosen))]
        if round_number % 2:
            active.reverse()  # nobody always runs after the same one
        for i, contender in enumerate(active):
            left = len(active) - i + len(active) * (arguments.rounds - round_number - 1)
            rest = f", about {(time.monotonic() - begin) / done * left / 60:.0f} min left" if done else ""
            print(f"round {round_number + 1} of {arguments.rounds}, {i + 1} of {len(active)}: {contender.row} "
                  f"{contender.precision} {contender.mode}{rest}", flush=True)
            contender.take_turn(arguments, round_number)
            done += 1
            if contender.error:
                print(f"  failed: {contender.error}", flush=True)
        save()


def parse_arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench")
    parser.add_argument("--programs", type=Path, required=True)
    parser.add_argument("--rows", default="")
    parser.add_argument("--precision", default=",".join(PRECISIONS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("bench-results"))
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--walk", action="store_true")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.precision.split(",") if name not in PRECISIONS]
    if unknown:
        parser.error(f"there is no --precision {','.join(unknown)}: it is float32, bf16 or both with a comma")
    if arguments.rounds < 1 or arguments.threads < 1:
        parser.error("--rounds and --threads are at least 1")
    arguments.calls = 1 if arguments.quick else 9
    if arguments.quick:
        arguments.rounds = 1
    return arguments


def main():
    arguments = parse_arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    machine = run_json([arguments.programs / "bench_ops", "--machine", f"--threads={arguments.threads}"])
    head = {"processor": processor(), "isa": machine["isa"], "threads": arguments.threads, "compiler": machine["compiler"],
            "date": datetime.datetime.now().astimezone().isoformat(timespec="minutes")}
    if arguments.walk:
        walks = {title: walk for title, walk in cpu_walk.WALK.items() if is_wanted(walk[0], arguments)}
        write(arguments.out / "walk.md", cpu_walk.walk(walks, head, machine["peak"], arguments, run_json, Failed))
        return
    installed = {} if arguments.no_peers else bench_cpu.versions()
    lacking = sorted({package for needed in bench_cpu.NEEDS.values() for package in needed} - set(installed))
    if lacking and not arguments.no_peers:
        print(f"scripts/bench: peers that need {', '.join(lacking)} are left out, which {sys.executable} does not have "
              f"(pip install {' '.join(lacking)})", file=sys.stderr)
    chosen = contenders(arguments, installed)
    if not chosen:
        sys.exit(f"scripts/bench: no row's name has {arguments.rows}; there are {', '.join(MODEL_ROWS + OP_ROWS)}")

    def save():
        rounds = max(len(c.rounds) for c in chosen)
        raw = {"head": head | {"rounds": rounds, "versions": installed}, "peak": machine["peak"],
               "timings": [c.as_json() for c in chosen if c.rounds or c.error]}
        write(arguments.out / "raw.json", json.dumps(raw, indent=1) + "\n")

    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background a shell lets it be ignored
    try:
        in_turns(chosen, arguments, save)
    except KeyboardInterrupt:
        print("scripts/bench: stopped; the tables hold what was timed so far", file=sys.stderr)
        save()
    cpu_report.report(arguments.out)
    print((arguments.out / "table.md").read_text())
    print(f"{arguments.out}/table.md, table.json, roofline.svg")
    failed = [c for c in chosen if c.is_ours and c.error]
    if failed:
        sys.exit("scripts/bench: ours failed: " + "; ".join(f"{c.row} {c.precision}: {c.error}" for c in failed))


if __name__ == "__main__":
    main()
