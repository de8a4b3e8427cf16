#!/usr/bin/env bash
# How long 500 offline cases take: the whole process `palisade test --offline`, from its start to its end,
# reading and compiling the manifests of poc-mesh included. Prints milliseconds, of wall and of CPU time, which
# a busy machine does not lengthen; exit 1 if the best CPU time is over the limit. The engine's part alone:
# `cargo bench -p palisade-model`.
#   benches/offline.sh [RUNS] [LIMIT_MS]
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-20} limit=${2:-100}
palisade=${PALISADE_BIN:-target/release/palisade}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

{
  echo "manifests: [$PWD/examples/poc-mesh/manifests]"
  echo "probes:"
  for case in $(seq 500); do
    caller=frontend verdict=allow
    [ $((case % 2)) = 0 ] || { caller=payments verdict=deny; }
    echo "- {name: case $case, from: deploy/$caller.poc-mesh, to: 'http://backend.poc-mesh/api/orders'," \
      "headers: {x-case: '$case'}, expect: {verdict: $verdict}}"
  done
} >"$work/suite.yaml"

TIMEFORMAT='%R %U %S'
for _ in $(seq "$runs"); do
  { time "$palisade" test --offline "$work/suite.yaml" >"$work/log"; } 2>>"$work/times" || { cat "$work/log"; exit 2; }
  grep -q '500 passed, 0 failed' "$work/log" || { cat "$work/log"; exit 2; }
done
best() { awk "{ printf \"%d\\n\", ($1) * 1000 + 0.5 }" "$work/times" | sort -n | head -1; }
wall=$(best '$1') cpu=$(best '$2 + $3')
echo "500 cases, best of $runs runs: $wall ms, $cpu ms of CPU time"
[ "$cpu" -le "$limit" ]
