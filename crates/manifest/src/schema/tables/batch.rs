//! `batch/v1`: Job.

use super::{
    meta::{LABEL_SELECTOR, OBJECT_META},
    pod::POD_TEMPLATE_SPEC,
};
use crate::schema::{
    Lit, Object,
    Type::{Any, Bool, Int32, Int64, List, Object as Obj, Objects, Str, Time},
    f, object,
};

pub(super) static JOB_SPEC: Object = object(
    "io.k8s.api.batch.v1.JobSpec",
    &[
        f("activeDeadlineSeconds", Int64),
        f("backoffLimit", Int32).default(Lit::Int(6)),
        f("backoffLimitPerIndex", Int32).refused("pods of a job have no index"),
        f("completionMode", Str)
            .default(Lit::Str("NonIndexed"))
            .only(&["NonIndexed"], "pods of a job have no index"),
        f("completions", Int32),
        f("managedBy", Str)
            .only(&["kubernetes.io/job-controller"], "there is no other controller of jobs"),
        f("manualSelector", Bool).refused("the selector is made from the uid of the job"),
        f("maxFailedIndexes", Int32).refused("pods of a job have no index"),
        f("parallelism", Int32),
        f("podFailurePolicy", Any).refused("every failure of a pod counts for `backoffLimit`"),
        f("podReplacementPolicy", Str)
            .only(&["TerminatingOrFailed"], "pods are replaced as soon as they are told to end"),
        f("selector", Obj(&LABEL_SELECTOR)),
        f("successPolicy", Any).refused("a job succeeds with its completions"),
        f("suspend", Bool).default(Lit::Bool(false)),
        f("template", Obj(&POD_TEMPLATE_SPEC)).required(),
        f("ttlSecondsAfterFinished", Int32),
    ],
);

pub(super) static JOB_CONDITION: Object = object(
    "io.k8s.api.batch.v1.JobCondition",
    &[
        f("lastProbeTime", Time),
        f("lastTransitionTime", Time),
        f("message", Str),
        f("reason", Str),
        f("status", Str).required(),
        f("type", Str).required(),
    ],
);

pub(super) static UNCOUNTED_TERMINATED_PODS: Object = object(
    "io.k8s.api.batch.v1.UncountedTerminatedPods",
    &[f("failed", List(&Str)).set(), f("succeeded", List(&Str)).set()],
);

pub(super) static JOB_STATUS: Object = object(
    "io.k8s.api.batch.v1.JobStatus",
    &[
        f("active", Int32),
        f("completedIndexes", Str),
        f("completionTime", Time),
        f("conditions", Objects(&JOB_CONDITION)).merge(&["type"]),
        f("failed", Int32),
        f("failedIndexes", Str),
        f("ready", Int32),
        f("startTime", Time),
        f("succeeded", Int32),
        f("terminating", Int32),
        f("uncountedTerminatedPods", Obj(&UNCOUNTED_TERMINATED_PODS)),
    ],
);

pub(in crate::schema) static JOB: Object = object(
    "io.k8s.api.batch.v1.Job",
    &[f("metadata", Obj(&OBJECT_META)), f("spec", Obj(&JOB_SPEC)), f("status", Obj(&JOB_STATUS))],
);
