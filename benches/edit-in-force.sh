#!/bin/sh
# How long until an edit of a policy is in force in every sidecar of poc-mesh: the whole command
# `palisade apply --wait`, from its start to its end. Prints milliseconds; exit 1 if the median of
# the edits is over the limit.
#   benches/edit-in-force.sh [EDITS] [LIMIT_MS]
set -eu
cd "$(dirname "$0")/.."
edits=${1:-21} limit=${2:-200}
palisade=${PALISADE_BIN:-target/release/palisade}
work=$(mktemp -d)
export PALISADE_STATE="$work/state"

"$palisade" up examples/poc-mesh/manifests >"$work/up.log" 2>&1 &
up=$!
trap 'kill $up; wait $up || true; rm -rf "$work"' EXIT
until grep -q 'until Ctrl-C' "$work/up.log"; do
  kill -0 $up || { cat "$work/up.log"; exit 2; }
  sleep 0.1
done

for edit in $(seq "$edits"); do
  cat >"$work/policy.yaml" <<YAML
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: edited, namespace: poc-mesh}
spec:
  action: DENY
  rules: [{to: [{operation: {ports: ["8080"], paths: ["/edit/$edit"]}}]}]
YAML
  from=$(date +%s%N)
  "$palisade" apply --wait -f "$work/policy.yaml" >"$work/apply.log"
  to=$(date +%s%N)
  grep -q 'In force in 3/3 sidecars' "$work/apply.log" || { cat "$work/apply.log"; exit 2; }
  echo $(((to - from) / 1000000))
done | sort -n >"$work/times"

median=$(sed -n "$(((edits + 1) / 2))p" "$work/times")
echo "edits $edits, min $(head -1 "$work/times") ms, median $median ms, max $(tail -1 "$work/times") ms"
[ "$median" -le "$limit" ]
