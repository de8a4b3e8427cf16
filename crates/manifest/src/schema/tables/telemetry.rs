//! `telemetry.istio.io` Telemetry: which requests have spans, and where they go.

use super::{
    istio::{ISTIO_STATUS, TARGET_REF, WAYPOINTS, WORKLOAD_SELECTOR},
    meta::OBJECT_META,
};
use crate::schema::{
    Object,
    Type::{Any, Bool, Enum, List, Map, Number, Object as Obj, Objects, Str},
    f, object,
};

const FIXED: &str = "of a Telemetry `tracing` is implemented";
const FORMATTER: &str =
    "a tag is a literal, a variable of the environment or a field of the request";

static LITERAL: Object =
    object("istio.telemetry.v1alpha1.Tracing.Literal", &[f("value", Str).required()]);

static SOURCE: Object = object(
    "istio.telemetry.v1alpha1.Tracing.Source",
    &[f("defaultValue", Str).doc("The value where there is none."), f("name", Str).required()],
);

/// A tag of all spans, also of `MeshConfig`.
pub(super) static CUSTOM_TAG: Object = object(
    "istio.telemetry.v1alpha1.Tracing.CustomTag",
    &[
        f("environment", Obj(&SOURCE)).doc("A variable of the sidecar's environment."),
        f("formatter", Any).refused(FORMATTER),
        f("header", Obj(&SOURCE)).doc("A field of the request."),
        f("literal", Obj(&LITERAL)).doc("This value."),
    ],
);

static MATCH: Object = object(
    "istio.telemetry.v1alpha1.Tracing.TracingSelector",
    &[f("mode", Enum(&["CLIENT_AND_SERVER", "CLIENT", "SERVER"]))
        .doc("Whether it is about requests of the workload, or to it.")],
);

static PROVIDER_REF: Object =
    object("istio.telemetry.v1alpha1.ProviderRef", &[f("name", Str).required()]);

static TRACING: Object = object(
    "istio.telemetry.v1alpha1.Tracing",
    &[
        f("customTags", Map(&Obj(&CUSTOM_TAG))).doc("Tags of all spans."),
        f("disableContextPropagation", Bool).doc("Whether fields of requests stay as they are."),
        f("disableSpanReporting", Bool).doc("Whether there are no spans."),
        f("enableIstioTags", Bool).doc("Whether spans have the tags `istio.*`."),
        f("match", Obj(&MATCH)).doc("Which requests it is about."),
        f("providers", Objects(&PROVIDER_REF)).doc("Where spans go: the first counts."),
        f("randomSamplingPercentage", Number)
            .doc("Of a hundred new traces, how many are recorded."),
        f("useRequestIdForTraceSampling", Bool)
            .doc("Whether x-request-id decides which traces are recorded."),
    ],
);

static SPEC: Object = object(
    "istio.telemetry.v1alpha1.Telemetry",
    &[
        f("accessLogging", List(&Any)).ignored(FIXED),
        f("metrics", List(&Any)).ignored(FIXED),
        f("selector", Obj(&WORKLOAD_SELECTOR)).doc("Workloads it is for."),
        f("targetRef", Obj(&TARGET_REF)).refused(WAYPOINTS),
        f("targetRefs", Objects(&TARGET_REF)).refused(WAYPOINTS),
        f("tracing", Objects(&TRACING)).doc("Which requests have spans, and where they go."),
    ],
);

pub(in crate::schema) static TELEMETRY: Object = object(
    "io.istio.telemetry.v1.Telemetry",
    &[
        f("metadata", Obj(&OBJECT_META)),
        f("spec", Obj(&SPEC)).doc("Which requests have spans, and where they go."),
        f("status", Obj(&ISTIO_STATUS)),
    ],
);
