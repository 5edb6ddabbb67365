#!/usr/bin/env bash
# Two hosts in one: network namespaces with a wire between them, and a name each. asapnet trains on both; then the wire is cut, and the
# first rank names the host that it has lost. Usage: run.sh ASAPNET. Needs root, ip and mpirun; skipped (77) without.
set -euo pipefail
program=$1
skip() { echo "SKIPPED: $1"; exit 77; }
[[ $(id -u) -eq 0 ]] || skip "making network namespaces needs root"
for tool in ip unshare mpirun; do command -v $tool >/dev/null || skip "there is no $tool"; done
[[ $("$program" train --ranks 2 2>&1) != *"needs MPI"* ]] || skip "this build has no MPI"

work=$(mktemp -d) a=asap$$a b=asap$$b
clean_up() {
  for host in $a $b; do
    for process in $(ip netns pids $host 2>/dev/null); do kill -9 "$process" 2>/dev/null || true; done
    ip netns del $host 2>/dev/null || true
  done
  rm -rf "$work"
}
trap clean_up EXIT
ip netns add $a 2>/dev/null || skip "no network namespaces can be made here"
ip netns add $b
ip link add wire netns $a type veth peer name wire netns $b
ip -n $a address add 10.77.0.1/24 dev wire
ip -n $b address add 10.77.0.2/24 dev wire
for host in $a $b; do
  ip -n $host link set lo up
  ip -n $host link set wire up
done

# What mpirun calls instead of ssh: agent.sh ADDRESS COMMAND...
cat >"$work/agent.sh" <<AGENT
#!/bin/sh
shift
exec ip netns exec $b unshare -u sh -c "hostname host-b; \$*"
AGENT
chmod +x "$work/agent.sh"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
on_two_hosts() {  # SECONDS ARGUMENTS...; with its wire cut, mpirun itself waits for the other host, and is ended
  local seconds=$1
  shift
  timeout -k 1 "$seconds" ip netns exec $a unshare -u sh -c 'hostname host-a; exec mpirun -q -n 2 --host 10.77.0.1:1,10.77.0.2:1 --bind-to none \
    --mca plm_rsh_agent "$0" --mca pml ob1 --mca btl tcp,self --mca btl_tcp_if_include 10.77.0.0/24 --mca oob_tcp_if_include 10.77.0.0/24 "$@"' \
    "$work/agent.sh" "$program" "$@" 2>"$work/error"
}
fail() { echo "FAILED: $1"; cat "$work/error"; exit 1; }

"$program" synth --out "$work/data" --count 8 --size 128 >/dev/null
train=(train --preset quick --data "$work/data" --no-vgg-loss --crop-size 128 --load-size 128 --batch-size 2 --threads 1 --save-every 5)
on_two_hosts 60 "${train[@]}" --out "$work/whole" --steps 2 >"$work/out" || fail "two hosts do not train"
grep -q "finished after step 2" "$work/out" || fail "two hosts do not finish"

(
  for _ in $(seq 300); do
    [[ -e $work/cut/checkpoints/latest ]] && break
    sleep 0.1
  done
  ip -n $a link set wire down
) &
if on_two_hosts 20 "${train[@]}" --out "$work/cut" --steps 1000000 --rank-timeout 3 >"$work/out"; then fail "a cut wire is no error"; fi
grep -q "asapnet: rank 1 (host host-b, process [0-9]*) has not answered for 3 s" "$work/error" || fail "the lost host is not named"
"$program" train --resume "$work/cut" --steps 100000 --dry-run >/dev/null || fail "the last checkpoint does not go on"
echo "two hosts: trained together; the one that was lost was named"
