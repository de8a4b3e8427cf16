//! `meta/v1`: what every object carries, and label selectors.

use crate::schema::{
    Object,
    Type::{Any, Bool, Enum, Int64, List, Map, Objects, Str, Time},
    f, object,
};

pub(super) static OWNER_REFERENCE: Object = object(
    "io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference",
    &[
        f("apiVersion", Str).required(),
        f("blockOwnerDeletion", Bool),
        f("controller", Bool),
        f("kind", Str).required(),
        f("name", Str).required(),
        f("uid", Str).required(),
    ],
);

pub(super) static OBJECT_META: Object = object(
    "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
    &[
        f("annotations", Map(&Str)),
        f("creationTimestamp", Time),
        f("deletionGracePeriodSeconds", Int64),
        f("deletionTimestamp", Time),
        f("finalizers", List(&Str)).set(),
        f("generateName", Str),
        f("generation", Int64),
        f("labels", Map(&Str)),
        f("managedFields", List(&Any)),
        f("name", Str),
        f("namespace", Str),
        f("ownerReferences", Objects(&OWNER_REFERENCE)).merge(&["uid"]),
        f("resourceVersion", Str),
        f("selfLink", Str),
        f("uid", Str),
    ],
);

pub(super) static CONDITION: Object = object(
    "io.k8s.apimachinery.pkg.apis.meta.v1.Condition",
    &[
        f("lastTransitionTime", Time).required(),
        f("message", Str).required(),
        f("observedGeneration", Int64),
        f("reason", Str).required(),
        f("status", Str).required(),
        f("type", Str).required(),
    ],
);

pub(super) static LABEL_SELECTOR_REQUIREMENT: Object = object(
    "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelectorRequirement",
    &[
        f("key", Str).required(),
        f("operator", Enum(&["In", "NotIn", "Exists", "DoesNotExist"])).required(),
        f("values", List(&Str)),
    ],
);

pub(super) static LABEL_SELECTOR: Object = object(
    "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector",
    &[f("matchExpressions", Objects(&LABEL_SELECTOR_REQUIREMENT)), f("matchLabels", Map(&Str))],
);
