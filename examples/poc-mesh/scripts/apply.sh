#!/usr/bin/env bash
# Applies the manifests in order and waits until they are in force in every sidecar.
# Works against whatever mesh or cluster the kubeconfig points at.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)

for file in "$here"/manifests/*.yaml; do
  kubectl apply -f "$file"
done
for app in frontend backend payments; do
  kubectl -n poc-mesh rollout status "deploy/$app" --timeout=120s
done
# Where Palisade is at hand, wait for the acknowledgement of each sidecar, not only of the API.
if command -v palisade >/dev/null; then
  palisade ${KUBECONFIG:+--kubeconfig "$KUBECONFIG"} apply --wait -f "$here/manifests/20-mtls.yaml" -f "$here/manifests/30-authz.yaml"
fi
