//! `networking.istio.io` VirtualService, as far as requests stay with the host that they are for, and the retry
//! policy that it shares with the mesh's settings.

use super::{istio::ISTIO_STATUS, meta::OBJECT_META};
use crate::schema::{
    Object,
    Type::{Any, Bool, Duration, Int32, List, Map, Object as Obj, Objects, Str},
    f, object,
};

const ROUTING: &str = "of a VirtualService `hosts`, `exportTo` and of its `http` routes `match`, `timeout`, `retries` \
    and one destination, the host itself, are implemented";
const MATCH: &str = "requests are matched by `uri`, `method` and `headers`";
const SUBSETS: &str = "requests go to all endpoints of the host";

pub(super) static HTTP_RETRY: Object = object(
    "istio.networking.v1alpha3.HTTPRetry",
    &[
        f("attempts", Int32).doc("Most attempts after the first one; 0 for none."),
        f("backoff", Duration).doc("Longest pause before the first retry; 25ms."),
        f("perTryTimeout", Duration).doc("How long an attempt may take."),
        f("retryIgnorePreviousHosts", Bool)
            .doc("Whether endpoints that were tried are left out; true."),
        f("retryOn", Str).doc("Conditions and statuses, with commas between."),
        f("retryRemoteLocalities", Bool).ignored("all endpoints are in one place"),
    ],
);

static STRING_MATCH: Object = object(
    "istio.networking.v1alpha3.StringMatch",
    &[
        f("exact", Str).doc("The text itself."),
        f("prefix", Str).doc("How it begins."),
        f("regex", Str).doc("A regular expression for all of it."),
    ],
);

static HTTP_MATCH: Object = object(
    "istio.networking.v1alpha3.HTTPMatchRequest",
    &[
        f("authority", Any).refused(MATCH),
        f("gateways", List(&Str)).refused("name the gateways of the whole object"),
        f("headers", Map(&Obj(&STRING_MATCH))).doc("Fields by name."),
        f("ignoreUriCase", Bool).doc("Whether the case of the path makes no difference."),
        f("method", Obj(&STRING_MATCH)).doc("The method."),
        f("name", Str).doc("A name for people."),
        f("port", Int32).refused(MATCH),
        f("queryParams", Any).refused(MATCH),
        f("scheme", Any).refused(MATCH),
        f("sourceLabels", Any).refused(MATCH),
        f("sourceNamespace", Str).refused(MATCH),
        f("statPrefix", Str).ignored("metrics have Istio's names"),
        f("uri", Obj(&STRING_MATCH)).doc("The normalised path, without query."),
        f("withoutHeaders", Any).refused(MATCH),
    ],
);

static PORT_SELECTOR: Object = object(
    "istio.networking.v1alpha3.PortSelector",
    &[f("number", Int32).required().doc("Port of the service.")],
);

static DESTINATION: Object = object(
    "istio.networking.v1alpha3.Destination",
    &[
        f("host", Str).required().doc("The host itself."),
        f("port", Obj(&PORT_SELECTOR)).doc("Its port; the one that was called."),
        f("subset", Str).refused(SUBSETS),
    ],
);

static ROUTE_DESTINATION: Object = object(
    "istio.networking.v1alpha3.HTTPRouteDestination",
    &[
        f("destination", Obj(&DESTINATION)).required().doc("Where requests go."),
        f("headers", Any).refused(ROUTING),
        f("weight", Int32).doc("Says nothing about a single destination."),
    ],
);

static HTTP_ROUTE: Object = object(
    "istio.networking.v1alpha3.HTTPRoute",
    &[
        f("corsPolicy", Any).refused(ROUTING),
        f("delegate", Any).refused(ROUTING),
        f("directResponse", Any).refused(ROUTING),
        f("fault", Any).refused(ROUTING),
        f("headers", Any).refused(ROUTING),
        f("match", Objects(&HTTP_MATCH)).doc("Requests it is for, of which one must match."),
        f("mirror", Any).refused(ROUTING),
        f("mirrorPercent", Any).refused(ROUTING),
        f("mirrorPercentage", Any).refused(ROUTING),
        f("mirrors", Any).refused(ROUTING),
        f("name", Str).doc("A name for people."),
        f("redirect", Any).refused(ROUTING),
        f("retries", Obj(&HTTP_RETRY)).doc("When a request is sent again."),
        f("rewrite", Any).refused(ROUTING),
        f("route", Objects(&ROUTE_DESTINATION)).doc("Where requests go."),
        f("timeout", Duration).doc("How long a request may take; no limit."),
    ],
);

static SPEC: Object = object(
    "istio.networking.v1alpha3.VirtualService",
    &[
        f("exportTo", List(&Str)).doc("Namespaces whose clients it is for."),
        f("gateways", List(&Str)).doc("Where it holds; `mesh` are sidecars."),
        f("hosts", List(&Str)).required().doc("Hosts that it is about."),
        f("http", Objects(&HTTP_ROUTE)).doc("Routes, of which the first that matches decides."),
        f("tcp", List(&Any)).refused(ROUTING),
        f("tls", List(&Any)).refused(ROUTING),
    ],
);

pub(in crate::schema) static VIRTUAL_SERVICE: Object = object(
    "io.istio.networking.v1.VirtualService",
    &[
        f("metadata", Obj(&OBJECT_META)),
        f("spec", Obj(&SPEC)).doc("How requests to a host are treated."),
        f("status", Obj(&ISTIO_STATUS)),
    ],
);
