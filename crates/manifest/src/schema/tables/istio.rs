//! `security.istio.io` and `networking.istio.io`: the Istio kinds that the mesh acts on.

use super::meta::OBJECT_META;
use crate::schema::{
    Object,
    Type::{Any, Bool, Duration, Enum, Int32, List, Map, Object as Obj, Objects, Str},
    f, object, open_object,
};

pub(super) const WAYPOINTS: &str = "there are no gateways and waypoints to attach a policy to";
const DESTINATION: &str = "of traffic policies `connectionPool`, `loadBalancer.simple`, `outlierDetection` and \
    `tls.mode` are implemented";
const POOL: &str = "of connection pools `tcp.maxConnections`, `tcp.connectTimeout`, \
    `http.http1MaxPendingRequests`, `http.http2MaxRequests`, `http.maxRequestsPerConnection`, \
    `http.maxRetries` and `http.idleTimeout` are implemented";
const BALANCER: &str = "an endpoint is chosen by `simple`: LEAST_REQUEST, RANDOM or ROUND_ROBIN";
const OUTLIERS: &str = "failures to connect count as gateway errors";
const CLIENT_TLS: &str = "clients use the certificates of the mesh";

pub(super) static ISTIO_STATUS: Object = open_object("istio.meta.v1alpha1.IstioStatus", &[]);

pub(super) static WORKLOAD_SELECTOR: Object = object(
    "istio.type.v1beta1.WorkloadSelector",
    &[f("matchLabels", Map(&Str)).doc("Labels that a workload must have.")],
);

pub(super) static TARGET_REF: Object = object(
    "istio.type.v1beta1.PolicyTargetReference",
    &[f("group", Str), f("kind", Str).required(), f("name", Str).required(), f("namespace", Str)],
);

static PROVIDER: Object =
    object("istio.security.v1beta1.ExtensionProvider", &[f("name", Str).required()]);

static SOURCE: Object = object(
    "istio.security.v1beta1.Source",
    &[
        f("ipBlocks", List(&Str)).doc("Addresses of the TCP peer."),
        f("namespaces", List(&Str)).doc("Namespaces of the peer certificate."),
        f("notIpBlocks", List(&Str)),
        f("notNamespaces", List(&Str)),
        f("notPrincipals", List(&Str)),
        f("notRemoteIpBlocks", List(&Str)),
        f("notRequestPrincipals", List(&Str)),
        f("notServiceAccounts", List(&Str)).at_most(16),
        f("notTrustDomains", List(&Str)),
        f("principals", List(&Str)).doc("Identities of the peer certificate."),
        f("remoteIpBlocks", List(&Str)).doc("Addresses of the client, by X-Forwarded-For."),
        f("requestPrincipals", List(&Str)).doc("Issuer and subject of the request's token."),
        f("serviceAccounts", List(&Str)).at_most(16).doc("Accounts of the peer certificate."),
        f("trustDomains", List(&Str)),
    ],
);

static FROM: Object = object("istio.security.v1beta1.Rule.From", &[f("source", Obj(&SOURCE))]);

static OPERATION: Object = object(
    "istio.security.v1beta1.Operation",
    &[
        f("hosts", List(&Str)).doc("Values of Host, ignoring case."),
        f("methods", List(&Str)).doc("HTTP methods."),
        f("notHosts", List(&Str)),
        f("notMethods", List(&Str)),
        f("notPaths", List(&Str)),
        f("notPorts", List(&Str)),
        f("paths", List(&Str)).doc("Normalised paths."),
        f("ports", List(&Str)).doc("Ports of the workload."),
    ],
);

static TO: Object = object("istio.security.v1beta1.Rule.To", &[f("operation", Obj(&OPERATION))]);

static CONDITION: Object = object(
    "istio.security.v1beta1.Condition",
    &[f("key", Str).required(), f("notValues", List(&Str)), f("values", List(&Str))],
);

static RULE: Object = object(
    "istio.security.v1beta1.Rule",
    &[
        f("from", Objects(&FROM)).at_most(512).doc("Sources, of which one must match."),
        f("to", Objects(&TO)).doc("Operations, of which one must match."),
        f("when", Objects(&CONDITION)).doc("Conditions, which must all match."),
    ],
);

static AUTHORIZATION_POLICY_SPEC: Object = object(
    "istio.security.v1beta1.AuthorizationPolicy",
    &[
        f("action", Enum(&["ALLOW", "DENY", "AUDIT", "CUSTOM"]))
            .doc("What a matching rule does; absent is ALLOW."),
        f("provider", Obj(&PROVIDER)).doc("External authorizer of a CUSTOM policy."),
        f("rules", Objects(&RULE)).at_most(512).doc("Rules, of which one must match."),
        f("selector", Obj(&WORKLOAD_SELECTOR)).doc("Workloads the policy is for."),
        f("targetRef", Obj(&TARGET_REF)).ignored(WAYPOINTS),
        f("targetRefs", Objects(&TARGET_REF)).at_most(16).ignored(WAYPOINTS),
    ],
);

pub(in crate::schema) static AUTHORIZATION_POLICY: Object = object(
    "io.istio.security.v1.AuthorizationPolicy",
    &[
        f("metadata", Obj(&OBJECT_META)),
        f("spec", Obj(&AUTHORIZATION_POLICY_SPEC)).doc("Who may call what."),
        f("status", Obj(&ISTIO_STATUS)),
    ],
);

static MTLS: Object = object(
    "istio.security.v1beta1.PeerAuthentication.MutualTLS",
    &[f("mode", Enum(&["UNSET", "DISABLE", "PERMISSIVE", "STRICT"]))
        .doc("Defines the mTLS mode used for peer authentication.")],
);

static PEER_AUTHENTICATION_SPEC: Object = object(
    "istio.security.v1beta1.PeerAuthentication",
    &[
        f("mtls", Obj(&MTLS)).doc("The mode of all ports."),
        f("portLevelMtls", Map(&Obj(&MTLS))).doc("The mode of single workload ports."),
        f("selector", Obj(&WORKLOAD_SELECTOR)).doc("Workloads the policy is for."),
    ],
);

pub(in crate::schema) static PEER_AUTHENTICATION: Object = object(
    "io.istio.security.v1.PeerAuthentication",
    &[
        f("metadata", Obj(&OBJECT_META)),
        f("spec", Obj(&PEER_AUTHENTICATION_SPEC)).doc("Which connections are accepted."),
        f("status", Obj(&ISTIO_STATUS)),
    ],
);

static JWT_HEADER: Object = object(
    "istio.security.v1beta1.JWTHeader",
    &[f("name", Str).required(), f("prefix", Str).doc("What stands before the token.")],
);

static CLAIM_TO_HEADER: Object = object(
    "istio.security.v1beta1.ClaimToHeader",
    &[f("claim", Str).required(), f("header", Str).required()],
);

static JWT_RULE: Object = object(
    "istio.security.v1beta1.JWTRule",
    &[
        f("audiences", List(&Str)),
        f("forwardOriginalToken", Bool),
        f("fromCookies", List(&Str)),
        f("fromHeaders", Objects(&JWT_HEADER)),
        f("fromParams", List(&Str)),
        f("issuer", Str),
        f("jwks", Str),
        f("jwksUri", Str),
        f("outputClaimToHeaders", Objects(&CLAIM_TO_HEADER)),
        f("outputPayloadToHeader", Str),
        f("presence", Enum(&["OPTIONAL", "REQUIRED"]))
            .only(&["OPTIONAL"], "a token is required by an AuthorizationPolicy"),
        f("spaceDelimitedClaims", List(&Str)).at_most(64),
        f("timeout", Duration),
    ],
);

static REQUEST_AUTHENTICATION_SPEC: Object = object(
    "istio.security.v1beta1.RequestAuthentication",
    &[
        f("jwtRules", Objects(&JWT_RULE)).at_most(4096).doc("Accepted tokens."),
        f("selector", Obj(&WORKLOAD_SELECTOR)).doc("Workloads the policy is for."),
        f("targetRef", Obj(&TARGET_REF)).ignored(WAYPOINTS),
        f("targetRefs", Objects(&TARGET_REF)).at_most(16).ignored(WAYPOINTS),
    ],
);

pub(in crate::schema) static REQUEST_AUTHENTICATION: Object = object(
    "io.istio.security.v1.RequestAuthentication",
    &[
        f("metadata", Obj(&OBJECT_META)),
        f("spec", Obj(&REQUEST_AUTHENTICATION_SPEC)).doc("Which tokens are accepted."),
        f("status", Obj(&ISTIO_STATUS)),
    ],
);

static CLIENT_TLS_SETTINGS: Object = object(
    "istio.networking.v1alpha3.ClientTLSSettings",
    &[
        f("caCertificates", Str).refused(CLIENT_TLS),
        f("caCrl", Str).refused(CLIENT_TLS),
        f("clientCertificate", Str).refused(CLIENT_TLS),
        f("credentialName", Str).refused(CLIENT_TLS),
        f("insecureSkipVerify", Bool).refused(CLIENT_TLS),
        f("mode", Enum(&["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"]))
            .only(&["DISABLE", "ISTIO_MUTUAL"], CLIENT_TLS)
            .doc("How clients connect."),
        f("privateKey", Str).refused(CLIENT_TLS),
        f("sni", Str).refused(CLIENT_TLS),
        f("subjectAltNames", List(&Str)).refused(CLIENT_TLS),
    ],
);

static TCP_POOL: Object = object(
    "istio.networking.v1alpha3.ConnectionPoolSettings.TCPSettings",
    &[
        f("connectTimeout", Duration).doc("How long connecting may take; 10s."),
        f("idleTimeout", Str).refused(POOL),
        f("maxConnectionDuration", Str).refused(POOL),
        f("maxConnections", Int32).doc("Connections in use at once."),
        f("tcpKeepalive", Any).refused(POOL),
    ],
);

static HTTP_POOL: Object = object(
    "istio.networking.v1alpha3.ConnectionPoolSettings.HTTPSettings",
    &[
        f("h2UpgradePolicy", Enum(&["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"]))
            .only(&["DEFAULT", "DO_NOT_UPGRADE"], "what a port speaks is what it declares"),
        f("http1MaxPendingRequests", Int32).doc("Requests that wait for a connection at once."),
        f("http2MaxRequests", Int32).doc("Requests under way at once."),
        f("idleTimeout", Duration).doc("How long a connection is kept without requests; 60s."),
        f("maxConcurrentStreams", Int32).refused(POOL),
        f("maxRequestsPerConnection", Int32).doc("Requests of one connection."),
        f("maxRetries", Int32).doc("Retries under way at once."),
        f("useClientProtocol", Bool).refused(POOL),
    ],
);

static CONNECTION_POOL: Object = object(
    "istio.networking.v1alpha3.ConnectionPoolSettings",
    &[
        f("http", Obj(&HTTP_POOL)).doc("Limits on requests."),
        f("tcp", Obj(&TCP_POOL)).doc("Limits on all connections."),
    ],
);

static LOAD_BALANCER: Object = object(
    "istio.networking.v1alpha3.LoadBalancerSettings",
    &[
        f("consistentHash", Any).refused(BALANCER),
        f("localityLbSetting", Any).refused(BALANCER),
        f(
            "simple",
            Enum(&[
                "UNSPECIFIED",
                "LEAST_CONN",
                "RANDOM",
                "PASSTHROUGH",
                "ROUND_ROBIN",
                "LEAST_REQUEST",
            ]),
        )
        .only(&["UNSPECIFIED", "LEAST_CONN", "RANDOM", "ROUND_ROBIN", "LEAST_REQUEST"], BALANCER)
        .doc("How an endpoint is chosen; LEAST_REQUEST."),
        f("warmup", Any).refused(BALANCER),
        f("warmupDurationSecs", Any).refused(BALANCER),
    ],
);

static OUTLIER_DETECTION: Object = object(
    "istio.networking.v1alpha3.OutlierDetection",
    &[
        f("baseEjectionTime", Duration).doc("How long the first ejection lasts; 30s."),
        f("consecutive5xxErrors", Int32).doc("Errors in a row that eject; 5, 0 for never."),
        f("consecutiveErrors", Int32).refused("write `consecutiveGatewayErrors`"),
        f("consecutiveGatewayErrors", Int32).doc("Errors 502 to 504 in a row that eject."),
        f("consecutiveLocalOriginFailures", Int32).refused(OUTLIERS),
        f("interval", Duration).doc("How long it takes to forget one ejection; 10s."),
        f("maxEjectionPercent", Int32).doc("Most endpoints that are ejected, of a hundred; 10."),
        f("minHealthPercent", Int32).doc("Fewest endpoints left, of a hundred, else all are."),
        f("splitExternalLocalOriginErrors", Bool).refused(OUTLIERS),
    ],
);

static TRAFFIC_POLICY: Object = object(
    "istio.networking.v1alpha3.TrafficPolicy",
    &[
        f("connectionPool", Obj(&CONNECTION_POOL)).doc("Limits on connections and requests."),
        f("loadBalancer", Obj(&LOAD_BALANCER)).doc("How endpoints are chosen."),
        f("outlierDetection", Obj(&OUTLIER_DETECTION))
            .doc("When endpoints that fail are left alone."),
        f("portLevelSettings", List(&Any)).refused(DESTINATION),
        f("proxyProtocol", Any).refused(DESTINATION),
        f("retryBudget", Any).refused(DESTINATION),
        f("tls", Obj(&CLIENT_TLS_SETTINGS)).doc("Client TLS settings."),
        f("tunnel", Any).refused(DESTINATION),
    ],
);

static SUBSET: Object = object(
    "istio.networking.v1alpha3.Subset",
    &[
        f("labels", Map(&Str)).doc("Labels of its workloads."),
        f("name", Str).required(),
        f("trafficPolicy", Any).refused("traffic policies hold for the whole host"),
    ],
);

static DESTINATION_RULE_SPEC: Object = object(
    "istio.networking.v1alpha3.DestinationRule",
    &[
        f("exportTo", List(&Str)).refused("a rule holds for all clients of the host"),
        f("host", Str).required().doc("Service host, short or fully qualified."),
        f("subsets", Objects(&SUBSET)).doc("Named subsets of its workloads."),
        f("trafficPolicy", Obj(&TRAFFIC_POLICY)).doc("How clients connect."),
        f("workloadSelector", Any).refused("a rule holds for all clients of the host"),
    ],
);

pub(in crate::schema) static DESTINATION_RULE: Object = object(
    "io.istio.networking.v1.DestinationRule",
    &[
        f("metadata", Obj(&OBJECT_META)),
        f("spec", Obj(&DESTINATION_RULE_SPEC)).doc("How clients reach a host."),
        f("status", Obj(&ISTIO_STATUS)),
    ],
);
