//! `networking.istio.io` ServiceEntry: services that Kubernetes does not know.

use super::{istio::ISTIO_STATUS, meta::OBJECT_META};
use crate::schema::{
    Object,
    Type::{Any, Enum, Int32, List, Map, Object as Obj, Objects, Str},
    f, object,
};

const RESOLUTION: &str = "a host is looked up for each connection, and all its addresses are used";
const TLS: &str = "the sidecar passes TLS of the application on, and verifies none of its own";
const ONE_NETWORK: &str = "endpoints are used in turn, wherever they are";

static PORT: Object = object(
    "istio.networking.v1alpha3.ServicePort",
    &[
        f("name", Str).required().doc("Name of the port."),
        f("number", Int32).required().doc("Port that clients connect to."),
        f("protocol", Enum(PROTOCOLS)).doc("What is spoken there."),
        f("targetPort", Int32).doc("Port of the endpoints, if it is another one."),
    ],
);

static ENDPOINT: Object = object(
    "istio.networking.v1alpha3.WorkloadEntry",
    &[
        f("address", Str).required().doc("Address, or name with the resolution DNS."),
        f("labels", Map(&Str)).ignored("there are no subsets to select by them"),
        f("locality", Str).ignored(ONE_NETWORK),
        f("network", Str).ignored(ONE_NETWORK),
        f("ports", Map(&Int32)).doc("Ports by the names of the service's."),
        f("serviceAccount", Str).refused("endpoints of an entry are not called with mutual TLS"),
        f("weight", Int32).ignored(ONE_NETWORK),
    ],
);

static SPEC: Object = object(
    "istio.networking.v1alpha3.ServiceEntry",
    &[
        f("addresses", List(&Str)).at_most(256).doc("Addresses that clients connect to."),
        f("endpoints", Objects(&ENDPOINT)).at_most(4096).doc("Servers."),
        f("exportTo", List(&Str)).doc("Namespaces that see it."),
        f("hosts", List(&Str)).required().at_most(256).doc("Names."),
        f("location", Enum(&["MESH_EXTERNAL", "MESH_INTERNAL"]))
            .doc("Whether it is part of the mesh."),
        f("ports", Objects(&PORT)).at_most(256).doc("Ports."),
        f("resolution", Enum(&["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"]))
            .only(&["NONE", "STATIC", "DNS"], RESOLUTION)
            .doc("How servers are found."),
        f("subjectAltNames", List(&Str)).refused(TLS),
        f("workloadSelector", Any).refused("pods are found by Services"),
    ],
);

pub(in crate::schema) static SERVICE_ENTRY: Object = object(
    "io.istio.networking.v1.ServiceEntry",
    &[
        f("metadata", Obj(&OBJECT_META)),
        f("spec", Obj(&SPEC)).doc("A service that Kubernetes does not know."),
        f("status", Obj(&ISTIO_STATUS)),
    ],
);

const PROTOCOLS: &[&str] =
    &["HTTP", "HTTPS", "GRPC", "GRPC-WEB", "HTTP2", "MONGO", "MYSQL", "REDIS", "TCP", "TLS"];
