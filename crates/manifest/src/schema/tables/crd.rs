//! `apiextensions.k8s.io/v1`: CustomResourceDefinition.

use super::meta::OBJECT_META;
use crate::schema::{
    Lit, Object,
    Type::{Any, Bool, Enum, Int32, List, Object as Obj, Objects, Str},
    f, object,
};

pub(super) static CUSTOM_RESOURCE_CONVERSION: Object = object(
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceConversion",
    &[
        f("strategy", Enum(&["None", "Webhook"])).required().default(Lit::Str("None")),
        f("webhook", Any),
    ],
);

pub(super) static CUSTOM_RESOURCE_DEFINITION_NAMES: Object = object(
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinitionNames",
    &[
        f("categories", List(&Str)),
        f("kind", Str).required(),
        f("listKind", Str),
        f("plural", Str).required(),
        f("shortNames", List(&Str)),
        f("singular", Str),
    ],
);

pub(super) static CUSTOM_RESOURCE_COLUMN_DEFINITION: Object = object(
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceColumnDefinition",
    &[
        f("description", Str),
        f("format", Str),
        f("jsonPath", Str).required(),
        f("name", Str).required(),
        f("priority", Int32),
        f("type", Str).required(),
    ],
);

pub(super) static CUSTOM_RESOURCE_VALIDATION: Object = object(
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceValidation",
    &[f("openAPIV3Schema", Any)],
);

pub(super) static SELECTABLE_FIELD: Object = object(
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.SelectableField",
    &[f("jsonPath", Str).required()],
);

pub(super) static CUSTOM_RESOURCE_SUBRESOURCE_SCALE: Object = object(
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceSubresourceScale",
    &[
        f("labelSelectorPath", Str),
        f("specReplicasPath", Str).required(),
        f("statusReplicasPath", Str).required(),
    ],
);

pub(super) static CUSTOM_RESOURCE_SUBRESOURCES: Object = object(
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceSubresources",
    &[f("scale", Obj(&CUSTOM_RESOURCE_SUBRESOURCE_SCALE)), f("status", Any)],
);

pub(super) static CUSTOM_RESOURCE_DEFINITION_VERSION: Object = object(
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinitionVersion",
    &[
        f("additionalPrinterColumns", Objects(&CUSTOM_RESOURCE_COLUMN_DEFINITION)),
        f("deprecated", Bool),
        f("deprecationWarning", Str),
        f("name", Str).required(),
        f("schema", Obj(&CUSTOM_RESOURCE_VALIDATION)),
        f("selectableFields", Objects(&SELECTABLE_FIELD)),
        f("served", Bool).required(),
        f("storage", Bool).required(),
        f("subresources", Obj(&CUSTOM_RESOURCE_SUBRESOURCES)),
    ],
);

pub(super) static CUSTOM_RESOURCE_DEFINITION_SPEC: Object = object(
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinitionSpec",
    &[
        f("conversion", Obj(&CUSTOM_RESOURCE_CONVERSION)).default(Lit::Empty),
        f("group", Str).required(),
        f("names", Obj(&CUSTOM_RESOURCE_DEFINITION_NAMES)).required(),
        f("preserveUnknownFields", Bool),
        f("scope", Enum(&["Cluster", "Namespaced"])).required(),
        f("versions", Objects(&CUSTOM_RESOURCE_DEFINITION_VERSION)).required(),
    ],
);

pub(in crate::schema) static CUSTOM_RESOURCE_DEFINITION: Object = object(
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
    &[
        f("metadata", Obj(&OBJECT_META)),
        f("spec", Obj(&CUSTOM_RESOURCE_DEFINITION_SPEC)).required(),
        f("status", Any),
    ],
);
