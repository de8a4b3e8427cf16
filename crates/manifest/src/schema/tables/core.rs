//! Namespace, ServiceAccount, ConfigMap and Secret.

use super::meta::OBJECT_META;
use crate::schema::{
    Lit, Object,
    Type::{Bool, Bytes, List, Map, Object as Obj, Objects, Str, Time},
    f, object, open_object,
};

pub(super) static NAMESPACE_SPEC: Object =
    object("io.k8s.api.core.v1.NamespaceSpec", &[f("finalizers", List(&Str))]);

pub(super) static NAMESPACE_CONDITION: Object = object(
    "io.k8s.api.core.v1.NamespaceCondition",
    &[
        f("lastTransitionTime", Time),
        f("message", Str),
        f("reason", Str),
        f("status", Str).required(),
        f("type", Str).required(),
    ],
);

pub(super) static NAMESPACE_STATUS: Object = open_object(
    "io.k8s.api.core.v1.NamespaceStatus",
    &[f("conditions", Objects(&NAMESPACE_CONDITION)).merge(&["type"]), f("phase", Str)],
);

pub(in crate::schema) static NAMESPACE: Object = object(
    "io.k8s.api.core.v1.Namespace",
    &[
        f("metadata", Obj(&OBJECT_META)),
        f("spec", Obj(&NAMESPACE_SPEC)),
        f("status", Obj(&NAMESPACE_STATUS)),
    ],
);

pub(super) static LOCAL_OBJECT_REFERENCE: Object =
    object("io.k8s.api.core.v1.LocalObjectReference", &[f("name", Str).required()]);

pub(super) static OBJECT_REFERENCE: Object = object(
    "io.k8s.api.core.v1.ObjectReference",
    &[
        f("apiVersion", Str),
        f("fieldPath", Str),
        f("kind", Str),
        f("name", Str),
        f("namespace", Str),
        f("resourceVersion", Str),
        f("uid", Str),
    ],
);

pub(in crate::schema) static SERVICE_ACCOUNT: Object = object(
    "io.k8s.api.core.v1.ServiceAccount",
    &[
        f("automountServiceAccountToken", Bool),
        f("imagePullSecrets", Objects(&LOCAL_OBJECT_REFERENCE))
            .ignored("images are built in, none is pulled"),
        f("metadata", Obj(&OBJECT_META)),
        f("secrets", Objects(&OBJECT_REFERENCE))
            .merge(&["name"])
            .ignored("tokens are issued on request and never stored"),
    ],
);

pub(in crate::schema) static CONFIG_MAP: Object = object(
    "io.k8s.api.core.v1.ConfigMap",
    &[
        f("binaryData", Map(&Bytes)),
        f("data", Map(&Str)),
        f("immutable", Bool),
        f("metadata", Obj(&OBJECT_META)),
    ],
);

pub(in crate::schema) static SECRET: Object = object(
    "io.k8s.api.core.v1.Secret",
    &[
        f("data", Map(&Bytes)),
        f("immutable", Bool),
        f("metadata", Obj(&OBJECT_META)),
        f("stringData", Map(&Str)),
        f("type", Str).default(Lit::Str("Opaque")),
    ],
);
