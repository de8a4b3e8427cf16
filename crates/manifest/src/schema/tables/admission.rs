//! `admissionregistration.k8s.io/v1`: webhook configurations.

use super::meta::{LABEL_SELECTOR, OBJECT_META};
use crate::schema::{
    Lit, Object,
    Type::{Any, Bytes, Enum, Int32, List, Object as Obj, Objects, Str},
    f, object,
};

pub(super) static WEBHOOK_SERVICE: Object = object(
    "io.k8s.api.admissionregistration.v1.ServiceReference",
    &[f("name", Str).required(), f("namespace", Str).required(), f("path", Str), f("port", Int32)],
);

pub(super) static WEBHOOK_CLIENT_CONFIG: Object = object(
    "io.k8s.api.admissionregistration.v1.WebhookClientConfig",
    &[f("caBundle", Bytes), f("service", Obj(&WEBHOOK_SERVICE)), f("url", Str)],
);

pub(super) static RULE_WITH_OPERATIONS: Object = object(
    "io.k8s.api.admissionregistration.v1.RuleWithOperations",
    &[
        f("apiGroups", List(&Str)),
        f("apiVersions", List(&Str)),
        f("operations", List(&Enum(&["CREATE", "UPDATE", "DELETE", "CONNECT", "*"]))),
        f("resources", List(&Str)),
        f("scope", Enum(&["Cluster", "Namespaced", "*"])).default(Lit::Str("*")),
    ],
);

pub(super) static MUTATING_WEBHOOK: Object = object("io.k8s.api.admissionregistration.v1.MutatingWebhook", &[
    f("admissionReviewVersions", List(&Str)).required(),
    f("clientConfig", Obj(&WEBHOOK_CLIENT_CONFIG)).required(),
    f("failurePolicy", Enum(&["Ignore", "Fail"])).default(Lit::Str("Fail")),
    f("matchConditions", List(&Any)).merge(&["name"]).refused("CEL is not evaluated, so the webhook would be called for other requests than asked for"),
    f("matchPolicy", Enum(&["Exact", "Equivalent"])).default(Lit::Str("Equivalent")),
    f("name", Str).required(),
    f("namespaceSelector", Obj(&LABEL_SELECTOR)).default(Lit::Empty),
    f("objectSelector", Obj(&LABEL_SELECTOR)).default(Lit::Empty),
    f("reinvocationPolicy", Enum(&["Never", "IfNeeded"])).default(Lit::Str("Never")).ignored("each webhook is called once"),
    f("rules", Objects(&RULE_WITH_OPERATIONS)),
    f("sideEffects", Enum(&["None", "NoneOnDryRun"])).required(),
    f("timeoutSeconds", Int32).default(Lit::Int(10)),
]);

pub(in crate::schema) static MUTATING_WEBHOOK_CONFIGURATION: Object = object(
    "io.k8s.api.admissionregistration.v1.MutatingWebhookConfiguration",
    &[f("metadata", Obj(&OBJECT_META)), f("webhooks", Objects(&MUTATING_WEBHOOK)).merge(&["name"])],
);

pub(super) static VALIDATING_WEBHOOK: Object = object("io.k8s.api.admissionregistration.v1.ValidatingWebhook", &[
    f("admissionReviewVersions", List(&Str)).required(),
    f("clientConfig", Obj(&WEBHOOK_CLIENT_CONFIG)).required(),
    f("failurePolicy", Enum(&["Ignore", "Fail"])).default(Lit::Str("Fail")),
    f("matchConditions", List(&Any)).merge(&["name"]).refused("CEL is not evaluated, so the webhook would be called for other requests than asked for"),
    f("matchPolicy", Enum(&["Exact", "Equivalent"])).default(Lit::Str("Equivalent")),
    f("name", Str).required(),
    f("namespaceSelector", Obj(&LABEL_SELECTOR)).default(Lit::Empty),
    f("objectSelector", Obj(&LABEL_SELECTOR)).default(Lit::Empty),
    f("rules", Objects(&RULE_WITH_OPERATIONS)),
    f("sideEffects", Enum(&["None", "NoneOnDryRun"])).required(),
    f("timeoutSeconds", Int32).default(Lit::Int(10)),
]);

pub(in crate::schema) static VALIDATING_WEBHOOK_CONFIGURATION: Object = object(
    "io.k8s.api.admissionregistration.v1.ValidatingWebhookConfiguration",
    &[
        f("metadata", Obj(&OBJECT_META)),
        f("webhooks", Objects(&VALIDATING_WEBHOOK)).merge(&["name"]),
    ],
);
