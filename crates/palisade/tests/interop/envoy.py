# Envoy's configuration as istiod makes it for a sidecar, by the policies of the test: TLS contexts, names,
# ALPN, SNI, matchers and RBAC in istiod's shape. Left out is what needs Istio's own build of Envoy
# (peer metadata, the alpn filter, whose override is the cluster's list here), and the redirect: ports are fixed.
import json
import os

envoy, namespace, backend = sys.argv[2], sys.argv[3], sys.argv[4]
EXT = "type.googleapis.com/envoy.extensions."


def typed(name, kind, **body):
    return {"name": name, "typed_config": {"@type": EXT + kind, **body}}


def address(ip, port):
    return {"socket_address": {"address": ip, "port_value": port}}


def common(alpn, names):
    """`common_tls_context`: TLS 1.2 at least, the workload's certificate, peers by their SPIFFE name."""
    san = [{"san_type": "URI", "matcher": name} for name in names]
    return {
        "alpn_protocols": alpn,
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
        "tls_certificates": [{"certificate_chain": {"filename": f"{out}/chain.pem"},
                              "private_key": {"filename": f"{out}/key.pem"}}],
        "validation_context": {"trusted_ca": {"filename": f"{out}/root.pem"}, "match_typed_subject_alt_names": san},
    }


def account(name):
    return {"authenticated": {"principal_name": {"exact": f"spiffe://cluster.local/ns/{namespace}/sa/{name}"}}}


def either(kind, *rules):
    """istiod's nesting: all of the lists, one of each."""
    ids = "ids" if kind == "and_ids" else "rules"
    inner = "or_ids" if kind == "and_ids" else "or_rules"
    return [{kind: {ids: [{inner: {ids: list(rule)}} for rule in rules]}}]


ANY = [{"and_rules": {"rules": [{"any": True}]}}]
DENY = {"action": "DENY", "policies": {f"ns[{namespace}]-policy[deny-payments]-rule[0]": {
    "permissions": ANY, "principals": either("and_ids", [account("payments-sa")])}}}


def allow(policy, permissions):
    return {"action": "ALLOW", "policies": {f"ns[{namespace}]-policy[{policy}]-rule[0]": {
        "permissions": permissions, "principals": either("and_ids", [account("frontend-sa")])}}}


READ = either("and_rules",
              [{"header": {"name": ":method", "string_match": {"exact": "GET"}}}],
              [{"url_path": {"path": {"exact": path}}} for path in ("/api/orders", "/health")])


RAW = either("and_rules", [{"destination_port": 9070}])


def rbac(layer, rules):
    prefix = {"stat_prefix": "tcp."} if layer == "network" else {}
    return typed(f"envoy.filters.{layer}.rbac", f"filters.{layer}.rbac.v3.RBAC", rules=rules, **prefix)


def http(name, cluster, filters, **more):
    route = {"match": {"prefix": "/"}, "route": {"cluster": cluster, "timeout": "0s"}}
    router = typed("envoy.filters.http.router", "filters.http.router.v3.Router")
    kind = "filters.network.http_connection_manager.v3.HttpConnectionManager"
    return typed("envoy.filters.network.http_connection_manager", kind, stat_prefix=name, normalize_path=True,
                 route_config={"virtual_hosts": [{"name": name, "domains": ["*"], "routes": [route]}]},
                 http_filters=[*filters, router], access_log=[LOG], **more)


def tcp(cluster):
    return typed("envoy.filters.network.tcp_proxy", "filters.network.tcp_proxy.v3.TcpProxy",
                 stat_prefix=cluster, cluster=cluster, access_log=[LOG])


def listener(name, ip, port, filters, **chain):
    return {"name": name, "address": address(ip, port), "filter_chains": [{"filters": filters, **chain}],
            "listener_filters": [typed("envoy.filters.listener.tls_inspector",
                                       "filters.listener.tls_inspector.v3.TlsInspector")]}


def inbound(port, alpn, filters):
    """STRICT: TLS only, and a client certificate of the mesh."""
    mesh = [{"prefix": "spiffe://cluster.local/"}]
    tls = typed("envoy.transport_sockets.tls", "transport_sockets.tls.v3.DownstreamTlsContext",
                require_client_certificate=True, common_tls_context=common(alpn, mesh))
    return listener(f"0.0.0.0_{port}", "0.0.0.0", port, filters, transport_socket=tls,
                    filter_chain_match={"transport_protocol": "tls"})


def local(port):
    name = f"inbound|{port}||"
    return {"name": name, "type": "STATIC", "load_assignment": assignment(name, "127.0.0.1", port)}


def outbound(port, alpn, sni, **more):
    host = f"{backend}.{namespace}.svc.cluster.local"
    name = f"outbound|{port}|{alpn[0]}|{host}"
    server = [{"exact": f"spiffe://cluster.local/ns/{namespace}/sa/backend-sa"}]
    tls = typed("envoy.transport_sockets.tls", "transport_sockets.tls.v3.UpstreamTlsContext",
                sni=sni.format(port=port, host=host), common_tls_context=common(alpn, server))
    return {**more, "name": name, "type": "STRICT_DNS", "dns_lookup_family": "V4_ONLY", "transport_socket": tls,
            "load_assignment": assignment(name, host, port)}


def assignment(name, host, port):
    endpoint = {"endpoint": {"address": address(host, port)}}
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}


LOG = typed("envoy.access_loggers.file", "access_loggers.file.v3.FileAccessLog", path="/dev/stdout", log_format={
    "text_format_source": {"inline_string": "%RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %DOWNSTREAM_PEER_URI_SAN% "
                                            "%REQUESTED_SERVER_NAME% %DOWNSTREAM_TLS_VERSION%\n"}})
SNI = "outbound_.{port}_._.{host}"
HTTP2 = typed("", "upstreams.http.v3.HttpProtocolOptions", explicit_http_config={"http2_protocol_options": {}})["typed_config"]
web, raw = outbound(80, ["istio-http/1.1", "istio", "http/1.1"], SNI), outbound(7000, ["istio"], SNI)
web2 = outbound(80, ["istio-h2", "istio", "h2"], SNI, typed_extension_protocol_options={HTTP2["@type"].split("/")[1]: HTTP2})
config = {
    "admin": {"address": address("127.0.0.1", 15000)},
    "static_resources": {
        "listeners": [
            inbound(9080, ["h2", "http/1.1"], [
                http("inbound_0.0.0.0_9080", "inbound|8080||", [rbac("http", DENY), rbac("http", allow("allow-frontend", READ))],
                     forward_client_cert_details="APPEND_FORWARD",
                     set_current_client_cert_details={"subject": True, "dns": True, "uri": True})]),
            inbound(9070, ["istio-peer-exchange", "h2", "http/1.1"],
                    [rbac("network", DENY), rbac("network", allow("allow-frontend-raw", RAW)), tcp("inbound|8080||")]),
            listener("outbound_80", "127.0.0.1", 15001, [http("outbound_80", web["name"], [])]),
            listener("outbound_80_h2", "127.0.0.1", 15002, [http("outbound_80_h2", web2["name"], [])]),
            listener("outbound_7000", "127.0.0.1", 15007, [tcp(raw["name"])]),
        ],
        "clusters": [local(8080), web, web2, raw],
    },
}
with open(f"{out}/envoy.json", "w") as file:
    json.dump(config, file)
os.execv(envoy, [envoy, "-c", f"{out}/envoy.json", "--disable-hot-restart", "--concurrency", "1",
                  "--file-flush-interval-msec", "100", "-l", "warning"])
