//! `status` of a Pod.

use super::{pod::RESOURCE_REQUIREMENTS, volume::VOLUME_MOUNT_STATUS};
use crate::schema::{
    Object,
    Type::{Any, Bool, Int32, Int64, List, Map, Object as Obj, Objects, Quantity, Str, Time},
    f, object, open_object,
};

pub(super) static POD_CONDITION: Object = object(
    "io.k8s.api.core.v1.PodCondition",
    &[
        f("lastProbeTime", Time),
        f("lastTransitionTime", Time),
        f("message", Str),
        f("observedGeneration", Int64),
        f("reason", Str),
        f("status", Str).required(),
        f("type", Str).required(),
    ],
);

pub(super) static CONTAINER_STATE_RUNNING: Object =
    object("io.k8s.api.core.v1.ContainerStateRunning", &[f("startedAt", Time)]);

pub(super) static CONTAINER_STATE_TERMINATED: Object = object(
    "io.k8s.api.core.v1.ContainerStateTerminated",
    &[
        f("containerID", Str),
        f("exitCode", Int32).required(),
        f("finishedAt", Time),
        f("message", Str),
        f("reason", Str),
        f("signal", Int32),
        f("startedAt", Time),
    ],
);

pub(super) static CONTAINER_STATE_WAITING: Object =
    object("io.k8s.api.core.v1.ContainerStateWaiting", &[f("message", Str), f("reason", Str)]);

pub(super) static CONTAINER_STATE: Object = object(
    "io.k8s.api.core.v1.ContainerState",
    &[
        f("running", Obj(&CONTAINER_STATE_RUNNING)),
        f("terminated", Obj(&CONTAINER_STATE_TERMINATED)),
        f("waiting", Obj(&CONTAINER_STATE_WAITING)),
    ],
);

pub(super) static CONTAINER_STATUS: Object = open_object(
    "io.k8s.api.core.v1.ContainerStatus",
    &[
        f("allocatedResources", Map(&Quantity)),
        f("allocatedResourcesStatus", List(&Any)).merge(&["name"]),
        f("containerID", Str),
        f("image", Str).required(),
        f("imageID", Str).required(),
        f("lastState", Obj(&CONTAINER_STATE)),
        f("name", Str).required(),
        f("ready", Bool).required(),
        f("resources", Obj(&RESOURCE_REQUIREMENTS)),
        f("restartCount", Int32).required(),
        f("started", Bool),
        f("state", Obj(&CONTAINER_STATE)),
        f("stopSignal", Str),
        f("user", Any),
        f("volumeMounts", Objects(&VOLUME_MOUNT_STATUS)).merge(&["mountPath"]),
    ],
);

pub(super) static HOST_IP: Object = object("io.k8s.api.core.v1.HostIP", &[f("ip", Str).required()]);

pub(super) static POD_IP: Object = object("io.k8s.api.core.v1.PodIP", &[f("ip", Str).required()]);

pub(super) static POD_STATUS: Object = open_object(
    "io.k8s.api.core.v1.PodStatus",
    &[
        f("conditions", Objects(&POD_CONDITION)).merge(&["type"]),
        f("containerStatuses", Objects(&CONTAINER_STATUS)),
        f("ephemeralContainerStatuses", List(&Any)),
        f("hostIP", Str),
        f("hostIPs", Objects(&HOST_IP)).merge(&["ip"]),
        f("initContainerStatuses", Objects(&CONTAINER_STATUS)),
        f("message", Str),
        f("nominatedNodeName", Str),
        f("observedGeneration", Int64),
        f("phase", Str),
        f("podIP", Str),
        f("podIPs", Objects(&POD_IP)).merge(&["ip"]),
        f("qosClass", Str),
        f("reason", Str),
        f("resize", Str),
        f("resourceClaimStatuses", List(&Any)).merge(&["name"]),
        f("startTime", Time),
    ],
);
