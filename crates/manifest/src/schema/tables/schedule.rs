//! Where a pod may run and what it finds in its files: known, and mostly without effect on one machine.

use super::meta::LABEL_SELECTOR;
use crate::schema::{
    Object,
    Type::{Enum, Int32, Int64, List, Object as Obj, Objects, Str},
    f, object,
};

pub(super) static NODE_SELECTOR_REQUIREMENT: Object = object(
    "io.k8s.api.core.v1.NodeSelectorRequirement",
    &[f("key", Str).required(), f("operator", Str).required(), f("values", List(&Str))],
);

pub(super) static NODE_SELECTOR_TERM: Object = object(
    "io.k8s.api.core.v1.NodeSelectorTerm",
    &[
        f("matchExpressions", Objects(&NODE_SELECTOR_REQUIREMENT)),
        f("matchFields", Objects(&NODE_SELECTOR_REQUIREMENT)),
    ],
);

pub(super) static PREFERRED_SCHEDULING_TERM: Object = object(
    "io.k8s.api.core.v1.PreferredSchedulingTerm",
    &[f("preference", Obj(&NODE_SELECTOR_TERM)).required(), f("weight", Int32).required()],
);

pub(super) static NODE_SELECTOR: Object = object(
    "io.k8s.api.core.v1.NodeSelector",
    &[f("nodeSelectorTerms", Objects(&NODE_SELECTOR_TERM)).required()],
);

pub(super) static NODE_AFFINITY: Object = object(
    "io.k8s.api.core.v1.NodeAffinity",
    &[
        f("preferredDuringSchedulingIgnoredDuringExecution", Objects(&PREFERRED_SCHEDULING_TERM)),
        f("requiredDuringSchedulingIgnoredDuringExecution", Obj(&NODE_SELECTOR)),
    ],
);

pub(super) static POD_AFFINITY_TERM: Object = object(
    "io.k8s.api.core.v1.PodAffinityTerm",
    &[
        f("labelSelector", Obj(&LABEL_SELECTOR)),
        f("matchLabelKeys", List(&Str)),
        f("mismatchLabelKeys", List(&Str)),
        f("namespaceSelector", Obj(&LABEL_SELECTOR)),
        f("namespaces", List(&Str)),
        f("topologyKey", Str).required(),
    ],
);

pub(super) static WEIGHTED_POD_AFFINITY_TERM: Object = object(
    "io.k8s.api.core.v1.WeightedPodAffinityTerm",
    &[f("podAffinityTerm", Obj(&POD_AFFINITY_TERM)).required(), f("weight", Int32).required()],
);

pub(super) static POD_AFFINITY: Object = object(
    "io.k8s.api.core.v1.PodAffinity",
    &[
        f("preferredDuringSchedulingIgnoredDuringExecution", Objects(&WEIGHTED_POD_AFFINITY_TERM)),
        f("requiredDuringSchedulingIgnoredDuringExecution", Objects(&POD_AFFINITY_TERM)),
    ],
);

pub(super) static POD_ANTI_AFFINITY: Object = object(
    "io.k8s.api.core.v1.PodAntiAffinity",
    &[
        f("preferredDuringSchedulingIgnoredDuringExecution", Objects(&WEIGHTED_POD_AFFINITY_TERM)),
        f("requiredDuringSchedulingIgnoredDuringExecution", Objects(&POD_AFFINITY_TERM)),
    ],
);

pub(super) static AFFINITY: Object = object(
    "io.k8s.api.core.v1.Affinity",
    &[
        f("nodeAffinity", Obj(&NODE_AFFINITY)),
        f("podAffinity", Obj(&POD_AFFINITY)),
        f("podAntiAffinity", Obj(&POD_ANTI_AFFINITY)),
    ],
);

pub(super) static POD_DNS_CONFIG_OPTION: Object =
    object("io.k8s.api.core.v1.PodDNSConfigOption", &[f("name", Str), f("value", Str)]);

pub(super) static POD_DNS_CONFIG: Object = object(
    "io.k8s.api.core.v1.PodDNSConfig",
    &[
        f("nameservers", List(&Str)),
        f("options", Objects(&POD_DNS_CONFIG_OPTION)),
        f("searches", List(&Str)),
    ],
);

pub(super) static HOST_ALIAS: Object =
    object("io.k8s.api.core.v1.HostAlias", &[f("hostnames", List(&Str)), f("ip", Str).required()]);

pub(super) static POD_OS: Object = object("io.k8s.api.core.v1.PodOS", &[f("name", Str).required()]);

pub(super) static POD_READINESS_GATE: Object =
    object("io.k8s.api.core.v1.PodReadinessGate", &[f("conditionType", Str).required()]);

pub(super) static POD_SCHEDULING_GATE: Object =
    object("io.k8s.api.core.v1.PodSchedulingGate", &[f("name", Str).required()]);

pub(super) static TOLERATION: Object = object(
    "io.k8s.api.core.v1.Toleration",
    &[
        f("effect", Enum(&["NoSchedule", "PreferNoSchedule", "NoExecute"])),
        f("key", Str),
        f("operator", Enum(&["Exists", "Equal"])),
        f("tolerationSeconds", Int64),
        f("value", Str),
    ],
);

pub(super) static TOPOLOGY_SPREAD_CONSTRAINT: Object = object(
    "io.k8s.api.core.v1.TopologySpreadConstraint",
    &[
        f("labelSelector", Obj(&LABEL_SELECTOR)),
        f("matchLabelKeys", List(&Str)),
        f("maxSkew", Int32).required(),
        f("minDomains", Int32),
        f("nodeAffinityPolicy", Str),
        f("nodeTaintsPolicy", Str),
        f("topologyKey", Str).required(),
        f("whenUnsatisfiable", Str).required(),
    ],
);
