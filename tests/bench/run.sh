#!/usr/bin/env bash
# Tests scripts/bench: its report of made-up timings, one quick row, and what it says when something is wrong.
#   run.sh PROGRAMS: the folder of bench_ops and bench_asapnet
set -euo pipefail
programs=$(realpath "${1:?the folder of the programs is missing}")
here=$(realpath "$(dirname "$0")")
cd "$here/../.."
command -v python3 >/dev/null || { echo "SKIPPED: there is no python3"; exit 77; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export PYTHONDONTWRITEBYTECODE=1

# has FILE TEXT...: texts that stand in the file.
has() {
  local text
  for text in "${@:2}"; do
    grep -qF -- "$text" "$1" || { cat "$1"; echo "$1 has no '$text'"; exit 1; }
  done
}
# bench STATUS ARGUMENTS...: the script ends with this status.
bench() {
  local status=0
  scripts/bench "${@:2}" >"$folder/printed" 2>&1 || status=$?
  [[ $status -eq $1 ]] || { cat "$folder/printed"; echo "scripts/bench ${*:2} ended with $status, expected $1"; exit 1; }
}

mkdir "$folder/made-up"
cp "$here/raw.json" "$folder/made-up/"
python3 bench/cpu_report.py "$folder/made-up"
# Medians of the rounds, the strongest peer, 61.5 / 41; floors 4.8e9 / 500e9 s of 12 ms, and 0.686 ms of 2 ms by the bf16 peak.
has "$folder/made-up/table.md" 'Made up 9000, instruction set amx' 'torch 2.15.0' \
  '| session/facades512 | bf16 | 41 (40-44) | 512 | openvino | 61.5 (61.5-61.5) | 1705 | 1.5 | eager 144 |' \
  '| conv2d/G_3x3_1024_1024_@18/forward | float32 | winograd | 12 (12-12) | 400 | 80 |' \
  '| conv2d/G_3x3_1024_1024_@18/forward | bf16 | bf16_blocks | 2 (2-2) | 2400 | 34.3 |' \
  '| session/facades512 | bf16 | freeze | RuntimeError: no / compiler |'
has "$folder/made-up/roofline.svg" 'bf16 peak, 7000 GFLOP/s' 'L2, 400 GB/s read' 'DRAM, 25 GB/s read' '>400 / 2.4e+03<'
python3 - "$folder/made-up" <<'PYTHON'
import json, sys, xml.dom.minidom
row = json.load(open(sys.argv[1] + "/table.json"))["rows"][0]
assert row["strongest/ours"] == 1.5 and [peer["mode"] for peer in row["peers"]] == ["openvino", "eager"], row
svg = xml.dom.minidom.parse(sys.argv[1] + "/roofline.svg").documentElement
marks = len(svg.getElementsByTagName("circle")) + len(svg.getElementsByTagName("rect"))
assert marks == 5, f"{marks} marks and areas: two points, two in the legend, the background"
PYTHON

bench 0 --quick --no-peers --threads 1 --programs "$programs" --rows G_3x3_s2_64_64_@257/forward --out "$folder/quick"
has "$folder/printed" 'round 1 of 1, 1 of 2: conv2d/G_3x3_s2_64_64_@257/forward float32 ours'
has "$folder/quick/table.md" '| conv2d/G_3x3_s2_64_64_@257/forward | bf16 |'
bench 0 --quick --walk --programs "$programs" --rows instance_norm --out "$folder/quick"
has "$folder/quick/walk.md" '| chunked |' 'left out by --quick'
bench 1 --quick --no-peers --programs "$programs" --rows nonsense --out "$folder/quick"
has "$folder/printed" "no row's name has nonsense; there are session/facades512"
bench 2 --nonsense
has "$folder/printed" 'there is no option --nonsense'
PYTHON=no-such-python bench 1
has "$folder/printed" 'there is no no-such-python'
