#!/usr/bin/env bash
# Tests scripts/gpu-check without a card and without its programs: tools/ and program stand in for them.
set -euo pipefail
here=$(realpath "$(dirname "$0")")
source=$(realpath "$here/../..")
for tool in xz timeout awk tar; do
  command -v $tool >/dev/null || { echo "SKIPPED: there is no $tool"; exit 77; }
done
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder"/{scripts,bench,tests,.gpu-bundle,programs}
cp "$source/scripts/gpu-check" "$folder/scripts/"
cp "$source/bench/gpu_report.py" "$folder/bench/"
cp "$source/tests/kernel_variants.txt" "$folder/tests/"
export PATH=$here/tools:$PATH TMPDIR=$folder
unset OUT STAND_IN
cd "$folder"
out=results/gpu-check

# run STATUS ARGUMENTS...: the script ends with this status.
run() {
  local status=0
  scripts/gpu-check "${@:2}" >"$folder/printed" 2>&1 || status=$?
  [[ $status -eq $1 ]] || { cat "$folder/printed"; echo "scripts/gpu-check ${*:2} ended with $status, expected $1"; exit 1; }
}
# has FILE REGEX...: lines of the file.
has() {
  local regex
  for regex in "${@:2}"; do
    grep -qE -- "$regex" "$1" || { cat "$1"; echo "$1 has no line $regex"; exit 1; }
  done
}
# The same of the report, where there is a python3 beside the stand-in to make it.
has_report() { [[ $(type -aP python3 | wc -l) -eq 1 ]] || has $out/report.md "$@"; }
# At most six files, the logs whole and with these in them.
whole() {
  local name
  [[ $(find "$1" -type f | wc -l) -le 6 && $(find "$1" -mindepth 1 -type d | wc -l) -eq 0 ]] || { ls -R "$1"; echo "too many files"; exit 1; }
  tar -tzf "$1/logs.tar.gz" >"$folder/packed"
  for name in "${@:2}"; do has "$folder/packed" "^logs/$name\.log$"; done
}
# Waits until a file that is being written has such a line.
wait_for() {
  local i
  for ((i = 0; i < 600; ++i)); do
    if grep -qE "$2" "$1" 2>/dev/null; then return; fi
    sleep 0.1
  done
  cat "$1"; echo "$1 never had a line $2"; exit 1
}

# Before anything runs: what is missing or misspelt.
run 2 nonsense
run 2 first --nonsense
run 2 first nonsense
run 2 first --seconds many
run 1 first
has printed 'there is no .gpu-bundle/programs.tar.xz.*scripts/gpu-check pack'
[[ ! -e $out/summary.txt ]]
for name in asapnet bench_ops bench_asapnet test_op_cases test_session test_gan_step test_golden_training test_golden_model test_model test_training; do
  cp "$here/program" programs/$name
done
printf 'commit\tc0ffee\nbuilt for\t90a\n' >programs/about.tsv
tar -cJf .gpu-bundle/programs.tar.xz programs

# Both runs where all is well.
run 0 first
has $out/summary.txt '^== first: tests times torch sanitize$' 'commit.c0ffee' '^passed +op_conv2d .* 2 of 2 rows$' '^passed +op_rest ' \
  '^passed +variants .* [0-9]+ variants ran$' '^passed +test_gan_step .*5 passed' '^passed +racecheck_tile_mlp .*ERROR SUMMARY: 0 errors' \
  '^    session/facades512/bf16 +0.333 ms' '^    inference/facades512/bf16 +median' '^== ended after .* all passed$'
whole $out op_conv2d memcheck_adam times_bf16 torch
has_report '^# GPU check' '\| session/facades512/bf16 \| 0.333 .*\| 9.01 \| 9.01 \|'
run 0 second
has $out/summary.txt '^passed +again .* all of the first run passed' '^passed +bits .* 1 files .* all equal' '^passed +losses .*12 losses of 6 steps' \
  '^passed +ops_rest ' '^    cuda/matmul/64/cublas_bf16 +0.058 ms' '^ +Achieved Occupancy' '^ +25.0 us +2  tiled_matmul_kernel' '^passed +torch_compile'
has_report '\| matmul/64 \| bf16 \| tiled_bf16 \| 58 .*\| cublas_bf16 \| 58 \| 1 \|'
whole $out op_conv2d profile_mlp kernels_training bits losses

# Each way not to pass is named, and nothing else is.
export STAND_IN='op_conv2d=fail test_session=skip op_rest=crash test_model=hang racecheck_adam=errors memcheck_conv2d_instance_norm=hang times_tf32=fail torch=error'
mv "$out" fine
run 1 first --seconds 30 tests sanitize times torch
has $out/summary.txt '^FAILED +op_conv2d .* 1 of 2 rows; not done: conv2d/large' '^    \| test.cpp:1: ERROR' '^    \|  any bytes $' '^skipped +test_session .*SKIPPED: nothing' \
  '^crashed +op_rest ' '^cut-off +test_model ' '^FAILED +racecheck_adam' '^    \| =+ Invalid' '^cut-off +memcheck_conv2d_instance_norm .* 1 of 2 rows; not done: conv2d_instance_norm/large' \
  '^FAILED +times_tf32 ' '^FAILED +torch .* 2 rows, not measured: 1' \
  'not passed:( (op_conv2d|test_session|op_rest|test_model|times_tf32|torch|memcheck_conv2d_instance_norm|racecheck_adam)){8}$'
whole $out op_conv2d test_model memcheck_conv2d_instance_norm

# The second run repeats those, also where the first one's files were brought to an empty folder.
mv "$out" brought
unset STAND_IN
STAND_IN=train=differ run 1 second --out elsewhere --after brought again training
has elsewhere/summary.txt '^passed +op_conv2d ' '^passed +memcheck_conv2d_instance_norm' '^FAILED +bits .* \./latest.safetensors' '^FAILED +losses ' 'not passed: (bits losses|losses bits)$'
[[ $(grep -cE '^[a-zA-Z]+ +op_conv2d ' elsewhere/summary.txt) -eq 2 && $(grep -cE '^[a-zA-Z]+ +op_adam ' elsewhere/summary.txt) -eq 1 ]]
whole elsewhere op_conv2d op_adam losses
OUT=$folder/given run 0 second --after elsewhere again
has given/summary.txt '^passed +again .* all of the first run passed'
run 1 second --out nothing-before again
has nothing-before/summary.txt '^skipped +again .* no summary of a first run'

# Stopped half-way by SIGTERM: the steps before are there, what was under way and what was to come is named.
STAND_IN=times_bf16=hang timeout 100 scripts/gpu-check first --out stopped >printed 2>&1 &  # which passes the signal on to all
wait_for stopped/summary.txt '^-- times'
sleep 0.3
kill $!
status=0
wait $! || status=$?
[[ $status -eq 143 ]]
has stopped/summary.txt '^passed +test_session' '^cut-off +times_bf16 .* the run was stopped' '^cut-off +sanitize .* not begun'
whole stopped op_conv2d test_session times_bf16
# By SIGKILL: the steps before are there.
STAND_IN=times_bf16=hang scripts/gpu-check first --seconds 30 --out killed >printed 2>&1 &
wait_for killed/summary.txt '^-- times'
kill -KILL $!
wait $! 2>/dev/null || true
has killed/summary.txt '^passed +test_session'
whole killed op_conv2d test_session
# What neither reached is repeated as well.
run 0 second --out after-stop --after stopped again
has after-stop/summary.txt '^passed +times_bf16' '^passed +torch ' '^passed +racecheck_adam'
[[ $(grep -cE '^[a-zA-Z]+ +op_adam ' after-stop/summary.txt) -eq 1 ]]
echo "all as expected"
