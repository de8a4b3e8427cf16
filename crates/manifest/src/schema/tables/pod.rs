//! Pod, its template and its security context.

use super::{
    container::CONTAINER,
    core::LOCAL_OBJECT_REFERENCE,
    meta::OBJECT_META,
    schedule::{
        AFFINITY, HOST_ALIAS, POD_DNS_CONFIG, POD_OS, POD_READINESS_GATE, POD_SCHEDULING_GATE,
        TOLERATION, TOPOLOGY_SPREAD_CONSTRAINT,
    },
    status::POD_STATUS,
    volume::VOLUME,
};
use crate::schema::{
    Lit, Object,
    Type::{Any, Bool, Enum, Int32, Int64, List, Map, Object as Obj, Objects, Quantity, Str},
    f, object,
};

pub(super) static RESOURCE_CLAIM: Object =
    object("io.k8s.api.core.v1.ResourceClaim", &[f("name", Str).required(), f("request", Str)]);

pub(super) static RESOURCE_REQUIREMENTS: Object = object(
    "io.k8s.api.core.v1.ResourceRequirements",
    &[
        f("claims", Objects(&RESOURCE_CLAIM)).merge(&["name"]),
        f("limits", Map(&Quantity)),
        f("requests", Map(&Quantity)),
    ],
);

pub(super) static CAPABILITIES: Object = object(
    "io.k8s.api.core.v1.Capabilities",
    &[f("add", List(&Str)).ignored("containers keep no capabilities"), f("drop", List(&Str))],
);

pub(super) static SECCOMP_PROFILE: Object = object(
    "io.k8s.api.core.v1.SeccompProfile",
    &[
        f("localhostProfile", Str).refused("only the profile of the node is used"),
        f("type", Enum(&["RuntimeDefault", "Unconfined", "Localhost"]))
            .required()
            .only_warn(&["RuntimeDefault"], "every container gets the profile of the node"),
    ],
);

pub(super) static SECURITY_CONTEXT: Object = object(
    "io.k8s.api.core.v1.SecurityContext",
    &[
        f("allowPrivilegeEscalation", Bool)
            .ignored_unless(Lit::Bool(false), "containers never gain rights"),
        f("appArmorProfile", Any).refused(
            "AppArmor is not used, so the container would be less confined than asked for",
        ),
        f("capabilities", Obj(&CAPABILITIES)),
        f("privileged", Bool).ignored("containers never get the rights of the host"),
        f("procMount", Str)
            .ignored_unless(Lit::Str("Default"), "containers see the usual parts of /proc"),
        f("readOnlyRootFilesystem", Bool),
        f("runAsGroup", Int64),
        f("runAsNonRoot", Bool),
        f("runAsUser", Int64),
        f("seLinuxOptions", Any)
            .refused("SELinux is not used, so the container would be less confined than asked for"),
        f("seccompProfile", Obj(&SECCOMP_PROFILE)),
        f("windowsOptions", Any).refused("containers run on Linux"),
    ],
);

pub(super) static SYSCTL: Object =
    object("io.k8s.api.core.v1.Sysctl", &[f("name", Str).required(), f("value", Str).required()]);

pub(super) static POD_SECURITY_CONTEXT: Object = object(
    "io.k8s.api.core.v1.PodSecurityContext",
    &[
        f("appArmorProfile", Any)
            .refused("AppArmor is not used, so the pod would be less confined than asked for"),
        f("fsGroup", Int64).ignored("volumes belong to the user of the container"),
        f("fsGroupChangePolicy", Str).ignored("volumes belong to the user of the container"),
        f("runAsGroup", Int64),
        f("runAsNonRoot", Bool),
        f("runAsUser", Int64),
        f("seLinuxChangePolicy", Str)
            .refused("SELinux is not used, so the pod would be less confined than asked for"),
        f("seLinuxOptions", Any)
            .refused("SELinux is not used, so the pod would be less confined than asked for"),
        f("seccompProfile", Obj(&SECCOMP_PROFILE)),
        f("supplementalGroups", List(&Int64)).ignored("containers get no further groups"),
        f("supplementalGroupsPolicy", Str).ignored("containers get no further groups"),
        f("sysctls", Objects(&SYSCTL)).ignored("the node sets its own"),
        f("windowsOptions", Any).refused("pods run on Linux"),
    ],
);

pub(super) static POD_SPEC: Object = object(
    "io.k8s.api.core.v1.PodSpec",
    &[
        f("activeDeadlineSeconds", Int64),
        f("affinity", Obj(&AFFINITY)).ignored("this machine is the only node"),
        f("automountServiceAccountToken", Bool),
        f("containers", Objects(&CONTAINER)).required().merge(&["name"]),
        f("dnsConfig", Obj(&POD_DNS_CONFIG)).ignored("pods use the DNS of the mesh"),
        f("dnsPolicy", Enum(&["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]))
            .default(Lit::Str("ClusterFirst"))
            .only_warn(&["ClusterFirst"], "pods use the DNS of the mesh"),
        f("enableServiceLinks", Bool),
        f("ephemeralContainers", List(&Any))
            .merge(&["name"])
            .refused("ephemeral containers are not implemented"),
        f("hostAliases", Objects(&HOST_ALIAS))
            .merge(&["ip"])
            .ignored("pods use the DNS of the mesh"),
        f("hostIPC", Bool).refused("pods never share memory with the host"),
        f("hostNetwork", Bool)
            .refused("a pod on the network of the host has no sidecar in front of it"),
        f("hostPID", Bool).refused("pods never see the processes of the host"),
        f("hostUsers", Bool).ignored("pods always run in a user namespace of their own mesh"),
        f("hostname", Str).ignored("the host name is the name of the pod"),
        f("imagePullSecrets", Objects(&LOCAL_OBJECT_REFERENCE))
            .merge(&["name"])
            .ignored("images are built in, none is pulled"),
        f("initContainers", Objects(&CONTAINER)).merge(&["name"]),
        f("nodeName", Str),
        f("nodeSelector", Map(&Str)).ignored("this machine is the only node"),
        f("os", Obj(&POD_OS)).ignored("pods run on Linux"),
        f("overhead", Map(&Quantity)).ignored("limits are those of containers"),
        f("preemptionPolicy", Enum(&["PreemptLowerPriority", "Never"]))
            .ignored_unless(Lit::Str("PreemptLowerPriority"), "this machine is the only node"),
        f("priority", Int32).ignored("this machine is the only node"),
        f("priorityClassName", Str).ignored("this machine is the only node"),
        f("readinessGates", Objects(&POD_READINESS_GATE))
            .ignored("only probes decide whether a pod is ready"),
        f("resourceClaims", List(&Any)).merge(&["name"]).refused("there are no devices to claim"),
        f("resources", Obj(&RESOURCE_REQUIREMENTS)).ignored("limits are those of containers"),
        f("restartPolicy", Enum(&["Always", "OnFailure", "Never"])).default(Lit::Str("Always")),
        f("runtimeClassName", Str)
            .refused("there is no other container runtime to isolate the pod with"),
        f("schedulerName", Str)
            .default(Lit::Str("default-scheduler"))
            .ignored("this machine is the only node"),
        f("schedulingGates", Objects(&POD_SCHEDULING_GATE))
            .merge(&["name"])
            .ignored("pods start at once"),
        f("securityContext", Obj(&POD_SECURITY_CONTEXT)).default(Lit::Empty),
        f("serviceAccount", Str),
        f("serviceAccountName", Str),
        f("setHostnameAsFQDN", Bool).ignored("the host name is the name of the pod"),
        f("shareProcessNamespace", Bool).ignored("each container has its own process tree"),
        f("subdomain", Str).ignored("pods have no DNS names of their own"),
        f("terminationGracePeriodSeconds", Int64).default(Lit::Int(30)),
        f("tolerations", Objects(&TOLERATION)).ignored("this machine is the only node"),
        f("topologySpreadConstraints", Objects(&TOPOLOGY_SPREAD_CONSTRAINT))
            .merge(&["topologyKey", "whenUnsatisfiable"])
            .ignored("this machine is the only node"),
        f("volumes", Objects(&VOLUME)).merge(&["name"]).retain_keys(),
    ],
);

pub(in crate::schema) static POD: Object = object(
    "io.k8s.api.core.v1.Pod",
    &[f("metadata", Obj(&OBJECT_META)), f("spec", Obj(&POD_SPEC)), f("status", Obj(&POD_STATUS))],
);

pub(super) static POD_TEMPLATE_SPEC: Object = object(
    "io.k8s.api.core.v1.PodTemplateSpec",
    &[f("metadata", Obj(&OBJECT_META)), f("spec", Obj(&POD_SPEC))],
);
