//! What an API server fills in: the tables' defaults, and those that depend on other fields.

use serde_json::{Map, Value, json};

use crate::schema::{self, Object, Type};

/// Fills in the defaults of a known kind; other objects stay as they are.
///
/// Fields that are `null` are removed from built-in kinds, as typed storage does; times stay. What an API
/// server allocates (cluster addresses, names, tokens) is not done here.
pub fn apply_defaults(object: &mut Value) {
    let Some(kind) = schema::kind_of(object) else { return };
    if kind.kind.custom {
        return;
    }
    let Some(fields) = object.as_object_mut() else { return };
    fill(kind.kind.schema, fields);
    match kind.kind.kind {
        "Job" => job(fields),
        "Pod" => pod(fields),
        "Namespace" => namespace(fields),
        "Secret" => secret(fields),
        _ => {}
    }
}

fn fill(object: &Object, fields: &mut Map<String, Value>) {
    let metadata = object.name.ends_with(".ObjectMeta");
    fields.retain(|key, value| {
        let time =
            object.field(key).is_some_and(|field| matches!(field.ty, Type::Time | Type::MicroTime));
        !value.is_null() || (time && !metadata)
    });
    for field in object.fields {
        if let Some(default) = field.default {
            fields.entry(field.name).or_insert_with(|| default.to_value());
        }
    }
    dependent(object.name, fields);
    for field in object.fields.iter().filter(|field| field.name != "status") {
        let Some(value) = fields.get_mut(field.name) else { continue };
        match (field.ty, value) {
            (Type::Object(object), Value::Object(fields)) => fill(object, fields),
            (Type::Objects(object), Value::Array(items)) => {
                for fields in items.iter_mut().filter_map(Value::as_object_mut) {
                    fill(object, fields);
                }
            }
            _ => {}
        }
    }
}

/// Defaults that depend on other fields of the same object.
fn dependent(object: &str, fields: &mut Map<String, Value>) {
    match object.rsplit('.').next().unwrap_or_default() {
        "Container" => image_pull_policy(fields),
        "CustomResourceDefinitionNames" => crd_names(fields),
        "DeploymentStrategy" if is(fields, "type", "RollingUpdate") => {
            fields.entry("rollingUpdate").or_insert_with(|| json!({}));
        }
        "JobSpec" => {
            fields.entry("podReplacementPolicy").or_insert_with(|| "TerminatingOrFailed".into());
            if !fields.contains_key("parallelism") {
                fields.entry("completions").or_insert_with(|| 1.into());
                fields.insert("parallelism".to_owned(), 1.into());
            }
        }
        "PodSpec" => service_account(fields),
        "ServicePort" => {
            if let Some(port) = fields.get("port").cloned() {
                fields.entry("targetPort").or_insert(port);
            }
        }
        "ServiceReference" => {
            fields.entry("port").or_insert_with(|| json!(443));
        }
        "ServiceSpec" => service(fields),
        "Volume" if fields.len() == 1 => {
            fields.insert("emptyDir".to_owned(), json!({}));
        }
        _ => {}
    }
}

fn is(fields: &Map<String, Value>, key: &str, text: &str) -> bool {
    fields.get(key).and_then(Value::as_str) == Some(text)
}

/// `Always` for images that can change under their name.
fn image_pull_policy(fields: &mut Map<String, Value>) {
    let image = fields.get("image").and_then(Value::as_str).unwrap_or_default();
    let name = image.rsplit('/').next().unwrap_or_default();
    let moves = !name.contains('@') && name.split_once(':').is_none_or(|(_, tag)| tag == "latest");
    let policy = if moves { "Always" } else { "IfNotPresent" };
    fields.entry("imagePullPolicy").or_insert_with(|| policy.into());
}

/// The old and the new name of the service account say the same.
fn service_account(fields: &mut Map<String, Value>) {
    let name = ["serviceAccountName", "serviceAccount"].iter().find_map(|key| {
        fields.get(*key).and_then(Value::as_str).filter(|name| !name.is_empty()).map(str::to_owned)
    });
    if let Some(name) = name {
        fields.insert("serviceAccountName".to_owned(), name.clone().into());
        fields.insert("serviceAccount".to_owned(), name.into());
    }
}

fn service(fields: &mut Map<String, Value>) {
    if is(fields, "type", "ExternalName") {
        return;
    }
    fields.entry("ipFamilies").or_insert_with(|| json!(["IPv4"]));
    fields.entry("ipFamilyPolicy").or_insert_with(|| "SingleStack".into());
    fields.entry("internalTrafficPolicy").or_insert_with(|| "Cluster".into());
}

fn crd_names(fields: &mut Map<String, Value>) {
    let Some(kind) = fields.get("kind").and_then(Value::as_str).map(str::to_owned) else { return };
    fields.entry("listKind").or_insert_with(|| format!("{kind}List").into());
    fields.entry("singular").or_insert_with(|| kind.to_lowercase().into());
}

/// A job without numbers runs one pod to its end, and is labelled as its pods are.
fn job(fields: &mut Map<String, Value>) {
    let labels =
        fields.get("spec").and_then(|spec| spec.pointer("/template/metadata/labels")).cloned();
    if let Some(labels) = labels {
        object_at(fields, "metadata").entry("labels").or_insert(labels);
    }
}

fn pod(fields: &mut Map<String, Value>) {
    if let Some(spec) = fields.get_mut("spec").and_then(Value::as_object_mut) {
        spec.entry("enableServiceLinks").or_insert_with(|| true.into());
    }
}

fn namespace(fields: &mut Map<String, Value>) {
    object_at(fields, "spec").entry("finalizers").or_insert_with(|| json!(["kubernetes"]));
    object_at(fields, "status").entry("phase").or_insert_with(|| "Active".into());
    let metadata = object_at(fields, "metadata");
    if let Some(name) = metadata.get("name").cloned() {
        object_at(metadata, "labels").insert("kubernetes.io/metadata.name".to_owned(), name);
    }
}

/// `stringData` is a way to write `data`, and is never stored.
fn secret(fields: &mut Map<String, Value>) {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let Some(Value::Object(texts)) = fields.shift_remove("stringData") else { return };
    let data = object_at(fields, "data");
    for (key, text) in texts {
        let encoded = STANDARD.encode(text.as_str().unwrap_or_default());
        data.insert(key, encoded.into());
    }
}

/// The object at a key, made if there is none.
#[expect(clippy::expect_used, reason = "the value was made an object on the line before")]
fn object_at<'a>(fields: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let value = fields.entry(key).or_insert(Value::Null);
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().expect("made an object above")
}
