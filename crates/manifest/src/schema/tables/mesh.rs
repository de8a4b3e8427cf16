//! Istio's `MeshConfig`.

use super::{telemetry::CUSTOM_TAG, virtual_service::HTTP_RETRY};
use crate::schema::{
    Lit, Object,
    Type::{Any, Bool, Duration, Enum, Int32, List, Map, Number, Object as Obj, Objects, Str},
    f, object,
};

const TLS: &str = "connections in the mesh use TLS 1.2 or 1.3 with Istio's ciphers";
const NO_CLUSTER: &str = "it is about parts of Istio that Palisade does not have";
const TELEMETRY: &str = "telemetry of the sidecars is fixed";
const PROVIDERS: &str = "spans go to a provider `opentelemetry`";
const SIDECARS: &str = "the sidecars have no such settings of their own";
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

static HTTP_HEADER: Object = object(
    "istio.mesh.v1alpha1.MeshConfig.ExtensionProvider.HttpHeader",
    &[
        f("envName", Str).refused("the control plane hands no variables of its own on"),
        f("name", Str).required(),
        f("value", Str),
    ],
);

static OTLP_HTTP: Object = object(
    "istio.mesh.v1alpha1.MeshConfig.ExtensionProvider.HttpService",
    &[f("headers", Objects(&HTTP_HEADER)), f("path", Str), f("timeout", Duration)],
);

static OTLP_GRPC: Object = object(
    "istio.mesh.v1alpha1.MeshConfig.ExtensionProvider.GrpcService",
    &[f("initialMetadata", Objects(&HTTP_HEADER)), f("timeout", Duration)],
);

static OPEN_TELEMETRY: Object = object(
    "istio.mesh.v1alpha1.MeshConfig.ExtensionProvider.OpenTelemetryTracingProvider",
    &[
        f("dynatraceSampler", Any).refused("which traces are recorded is random"),
        f("grpc", Obj(&OTLP_GRPC)),
        f("http", Obj(&OTLP_HTTP)),
        f("maxTagLength", Int32),
        f("port", Int32).required(),
        f("resourceDetectors", Any).ignored("the resource of spans is `service.name`"),
        f("service", Str).required(),
        f("serviceAttributeEnrichment", Enum(&["ISTIO_CANONICAL", "OTEL_SEMANTIC_CONVENTIONS"]))
            .only_warn(&["ISTIO_CANONICAL"], "`tracingServiceName` says what sidecars are called"),
    ],
);

static DEFAULT_PROVIDERS: Object = object(
    "istio.mesh.v1alpha1.MeshConfig.DefaultProviders",
    &[
        f("accessLogging", List(&Str)).ignored(TELEMETRY),
        f("metrics", List(&Str)).ignored(TELEMETRY),
        f("tracing", List(&Str)),
    ],
);

static PROXY_TRACING: Object = object(
    "istio.mesh.v1alpha1.Tracing",
    &[
        f("customTags", Map(&Obj(&CUSTOM_TAG))),
        f("datadog", Any).ignored(PROVIDERS),
        f("enableIstioTags", Bool).ignored_unless(Lit::Bool(true), "a Telemetry says so"),
        f("lightstep", Any).ignored(PROVIDERS),
        f("maxPathTagLength", Int32),
        f("openCensusAgent", Any).ignored(PROVIDERS),
        f("sampling", Number),
        f("stackdriver", Any).ignored(PROVIDERS),
        f("tlsSettings", Any).ignored(PROVIDERS),
        f("zipkin", Any).ignored(PROVIDERS),
    ],
);

static PROXY_CONFIG: Object = object(
    "istio.mesh.v1alpha1.ProxyConfig",
    &[
        f("availabilityZone", Str).ignored(SIDECARS),
        f("binaryPath", Str).ignored(SIDECARS),
        f("caCertificatesPem", List(&Str)).ignored(SIDECARS),
        f("concurrency", Int32).ignored(SIDECARS),
        f("configPath", Str).ignored(SIDECARS),
        f("controlPlaneAuthPolicy", Any).ignored(SIDECARS),
        f("customConfigFile", Str).ignored(SIDECARS),
        f("discoveryAddress", Str).ignored(SIDECARS),
        f("discoveryRefreshDelay", Str).ignored(SIDECARS),
        f("drainDuration", Str).ignored(SIDECARS),
        f("envoyAccessLogService", Any).ignored(SIDECARS),
        f("envoyMetricsService", Any).ignored(SIDECARS),
        f("envoyMetricsServiceAddress", Str).ignored(SIDECARS),
        f("extraStatTags", List(&Str)).ignored(SIDECARS),
        f("fileFlushInterval", Str).ignored(SIDECARS),
        f("fileFlushMinSizeKb", Int32).ignored(SIDECARS),
        f("gatewayTopology", Any).ignored(SIDECARS),
        f("holdApplicationUntilProxyStarts", Bool)
            .ignored_unless(Lit::Bool(true), "applications start after their sidecars"),
        f("image", Any).ignored(SIDECARS),
        f("interceptionMode", Any).ignored(SIDECARS),
        f("meshId", Str).ignored(SIDECARS),
        f("parentShutdownDuration", Str).ignored(SIDECARS),
        f("privateKeyProvider", Any).ignored(SIDECARS),
        f("proxyAdminPort", Int32).ignored(SIDECARS),
        f("proxyBootstrapTemplatePath", Str).ignored(SIDECARS),
        f("proxyHeaders", Any).ignored(SIDECARS),
        f("proxyMetadata", Map(&Str)).ignored(SIDECARS),
        f("proxyStatsMatcher", Any).ignored(SIDECARS),
        f("readinessProbe", Any).ignored(SIDECARS),
        f("runtimeValues", Map(&Str)).ignored(SIDECARS),
        f("sds", Any).ignored(SIDECARS),
        f("serviceCluster", Str).ignored(SIDECARS),
        f("statNameLength", Int32).ignored(SIDECARS),
        f("statsCompression", Bool).ignored(SIDECARS),
        f("statsdUdpAddress", Str).ignored(SIDECARS),
        f("statusPort", Int32).ignored(SIDECARS),
        f("terminationDrainDuration", Str).ignored(SIDECARS),
        f("tracing", Obj(&PROXY_TRACING)),
        f(
            "tracingServiceName",
            Enum(&[
                "APP_LABEL_AND_NAMESPACE",
                "CANONICAL_NAME_ONLY",
                "CANONICAL_NAME_AND_NAMESPACE",
            ]),
        ),
        f("zipkinAddress", Str).ignored(PROVIDERS),
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
        f("opentelemetry", Obj(&OPEN_TELEMETRY)),
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
        f("defaultConfig", Obj(&PROXY_CONFIG)),
        f("defaultDestinationRuleExportTo", List(&Str)).ignored("rules hold for all clients"),
        f("defaultHttpRetryPolicy", Obj(&HTTP_RETRY)),
        f("defaultProviders", Obj(&DEFAULT_PROVIDERS)),
        f("defaultServiceExportTo", List(&Str)).ignored("services are visible everywhere"),
        f("defaultVirtualServiceExportTo", List(&Str)).ignored(NO_CLUSTER),
        f("disableEnvoyListenerLog", Bool).ignored(TELEMETRY),
        f("discoverySelectors", List(&Any)).ignored("all namespaces are read"),
        f("dnsRefreshRate", Str).ignored(CONNECTIONS),
        f("enableAutoMtls", Bool)
            .ignored_unless(Lit::Bool(true), "mTLS is used wherever the server takes it"),
        f("enableEnvoyAccessLogService", Bool).ignored(TELEMETRY),
        f("enablePrometheusMerge", Bool).ignored(TELEMETRY),
        f("enableTracing", Bool),
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
