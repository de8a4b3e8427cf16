//! Container, its environment and its probes.

use super::{
    pod::{RESOURCE_REQUIREMENTS, SECURITY_CONTEXT},
    volume::VOLUME_MOUNT,
};
use crate::schema::{
    Lit, Object,
    Type::{Any, Bool, Enum, Int32, Int64, IntOrStr, List, Object as Obj, Objects, Quantity, Str},
    f, object,
};

pub(super) static CONFIG_MAP_KEY_SELECTOR: Object = object(
    "io.k8s.api.core.v1.ConfigMapKeySelector",
    &[f("key", Str).required(), f("name", Str).required(), f("optional", Bool)],
);

pub(super) static OBJECT_FIELD_SELECTOR: Object = object(
    "io.k8s.api.core.v1.ObjectFieldSelector",
    &[f("apiVersion", Str).default(Lit::Str("v1")), f("fieldPath", Str).required()],
);

pub(super) static RESOURCE_FIELD_SELECTOR: Object = object(
    "io.k8s.api.core.v1.ResourceFieldSelector",
    &[
        f("containerName", Str),
        f("divisor", Quantity),
        f("resource", Str).required().only(
            &["limits.cpu", "limits.memory", "requests.cpu", "requests.memory"],
            "only processors and memory are counted",
        ),
    ],
);

pub(super) static SECRET_KEY_SELECTOR: Object = object(
    "io.k8s.api.core.v1.SecretKeySelector",
    &[f("key", Str).required(), f("name", Str).required(), f("optional", Bool)],
);

pub(super) static ENV_VAR_SOURCE: Object = object(
    "io.k8s.api.core.v1.EnvVarSource",
    &[
        f("configMapKeyRef", Obj(&CONFIG_MAP_KEY_SELECTOR)),
        f("fieldRef", Obj(&OBJECT_FIELD_SELECTOR)),
        f("resourceFieldRef", Obj(&RESOURCE_FIELD_SELECTOR)),
        f("secretKeyRef", Obj(&SECRET_KEY_SELECTOR)),
    ],
);

pub(super) static ENV_VAR: Object = object(
    "io.k8s.api.core.v1.EnvVar",
    &[f("name", Str).required(), f("value", Str), f("valueFrom", Obj(&ENV_VAR_SOURCE))],
);

pub(super) static CONFIG_MAP_ENV_SOURCE: Object = object(
    "io.k8s.api.core.v1.ConfigMapEnvSource",
    &[f("name", Str).required(), f("optional", Bool)],
);

pub(super) static SECRET_ENV_SOURCE: Object =
    object("io.k8s.api.core.v1.SecretEnvSource", &[f("name", Str).required(), f("optional", Bool)]);

pub(super) static ENV_FROM_SOURCE: Object = object(
    "io.k8s.api.core.v1.EnvFromSource",
    &[
        f("configMapRef", Obj(&CONFIG_MAP_ENV_SOURCE)),
        f("prefix", Str),
        f("secretRef", Obj(&SECRET_ENV_SOURCE)),
    ],
);

pub(super) static EXEC_ACTION: Object =
    object("io.k8s.api.core.v1.ExecAction", &[f("command", List(&Str))]);

pub(super) static GRPC_ACTION: Object = object(
    "io.k8s.api.core.v1.GRPCAction",
    &[f("port", Int32).required(), f("service", Str).default(Lit::Str(""))],
);

pub(super) static HTTP_HEADER: Object = object(
    "io.k8s.api.core.v1.HTTPHeader",
    &[f("name", Str).required(), f("value", Str).required()],
);

pub(super) static HTTP_GET_ACTION: Object = object(
    "io.k8s.api.core.v1.HTTPGetAction",
    &[
        f("host", Str),
        f("httpHeaders", Objects(&HTTP_HEADER)),
        f("path", Str).default(Lit::Str("/")),
        f("port", IntOrStr).required(),
        f("scheme", Enum(&["HTTP", "HTTPS"])).default(Lit::Str("HTTP")),
    ],
);

pub(super) static SLEEP_ACTION: Object =
    object("io.k8s.api.core.v1.SleepAction", &[f("seconds", Int64).required()]);

pub(super) static TCP_SOCKET_ACTION: Object =
    object("io.k8s.api.core.v1.TCPSocketAction", &[f("host", Str), f("port", IntOrStr).required()]);

pub(super) static LIFECYCLE_HANDLER: Object = object(
    "io.k8s.api.core.v1.LifecycleHandler",
    &[
        f("exec", Obj(&EXEC_ACTION)),
        f("httpGet", Obj(&HTTP_GET_ACTION)),
        f("sleep", Obj(&SLEEP_ACTION)),
        f("tcpSocket", Obj(&TCP_SOCKET_ACTION)).refused("hooks are `exec`, `httpGet` or `sleep`"),
    ],
);

pub(super) static LIFECYCLE: Object = object(
    "io.k8s.api.core.v1.Lifecycle",
    &[
        f("postStart", Obj(&LIFECYCLE_HANDLER)),
        f("preStop", Obj(&LIFECYCLE_HANDLER)),
        f("stopSignal", Str).ignored_unless(Lit::Str("SIGTERM"), "containers end by SIGTERM"),
    ],
);

pub(super) static PROBE: Object = object(
    "io.k8s.api.core.v1.Probe",
    &[
        f("exec", Obj(&EXEC_ACTION)),
        f("failureThreshold", Int32).default(Lit::Int(3)),
        f("grpc", Obj(&GRPC_ACTION)),
        f("httpGet", Obj(&HTTP_GET_ACTION)),
        f("initialDelaySeconds", Int32),
        f("periodSeconds", Int32).default(Lit::Int(10)),
        f("successThreshold", Int32).default(Lit::Int(1)),
        f("tcpSocket", Obj(&TCP_SOCKET_ACTION)),
        f("terminationGracePeriodSeconds", Int64),
        f("timeoutSeconds", Int32).default(Lit::Int(1)),
    ],
);

pub(super) static CONTAINER_PORT: Object = object(
    "io.k8s.api.core.v1.ContainerPort",
    &[
        f("containerPort", Int32).required(),
        f("hostIP", Str).ignored("ports are not published on the host; use port-forward"),
        f("hostPort", Int32).ignored("ports are not published on the host; use port-forward"),
        f("name", Str),
        f("protocol", Enum(&["TCP", "UDP", "SCTP"])).default(Lit::Str("TCP")),
    ],
);

pub(super) static CONTAINER_RESIZE_POLICY: Object = object(
    "io.k8s.api.core.v1.ContainerResizePolicy",
    &[f("resourceName", Str).required(), f("restartPolicy", Str).required()],
);

pub(super) static CONTAINER: Object = object(
    "io.k8s.api.core.v1.Container",
    &[
        f("args", List(&Str)),
        f("command", List(&Str)),
        f("env", Objects(&ENV_VAR)).merge(&["name"]),
        f("envFrom", Objects(&ENV_FROM_SOURCE)),
        f("image", Str),
        f("imagePullPolicy", Enum(&["Always", "IfNotPresent", "Never"])),
        f("lifecycle", Obj(&LIFECYCLE)),
        f("livenessProbe", Obj(&PROBE)),
        f("name", Str).required(),
        f("ports", Objects(&CONTAINER_PORT)).merge(&["containerPort", "protocol"]),
        f("readinessProbe", Obj(&PROBE)),
        f("resizePolicy", Objects(&CONTAINER_RESIZE_POLICY))
            .ignored("limits of a container that runs stay as they are"),
        f("resources", Obj(&RESOURCE_REQUIREMENTS)).default(Lit::Empty),
        f("restartPolicy", Str),
        f("securityContext", Obj(&SECURITY_CONTEXT)),
        f("startupProbe", Obj(&PROBE)),
        f("stdin", Bool),
        f("stdinOnce", Bool),
        f("terminationMessagePath", Str).default(Lit::Str("/dev/termination-log")),
        f("terminationMessagePolicy", Enum(&["File", "FallbackToLogsOnError"]))
            .default(Lit::Str("File")),
        f("tty", Bool),
        f("volumeDevices", List(&Any)).merge(&["devicePath"]).refused("there are no block devices"),
        f("volumeMounts", Objects(&VOLUME_MOUNT)).merge(&["mountPath"]),
        f("workingDir", Str),
    ],
);
