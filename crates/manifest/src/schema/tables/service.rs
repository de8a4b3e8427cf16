//! Service and EndpointSlice.

use super::{
    core::OBJECT_REFERENCE,
    meta::{CONDITION, OBJECT_META},
};
use crate::schema::{
    Lit, Object,
    Type::{Bool, Enum, Int32, IntOrStr, List, Map, Object as Obj, Objects, Str},
    f, object,
};

pub(super) static SERVICE_PORT: Object = object(
    "io.k8s.api.core.v1.ServicePort",
    &[
        f("appProtocol", Str),
        f("name", Str),
        f("nodePort", Int32).ignored("ports are not published on the host; use port-forward"),
        f("port", Int32).required(),
        f("protocol", Enum(&["TCP", "UDP", "SCTP"])).default(Lit::Str("TCP")),
        f("targetPort", IntOrStr),
    ],
);

pub(super) static CLIENT_IP_CONFIG: Object = object(
    "io.k8s.api.core.v1.ClientIPConfig",
    &[f("timeoutSeconds", Int32).default(Lit::Int(10800))],
);

pub(super) static SESSION_AFFINITY_CONFIG: Object =
    object("io.k8s.api.core.v1.SessionAffinityConfig", &[f("clientIP", Obj(&CLIENT_IP_CONFIG))]);

pub(super) static SERVICE_SPEC: Object = object(
    "io.k8s.api.core.v1.ServiceSpec",
    &[
        f("allocateLoadBalancerNodePorts", Bool).ignored("there is no load balancer"),
        f("clusterIP", Str),
        f("clusterIPs", List(&Str)),
        f("externalIPs", List(&Str)).refused("services are reachable inside the mesh only"),
        f("externalName", Str).refused("services are reachable inside the mesh only"),
        f("externalTrafficPolicy", Enum(&["Cluster", "Local"]))
            .ignored("there is no traffic from outside"),
        f("healthCheckNodePort", Int32).ignored("there is no load balancer"),
        f("internalTrafficPolicy", Enum(&["Cluster", "Local"]))
            .ignored_unless(Lit::Str("Cluster"), "this machine is the only node"),
        f("ipFamilies", List(&Enum(&["IPv4", "IPv6"]))),
        f("ipFamilyPolicy", Enum(&["SingleStack", "PreferDualStack", "RequireDualStack"]))
            .only_warn(&["SingleStack"], "the mesh uses IPv4"),
        f("loadBalancerClass", Str).ignored("there is no load balancer"),
        f("loadBalancerIP", Str).ignored("there is no load balancer"),
        f("loadBalancerSourceRanges", List(&Str))
            .refused("there is no load balancer to enforce them"),
        f("ports", Objects(&SERVICE_PORT)).merge(&["port", "protocol"]),
        f("publishNotReadyAddresses", Bool).ignored("only ready pods get traffic"),
        f("selector", Map(&Str)),
        f("sessionAffinity", Enum(&["None", "ClientIP"]))
            .default(Lit::Str("None"))
            .only_warn(&["None"], "calls are spread over all ready pods"),
        f("sessionAffinityConfig", Obj(&SESSION_AFFINITY_CONFIG))
            .ignored("calls are spread over all ready pods"),
        f("trafficDistribution", Str).ignored("this machine is the only node"),
        f("type", Enum(&["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]))
            .default(Lit::Str("ClusterIP"))
            .only(&["ClusterIP"], "services are reachable inside the mesh only; use port-forward"),
    ],
);

pub(super) static PORT_STATUS: Object = object(
    "io.k8s.api.core.v1.PortStatus",
    &[f("error", Str), f("port", Int32).required(), f("protocol", Str).required()],
);

pub(super) static LOAD_BALANCER_INGRESS: Object = object(
    "io.k8s.api.core.v1.LoadBalancerIngress",
    &[f("hostname", Str), f("ip", Str), f("ipMode", Str), f("ports", Objects(&PORT_STATUS))],
);

pub(super) static LOAD_BALANCER_STATUS: Object = object(
    "io.k8s.api.core.v1.LoadBalancerStatus",
    &[f("ingress", Objects(&LOAD_BALANCER_INGRESS))],
);

pub(super) static SERVICE_STATUS: Object = object(
    "io.k8s.api.core.v1.ServiceStatus",
    &[
        f("conditions", Objects(&CONDITION)).merge(&["type"]),
        f("loadBalancer", Obj(&LOAD_BALANCER_STATUS)),
    ],
);

pub(in crate::schema) static SERVICE: Object = object(
    "io.k8s.api.core.v1.Service",
    &[
        f("metadata", Obj(&OBJECT_META)),
        f("spec", Obj(&SERVICE_SPEC)),
        f("status", Obj(&SERVICE_STATUS)),
    ],
);

pub(super) static ENDPOINT_CONDITIONS: Object = object(
    "io.k8s.api.discovery.v1.EndpointConditions",
    &[f("ready", Bool), f("serving", Bool), f("terminating", Bool)],
);

pub(super) static FOR_NODE: Object =
    object("io.k8s.api.discovery.v1.ForNode", &[f("name", Str).required()]);

pub(super) static FOR_ZONE: Object =
    object("io.k8s.api.discovery.v1.ForZone", &[f("name", Str).required()]);

pub(super) static ENDPOINT_HINTS: Object = object(
    "io.k8s.api.discovery.v1.EndpointHints",
    &[f("forNodes", Objects(&FOR_NODE)), f("forZones", Objects(&FOR_ZONE))],
);

pub(super) static ENDPOINT: Object = object(
    "io.k8s.api.discovery.v1.Endpoint",
    &[
        f("addresses", List(&Str)).required().set(),
        f("conditions", Obj(&ENDPOINT_CONDITIONS)),
        f("deprecatedTopology", Map(&Str)),
        f("hints", Obj(&ENDPOINT_HINTS)),
        f("hostname", Str),
        f("nodeName", Str),
        f("targetRef", Obj(&OBJECT_REFERENCE)),
        f("zone", Str),
    ],
);

pub(super) static SLICE_PORT: Object = object(
    "io.k8s.api.discovery.v1.EndpointPort",
    &[
        f("appProtocol", Str),
        f("name", Str).default(Lit::Str("")),
        f("port", Int32),
        f("protocol", Enum(&["TCP", "UDP", "SCTP"])).default(Lit::Str("TCP")),
    ],
);

pub(in crate::schema) static ENDPOINT_SLICE: Object = object(
    "io.k8s.api.discovery.v1.EndpointSlice",
    &[
        f("addressType", Enum(&["IPv4", "IPv6", "FQDN"])).required(),
        f("endpoints", Objects(&ENDPOINT)).required(),
        f("metadata", Obj(&OBJECT_META)),
        f("ports", Objects(&SLICE_PORT)),
    ],
);
