//! `apps/v1`: Deployment and ReplicaSet.

use super::{
    meta::{LABEL_SELECTOR, OBJECT_META},
    pod::POD_TEMPLATE_SPEC,
};
use crate::schema::{
    Lit, Object,
    Type::{Bool, Enum, Int32, Int64, IntOrStr, Object as Obj, Objects, Str, Time},
    f, object,
};

pub(super) static REPLICA_SET_SPEC: Object = object(
    "io.k8s.api.apps.v1.ReplicaSetSpec",
    &[
        f("minReadySeconds", Int32),
        f("replicas", Int32).default(Lit::Int(1)),
        f("selector", Obj(&LABEL_SELECTOR)).required(),
        f("template", Obj(&POD_TEMPLATE_SPEC)).required(),
    ],
);

pub(super) static REPLICA_SET_CONDITION: Object = object(
    "io.k8s.api.apps.v1.ReplicaSetCondition",
    &[
        f("lastTransitionTime", Time),
        f("message", Str),
        f("reason", Str),
        f("status", Str).required(),
        f("type", Str).required(),
    ],
);

pub(super) static REPLICA_SET_STATUS: Object = object(
    "io.k8s.api.apps.v1.ReplicaSetStatus",
    &[
        f("availableReplicas", Int32),
        f("conditions", Objects(&REPLICA_SET_CONDITION)).merge(&["type"]),
        f("fullyLabeledReplicas", Int32),
        f("observedGeneration", Int64),
        f("readyReplicas", Int32),
        f("replicas", Int32).required(),
        f("terminatingReplicas", Int32),
    ],
);

pub(in crate::schema) static REPLICA_SET: Object = object(
    "io.k8s.api.apps.v1.ReplicaSet",
    &[
        f("metadata", Obj(&OBJECT_META)),
        f("spec", Obj(&REPLICA_SET_SPEC)),
        f("status", Obj(&REPLICA_SET_STATUS)),
    ],
);

pub(super) static ROLLING_UPDATE_DEPLOYMENT: Object = object(
    "io.k8s.api.apps.v1.RollingUpdateDeployment",
    &[
        f("maxSurge", IntOrStr).default(Lit::Str("25%")),
        f("maxUnavailable", IntOrStr).default(Lit::Str("25%")),
    ],
);

pub(super) static DEPLOYMENT_STRATEGY: Object = object(
    "io.k8s.api.apps.v1.DeploymentStrategy",
    &[
        f("rollingUpdate", Obj(&ROLLING_UPDATE_DEPLOYMENT)),
        f("type", Enum(&["Recreate", "RollingUpdate"])).default(Lit::Str("RollingUpdate")),
    ],
);

pub(super) static DEPLOYMENT_SPEC: Object = object(
    "io.k8s.api.apps.v1.DeploymentSpec",
    &[
        f("minReadySeconds", Int32),
        f("paused", Bool),
        f("progressDeadlineSeconds", Int32).default(Lit::Int(600)),
        f("replicas", Int32).default(Lit::Int(1)),
        f("revisionHistoryLimit", Int32).default(Lit::Int(10)),
        f("selector", Obj(&LABEL_SELECTOR)).required(),
        f("strategy", Obj(&DEPLOYMENT_STRATEGY)).retain_keys().default(Lit::Empty),
        f("template", Obj(&POD_TEMPLATE_SPEC)).required(),
    ],
);

pub(super) static DEPLOYMENT_CONDITION: Object = object(
    "io.k8s.api.apps.v1.DeploymentCondition",
    &[
        f("lastTransitionTime", Time),
        f("lastUpdateTime", Time),
        f("message", Str),
        f("reason", Str),
        f("status", Str).required(),
        f("type", Str).required(),
    ],
);

pub(super) static DEPLOYMENT_STATUS: Object = object(
    "io.k8s.api.apps.v1.DeploymentStatus",
    &[
        f("availableReplicas", Int32),
        f("collisionCount", Int32),
        f("conditions", Objects(&DEPLOYMENT_CONDITION)).merge(&["type"]),
        f("observedGeneration", Int64),
        f("readyReplicas", Int32),
        f("replicas", Int32),
        f("terminatingReplicas", Int32),
        f("unavailableReplicas", Int32),
        f("updatedReplicas", Int32),
    ],
);

pub(in crate::schema) static DEPLOYMENT: Object = object(
    "io.k8s.api.apps.v1.Deployment",
    &[
        f("metadata", Obj(&OBJECT_META)),
        f("spec", Obj(&DEPLOYMENT_SPEC)),
        f("status", Obj(&DEPLOYMENT_STATUS)),
    ],
);
