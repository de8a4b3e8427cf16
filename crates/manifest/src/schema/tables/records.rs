//! Event and Lease: what controllers write for others to read.

use super::{core::OBJECT_REFERENCE, meta::OBJECT_META};
use crate::schema::{
    Object,
    Type::{Int32, MicroTime, Object as Obj, Str, Time},
    f, object,
};

pub(super) static EVENT_SERIES: Object = object(
    "io.k8s.api.core.v1.EventSeries",
    &[f("count", Int32), f("lastObservedTime", MicroTime)],
);

pub(super) static EVENT_SOURCE: Object =
    object("io.k8s.api.core.v1.EventSource", &[f("component", Str), f("host", Str)]);

pub(in crate::schema) static EVENT: Object = object(
    "io.k8s.api.core.v1.Event",
    &[
        f("action", Str),
        f("count", Int32),
        f("eventTime", MicroTime),
        f("firstTimestamp", Time),
        f("involvedObject", Obj(&OBJECT_REFERENCE)).required(),
        f("lastTimestamp", Time),
        f("message", Str),
        f("metadata", Obj(&OBJECT_META)),
        f("reason", Str),
        f("related", Obj(&OBJECT_REFERENCE)),
        f("reportingComponent", Str),
        f("reportingInstance", Str),
        f("series", Obj(&EVENT_SERIES)),
        f("source", Obj(&EVENT_SOURCE)),
        f("type", Str),
    ],
);

pub(super) static EVENTS_EVENT_SERIES: Object = object(
    "io.k8s.api.events.v1.EventSeries",
    &[f("count", Int32).required(), f("lastObservedTime", MicroTime).required()],
);

pub(in crate::schema) static EVENTS_EVENT: Object = object(
    "io.k8s.api.events.v1.Event",
    &[
        f("action", Str),
        f("deprecatedCount", Int32),
        f("deprecatedFirstTimestamp", Time),
        f("deprecatedLastTimestamp", Time),
        f("deprecatedSource", Obj(&EVENT_SOURCE)),
        f("eventTime", MicroTime),
        f("metadata", Obj(&OBJECT_META)),
        f("note", Str),
        f("reason", Str),
        f("regarding", Obj(&OBJECT_REFERENCE)),
        f("related", Obj(&OBJECT_REFERENCE)),
        f("reportingController", Str),
        f("reportingInstance", Str),
        f("series", Obj(&EVENTS_EVENT_SERIES)),
        f("type", Str),
    ],
);

pub(super) static LEASE_SPEC: Object = object(
    "io.k8s.api.coordination.v1.LeaseSpec",
    &[
        f("acquireTime", MicroTime),
        f("holderIdentity", Str),
        f("leaseDurationSeconds", Int32),
        f("leaseTransitions", Int32),
        f("preferredHolder", Str),
        f("renewTime", MicroTime),
        f("strategy", Str),
    ],
);

pub(in crate::schema) static LEASE: Object = object(
    "io.k8s.api.coordination.v1.Lease",
    &[f("metadata", Obj(&OBJECT_META)), f("spec", Obj(&LEASE_SPEC))],
);
