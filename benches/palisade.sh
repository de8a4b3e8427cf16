# Palisade's sidecars as a variant of the sidecar pair bench: copy or link this file to `suts/palisade.sh`
# there, add `V("palisade-mtls", "palisade")` and friends to VARIANTS, and set PALISADE_BIN.
# The sidecars read a static bootstrap file; everything after loading is the same as in a mesh.
SUT_BINARY=${PALISADE_BIN:?path of a palisade binary}

# One-shot connections, no resumption and other key exchanges are no options.
sut_supports() {
  [ "$MB_ONESHOT" = 0 ] && [ "$MB_RESUME" = 1 ] && [ "$MB_KX" = mlkem ]
}

_palisade() { # ROLE: client | server
  python3 - "$1" >"$MB_RUN/$1.json" <<'PY'
import json, os, sys

role, E = sys.argv[1], os.environ
certs, ip, plain = E["MB_CERTS"], E["MB_IP_SERVER"], E["MB_MODE"] == "plain"
protocol = {"http1": "HTTP", "h2": "HTTP2", "tcp": "TCP"}[E["MB_PROTO"]]
port = 8079 if protocol == "HTTP2" else 8080
names = {"client": "frontend", "server": "orders"}
identity = {r: f"spiffe://cluster.local/ns/default/sa/{n}-sa" for r, n in names.items()}
service = {"host": "orders.default.svc.cluster.local", "name": "orders", "namespace": "default"}


def metadata(r):
    n = names[r]
    return {"workload": n, "namespace": "default", "app": n, "version": "v1", "canonicalService": n, "canonicalRevision": "v1"}


def allow(name, account, paths):
    operation = {} if protocol == "TCP" else {"to": [{"operation": {"methods": ["GET"], "paths": paths}}]}
    source = {"principals": [f"cluster.local/ns/default/sa/{account}"]}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"rules": [{"from": [{"source": source}], **operation}]}}


policies = [] if plain or role == "client" else [
    {"metadata": {"name": "deny-all", "namespace": "default"}, "spec": {}},
    *[allow(f"allow-{i:05d}", f"caller-{i}-sa", [f"/api/svc{i}", f"/v2/svc{i}"]) for i in range(int(E["MB_POLICIES"]) - 1)],
    allow("zz-orders", "frontend-sa", ["/api/orders", "/health"])]
log = f"{E['MB_RUN']}/{role}.access.log" if E["MB_ACCESS_LOG"] == "on" else ""
config = {
    "generation": 1,
    "mesh": {"rootNamespace": "istio-system", "trustDomain": "cluster.local", "accessLogFile": log},
    "workload": {"name": names[role] + "-1", "namespace": "default", "labels": {"app": names[role]},
                 "identity": identity[role], "metadata": metadata(role)},
    "inbound": {"mtls": {"default": "DISABLE" if plain else "STRICT"}, "policies": policies,
                "ports": [{"port": port, "protocol": protocol, "service": service}] if role == "server" else []},
    "outbound": {"ports": [{"service": service, "addresses": [ip], "port": port, "protocol": protocol,
                            "sni": f"outbound_.{port}_._.orders.default.svc.cluster.local",
                            "identities": [identity["server"]],
                            "endpoints": [{"address": ip, "port": port, "mtls": not plain, "metadata": metadata("server")}]}]
                 if role == "client" else []},
}
json.dump({"proxyConfig": config, "workers": int(E["MB_WORKERS"]),
           "identity": {"cert": f"{certs}/{role}.crt", "key": f"{certs}/{role}.key", "roots": f"{certs}/root.crt"}}, sys.stdout)
PY
  launch "$1" "$SUT_BINARY" proxy sidecar --bootstrap "$MB_RUN/$1.json"
}
start_client_sidecar() { _palisade client; }
start_server_sidecar() { _palisade server; }
sidecar_ready() {
  local ns=mbA; [ "$1" = server ] && ns=mbB
  ip netns exec $ns curl -s -m 1 http://127.0.0.1:15021/healthz/ready 2>/dev/null | grep -q LIVE
}
