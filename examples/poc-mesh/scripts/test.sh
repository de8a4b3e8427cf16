#!/usr/bin/env bash
# The four probes with plain kubectl and curl: PASS or FAIL a line, exit 1 on any FAIL.
set -uo pipefail
failed=0

probe() { # FROM METHOD PATH EXPECTED-STATUS
  local from=$1 method=$2 path=$3 expected=$4 status
  status=$(kubectl -n poc-mesh exec "deploy/$from" -- \
    curl -s -o /dev/null -m 10 -w '%{http_code}' -X "$method" "http://backend.poc-mesh$path" 2>/dev/null)
  if [ "$status" = "$expected" ]; then
    echo "PASS  $from -> backend  $method $path  $status"
  else
    echo "FAIL  $from -> backend  $method $path  got ${status:-nothing}, expected $expected"
    failed=1
  fi
}

probe frontend GET /api/orders 200
probe frontend GET /health 200
probe frontend POST /api/orders 403
probe payments GET /api/orders 403
exit $failed
