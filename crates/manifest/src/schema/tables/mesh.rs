//! Istio's `MeshConfig`.

use crate::schema::{
    Lit, Object,
    Type::{Any, Bool, Duration, Enum, Int32, List, Map, Object as Obj, Objects, Str},
    f, object,
};

const TLS: &str = "connections in the mesh use TLS 1.2 or 1.3 with Istio's ciphers";
const NO_CLUSTER: &str = "it is about parts of Istio that Palisade does not have";
const TELEMETRY: &str = "telemetry of the sidecars is fixed";
const CONNECTIONS: &str = "the sidecars have limits of their own";

static MESH_MTLS: Object = object(
    "istio.mesh.v1alpha1.MeshConfig.TLSConfig",
    &[
        f("cipherSuites", List(&Str)).refused(TLS),
        f("ecdhCurves", List(&Str)).refused(TLS),
        f("minProtocolVersion", Enum(&["TLS_AUTO", "TLSV1_2", "TLSV1_3"]))
            .only(&["TLS_AUTO", "TLSV1_2"], TLS),
    ],
);

static PATH_NORMALIZATION: Object = object(
    "istio.mesh.v1alpha1.MeshConfig.ProxyPathNormalization",
    &[f(
        "normalization",
        Enum(&["DEFAULT", "NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"]),
    )],
);

static OUTBOUND_TRAFFIC_POLICY: Object = object(
    "istio.mesh.v1alpha1.MeshConfig.OutboundTrafficPolicy",
    &[f("mode", Enum(&["ALLOW_ANY", "REGISTRY_ONLY"]))],
);

static EXT_AUTHZ_BODY: Object = object(
    "istio.mesh.v1alpha1.MeshConfig.ExtensionProvider.EnvoyExternalAuthorizationRequestBody",
    &[
        f("allowPartialMessage", Bool),
        f("maxRequestBytes", Int32).required(),
        f("packAsBytes", Bool),
    ],
);

static EXT_AUTHZ_HTTP: Object = object(
    "istio.mesh.v1alpha1.MeshConfig.ExtensionProvider.EnvoyExternalAuthorizationHttpProvider",
    &[
        f("clearRouteCache", Bool).ignored("requests have one route"),
        f("failOpen", Bool),
        f("headersToDownstreamOnAllow", List(&Str)),
        f("headersToDownstreamOnDeny", List(&Str)),
        f("headersToUpstreamOnAllow", List(&Str)),
        f("includeAdditionalHeadersInCheck", Map(&Str)),
        f("includeHeadersInCheck", List(&Str)),
        f("includeRequestBodyInCheck", Obj(&EXT_AUTHZ_BODY)),
        f("includeRequestHeadersInCheck", List(&Str)),
        f("pathPrefix", Str),
        f("port", Int32).required(),
        f("service", Str).required(),
        f("statusOnError", Str),
        f("timeout", Duration),
    ],
);

static EXT_AUTHZ_GRPC: Object = object(
    "istio.mesh.v1alpha1.MeshConfig.ExtensionProvider.EnvoyExternalAuthorizationGrpcProvider",
    &[
        f("clearRouteCache", Bool).ignored("requests have one route"),
        f("failOpen", Bool),
        f("includeRequestBodyInCheck", Obj(&EXT_AUTHZ_BODY)),
        f("port", Int32).required(),
        f("service", Str).required(),
        f("statusOnError", Str),
        f("timeout", Duration),
    ],
);

static EXTENSION_PROVIDER: Object = object(
    "istio.mesh.v1alpha1.MeshConfig.ExtensionProvider",
    &[
        f("datadog", Any).ignored(TELEMETRY),
        f("envoyExtAuthzGrpc", Obj(&EXT_AUTHZ_GRPC)),
        f("envoyExtAuthzHttp", Obj(&EXT_AUTHZ_HTTP)),
        f("envoyFileAccessLog", Any).ignored(TELEMETRY),
        f("envoyHttpAls", Any).ignored(TELEMETRY),
        f("envoyOtelAls", Any).ignored(TELEMETRY),
        f("envoyTcpAls", Any).ignored(TELEMETRY),
        f("lightstep", Any).ignored(TELEMETRY),
        f("name", Str).required(),
        f("opencensus", Any).ignored(TELEMETRY),
        f("opentelemetry", Any).ignored(TELEMETRY),
        f("prometheus", Any).ignored(TELEMETRY),
        f("sds", Any).ignored(NO_CLUSTER),
        f("skywalking", Any).ignored(TELEMETRY),
        f("stackdriver", Any).ignored(TELEMETRY),
        f("zipkin", Any).ignored(TELEMETRY),
    ],
);

/// What may stand in the key `mesh` of the ConfigMap `istio`.
pub(crate) static MESH_CONFIG: Object = object(
    "istio.mesh.v1alpha1.MeshConfig",
    &[
        f("accessLogEncoding", Enum(&["TEXT", "JSON"])).only_warn(&["TEXT"], TELEMETRY),
        f("accessLogFile", Str),
        f("accessLogFormat", Str).ignored(TELEMETRY),
        f("ca", Any).ignored(NO_CLUSTER),
        f("caCertificates", List(&Any)).ignored("identities come from the CA of the mesh only"),
        f("certificates", List(&Any)).ignored(NO_CLUSTER),
        f("configSources", List(&Any)).ignored(NO_CLUSTER),
        f("connectTimeout", Str).ignored(CONNECTIONS),
        f("defaultConfig", Any).ignored("the sidecars have no settings of their own"),
        f("defaultDestinationRuleExportTo", List(&Str)).ignored("rules hold for all clients"),
        f("defaultHttpRetryPolicy", Any).ignored("requests are not retried"),
        f("defaultProviders", Any).ignored(TELEMETRY),
        f("defaultServiceExportTo", List(&Str)).ignored("services are visible everywhere"),
        f("defaultVirtualServiceExportTo", List(&Str)).ignored(NO_CLUSTER),
        f("disableEnvoyListenerLog", Bool).ignored(TELEMETRY),
        f("discoverySelectors", List(&Any)).ignored("all namespaces are read"),
        f("dnsRefreshRate", Str).ignored(CONNECTIONS),
        f("enableAutoMtls", Bool)
            .ignored_unless(Lit::Bool(true), "mTLS is used wherever the server takes it"),
        f("enableEnvoyAccessLogService", Bool).ignored(TELEMETRY),
        f("enablePrometheusMerge", Bool).ignored(TELEMETRY),
        f("enableTracing", Bool).ignored(TELEMETRY),
        f("extensionProviders", Objects(&EXTENSION_PROVIDER)),
        f("h2UpgradePolicy", Str).ignored(CONNECTIONS),
        f("hboneIdleTimeout", Str).ignored(NO_CLUSTER),
        f("inboundClusterStatName", Str).ignored(TELEMETRY),
        f("inboundTrafficPolicy", Any).ignored("undeclared ports are served"),
        f("ingressClass", Str).ignored(NO_CLUSTER),
        f("ingressControllerMode", Str).ignored(NO_CLUSTER),
        f("ingressSelector", Str).ignored(NO_CLUSTER),
        f("ingressService", Str).ignored(NO_CLUSTER),
        f("localityLbSetting", Any).ignored("this machine is the only place"),
        f("meshMTLS", Obj(&MESH_MTLS)),
        f("outboundClusterStatName", Str).ignored(TELEMETRY),
        f("outboundTrafficPolicy", Obj(&OUTBOUND_TRAFFIC_POLICY)),
        f("pathNormalization", Obj(&PATH_NORMALIZATION)),
        f("protocolDetectionTimeout", Str).ignored(CONNECTIONS),
        f("proxyHttpPort", Int32).ignored(NO_CLUSTER),
        f("proxyInboundListenPort", Int32).ignored("sidecars listen on 15006"),
        f("proxyListenPort", Int32).ignored("sidecars listen on 15001"),
        f("rootNamespace", Str),
        f("serviceScopeConfigs", List(&Any)).ignored(NO_CLUSTER),
        f("serviceSettings", List(&Any)).ignored(NO_CLUSTER),
        f("tcpKeepalive", Any).ignored(CONNECTIONS),
        f("tlsDefaults", Any).ignored("clients use the certificates of the mesh"),
        f("trustDomain", Str),
        f("trustDomainAliases", List(&Str)),
        f("verifyCertificateAtClient", Bool)
            .ignored_unless(Lit::Bool(true), "certificates are always verified"),
        f("virtualServiceSettings", Any).ignored(NO_CLUSTER),
    ],
);
