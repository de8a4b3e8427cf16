//! Istio's MeshConfig, from the YAML in key `mesh` of ConfigMap `istio`, as far as Palisade acts on
//! it. Settings that it does not act on are warned about by name.

use std::{collections::BTreeMap, str::FromStr};

use palisade_manifest::read;
use palisade_model::Refusal;
use palisade_types::Mesh;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The settings of a ConfigMap, and the names of those that have no effect.
pub(super) fn mesh_config(config_map: &Value) -> Result<(Mesh, Vec<String>), Refusal> {
    let text = config_map.pointer("/data/mesh").and_then(Value::as_str).unwrap_or_default();
    parse(text).map_err(|reason| Refusal { reason, selector: None })
}

fn parse(text: &str) -> Result<(Mesh, Vec<String>), String> {
    let (documents, problems) = read(text);
    if let Some(problem) = problems.iter().find(|problem| problem.is_error()) {
        return Err(format!("key `mesh` can't be read: {}", problem.message));
    }
    let value = match documents.as_slice() {
        [] => Value::Object(Map::new()),
        [document] => document.to_value(),
        _ => return Err("key `mesh` holds several documents".to_owned()),
    };
    let Value::Object(mut settings) = value else {
        return Err("key `mesh` is no object".to_owned());
    };
    let mut mesh = Mesh::default();
    if let Some(name) = take::<String>(&mut settings, "rootNamespace")? {
        mesh.root_namespace = name;
    }
    if let Some(domain) = take::<String>(&mut settings, "trustDomain")? {
        mesh.trust_domain = parsed(&domain)?;
    }
    for alias in take::<Vec<String>>(&mut settings, "trustDomainAliases")?.unwrap_or_default() {
        mesh.trust_domain_aliases.push(parsed(&alias)?);
    }
    if let Some(value) = inner(&mut settings, "pathNormalization", "normalization")? {
        mesh.path_normalization = value;
    }
    if let Some(value) = inner(&mut settings, "outboundTrafficPolicy", "mode")? {
        mesh.outbound_traffic_policy = value;
    }
    if let Some(file) = take::<String>(&mut settings, "accessLogFile")? {
        mesh.access_log_file = file;
    }
    let mut ignored: Vec<String> = settings.into_iter().map(|(name, _)| name).collect();
    ignored.sort();
    Ok((mesh, ignored))
}

fn take<T: DeserializeOwned>(
    settings: &mut Map<String, Value>,
    name: &str,
) -> Result<Option<T>, String> {
    let Some(value) = settings.remove(name).filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    serde_json::from_value(value).map(Some).map_err(|error| format!("`{name}`: {error}"))
}

/// The single field of a setting that is an object; other fields of it are refused, since they could
/// mean anything.
fn inner<T: DeserializeOwned>(
    settings: &mut Map<String, Value>,
    name: &str,
    field: &str,
) -> Result<Option<T>, String> {
    let mut fields: BTreeMap<String, Value> = take(settings, name)?.unwrap_or_default();
    let value = fields.remove(field);
    if let Some(other) = fields.keys().next() {
        return Err(format!("`{name}.{other}` is not supported"));
    }
    value
        .map(serde_json::from_value)
        .transpose()
        .map_err(|error| format!("`{name}.{field}`: {error}"))
}

fn parsed<T: FromStr<Err = palisade_types::IdentityError>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: palisade_types::IdentityError| error.to_string())
}

#[cfg(test)]
mod tests {
    use palisade_types::{OutboundTrafficPolicy, PathNormalization};

    use super::*;

    #[test]
    fn settings_are_read_as_istio_writes_them() {
        let text = "
            rootNamespace: mesh-root
            trustDomain: example.com
            trustDomainAliases: [old.example.com]
            pathNormalization: {normalization: MERGE_SLASHES}
            outboundTrafficPolicy: {mode: REGISTRY_ONLY}
            accessLogFile: /dev/stdout
            enablePrometheusMerge: true
            defaultConfig: {discoveryAddress: istiod:15012}
        ";
        let (mesh, ignored) = parse(text).unwrap();
        assert_eq!(mesh.root_namespace, "mesh-root");
        assert_eq!(mesh.trust_domains().count(), 2);
        assert_eq!(mesh.path_normalization, PathNormalization::MergeSlashes);
        assert_eq!(mesh.outbound_traffic_policy, OutboundTrafficPolicy::RegistryOnly);
        assert_eq!(mesh.access_log_file, "/dev/stdout");
        assert_eq!(ignored, ["defaultConfig", "enablePrometheusMerge"]);
        assert_eq!(parse("").unwrap(), (Mesh::default(), Vec::new()));
    }

    #[test]
    fn a_setting_that_means_nothing_refuses_them_all() {
        for text in [
            "trustDomain: Not A Domain",
            "pathNormalization: {normalization: SOMETIMES}",
            "pathNormalization: {normalisation: BASE}",
            "outboundTrafficPolicy: REGISTRY_ONLY",
            "rootNamespace: [a]",
            "- a",
            "a: b: c",
            "{}\n---\n{}",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
