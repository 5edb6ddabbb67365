#!/usr/bin/env bash
# Executes what test_export wrote in ONNX Runtime and OpenVINO, whichever python3 (or what PYTHON names) has.
#   run.sh TEST_EXPORT: that program
set -euo pipefail
program=$(realpath "${1:?the program test_export is missing}")
python=${PYTHON:-python3}
command -v "$python" >/dev/null || { echo "SKIPPED: there is no $python"; exit 77; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export PYTHONDONTWRITEBYTECODE=1
"$python" "$(dirname "$0")/runtimes.py" --probe || exit 77
ASAP_EXPORT_CASES=$folder "$program" --test-case="cases for other runtimes" >/dev/null
"$python" "$(dirname "$0")/runtimes.py" "$folder"
