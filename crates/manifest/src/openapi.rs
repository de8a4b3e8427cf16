//! The tables as OpenAPI v3 documents and as schemas of CustomResourceDefinitions.
//!
//! The documents have what kubectl reads: schemas by group, version and kind with merge keys, and
//! for each kind a PATCH operation that says which patches and which query parameters it takes.

use serde_json::{Map, Value, json};

use crate::schema::{self, Field, Kind, Merge, Object, Type};

/// The OpenAPI v3 document of a group and version; none if nothing is served there.
#[must_use]
pub fn openapi_v3(group: &str, version: &str) -> Option<Value> {
    let mut schemas = Map::new();
    let mut paths = Map::new();
    for kind in schema::kinds() {
        if kind.group == group && kind.versions.contains(&version) {
            kind_schema(kind, version, &mut schemas);
            kind_paths(kind, version, &mut paths);
        }
    }
    (!paths.is_empty()).then(|| {
        json!({
            "openapi": "3.0.0",
            "info": {"title": "Palisade", "version": version},
            "paths": paths,
            "components": {"schemas": schemas},
        })
    })
}

/// The schema of a kind with everything in place, as a CustomResourceDefinition has it.
pub(crate) fn structural(object: &Object) -> Value {
    object_schema(object, &mut Refs::Inline)
}

/// Where the schema of an object goes.
enum Refs<'a> {
    /// Into the place of use.
    Inline,
    /// Into the document's components, with a reference at the place of use.
    Components(&'a mut Map<String, Value>),
}

fn kind_schema(kind: &Kind, version: &str, schemas: &mut Map<String, Value>) {
    let mut schema = object_schema(kind.schema, &mut Refs::Components(schemas));
    if let Some(fields) = schema.as_object_mut() {
        fields.insert("x-kubernetes-group-version-kind".to_owned(), json!([gvk(kind, version)]));
        if let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert("apiVersion".to_owned(), json!({"type": "string"}));
            properties.insert("kind".to_owned(), json!({"type": "string"}));
        }
    }
    schemas.insert(component(kind, version), schema);
}

/// Name of the component; the tables name the stored version.
fn component(kind: &Kind, version: &str) -> String {
    let stored = kind.versions.first().copied().unwrap_or_default();
    kind.schema.name.replace(&format!(".{stored}."), &format!(".{version}."))
}

fn gvk(kind: &Kind, version: &str) -> Value {
    json!({"group": kind.group, "version": version, "kind": kind.kind})
}

fn object_schema(object: &Object, refs: &mut Refs<'_>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in object.fields {
        let inline = matches!(refs, Refs::Inline);
        if inline && object.name.starts_with("io.istio.") && field.name == "metadata" {
            continue;
        }
        properties.insert(field.name.to_owned(), field_schema(field, refs));
        if field.required {
            required.push(field.name);
        }
    }
    let mut schema = json!({"type": "object"});
    if !properties.is_empty() {
        schema["properties"] = properties.into();
    }
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    if object.open {
        schema["x-kubernetes-preserve-unknown-fields"] = true.into();
    }
    schema
}

fn field_schema(field: &Field, refs: &mut Refs<'_>) -> Value {
    let inline = matches!(refs, Refs::Inline);
    let mut schema = type_schema(field.ty, refs);
    if !field.doc.is_empty() {
        schema["description"] = field.doc.into();
    }
    if let Some(most) = field.max_items {
        schema["maxItems"] = most.into();
    }
    if let Some(default) = field.default.filter(|_| !inline) {
        schema["default"] = default.to_value();
    }
    match field.merge {
        Merge::Default => {}
        Merge::Set => {
            schema["x-kubernetes-list-type"] = "set".into();
            schema["x-kubernetes-patch-strategy"] = "merge".into();
        }
        Merge::Map { keys, retain_keys } => {
            let strategy = if retain_keys { "merge,retainKeys" } else { "merge" };
            schema["x-kubernetes-list-type"] = "map".into();
            schema["x-kubernetes-list-map-keys"] = keys.into();
            schema["x-kubernetes-patch-merge-key"] = keys.first().copied().into();
            schema["x-kubernetes-patch-strategy"] = strategy.into();
        }
        Merge::RetainKeys => schema["x-kubernetes-patch-strategy"] = "retainKeys".into(),
    }
    schema
}

fn type_schema(ty: Type, refs: &mut Refs<'_>) -> Value {
    match ty {
        Type::Any => json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
        Type::Bool => json!({"type": "boolean"}),
        Type::Bytes => json!({"type": "string", "format": "byte"}),
        Type::Enum(values) => json!({"type": "string", "enum": values}),
        Type::Int32 => json!({"type": "integer", "format": "int32"}),
        Type::Int64 => json!({"type": "integer", "format": "int64"}),
        Type::IntOrStr | Type::Quantity => json!({
            "x-kubernetes-int-or-string": true,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
        }),
        Type::List(item) => json!({"type": "array", "items": type_schema(*item, refs)}),
        Type::Map(item) => {
            json!({"type": "object", "additionalProperties": type_schema(*item, refs)})
        }
        Type::MicroTime | Type::Time => json!({"type": "string", "format": "date-time"}),
        Type::Number => json!({"type": "number"}),
        Type::Object(object) => reference(object, refs),
        Type::Objects(object) => json!({"type": "array", "items": reference(object, refs)}),
        Type::Duration | Type::Str => json!({"type": "string"}),
    }
}

fn reference(object: &Object, refs: &mut Refs<'_>) -> Value {
    let Refs::Components(schemas) = refs else { return object_schema(object, refs) };
    if !schemas.contains_key(object.name) {
        schemas.insert(object.name.to_owned(), Value::Null);
        let schema = object_schema(object, &mut Refs::Components(schemas));
        schemas.insert(object.name.to_owned(), schema);
    }
    json!({"allOf": [{"$ref": format!("#/components/schemas/{}", object.name)}]})
}

fn kind_paths(kind: &Kind, version: &str, paths: &mut Map<String, Value>) {
    let root = if kind.group.is_empty() {
        format!("/api/{version}")
    } else {
        format!("/apis/{}/{version}", kind.group)
    };
    let plural = kind.names.plural;
    let collection = if kind.namespaced {
        format!("{root}/namespaces/{{namespace}}/{plural}")
    } else {
        format!("{root}/{plural}")
    };
    let schema = format!("#/components/schemas/{}", component(kind, version));
    let operation = |action: &str, parameters: &[&str]| {
        let parameters: Vec<Value> = parameters
            .iter()
            .map(|name| {
                json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}})
            })
            .collect();
        json!({
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": gvk(kind, version),
            "parameters": parameters,
            "responses": {"200": {
                "description": "OK",
                "content": {"application/json": {"schema": {"$ref": schema}}},
            }},
        })
    };
    let write = ["dryRun", "fieldManager", "fieldValidation"];
    let mut patch = operation("patch", &["dryRun", "fieldManager", "fieldValidation", "force"]);
    patch["requestBody"] = json!({"required": true, "content": patch_types(kind)});
    paths.insert(
        collection.clone(),
        json!({"get": operation("list", &["labelSelector", "fieldSelector", "watch"]), "post": operation("post", &write)}),
    );
    paths.insert(
        format!("{collection}/{{name}}"),
        json!({
            "get": operation("get", &[]),
            "put": operation("put", &write),
            "patch": patch,
            "delete": operation("delete", &["dryRun", "propagationPolicy"]),
        }),
    );
}

/// Custom resources take no strategic merge patches, on a cluster as here.
fn patch_types(kind: &Kind) -> Value {
    let body = json!({"schema": {"type": "object"}});
    let mut types = Map::new();
    types.insert("application/apply-patch+yaml".to_owned(), body.clone());
    types.insert("application/json-patch+json".to_owned(), body.clone());
    types.insert("application/merge-patch+json".to_owned(), body.clone());
    if !kind.custom {
        types.insert("application/strategic-merge-patch+json".to_owned(), body);
    }
    types.into()
}
