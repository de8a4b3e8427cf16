//! The documents that are made from the tables say what kubectl and API servers look for.
#![expect(clippy::unwrap_used, reason = "a test stops where it can't go on")]

use std::collections::BTreeSet;

use palisade_manifest::{crds, openapi_v3, schema};
use serde_json::{Value, json};

fn documents() -> Vec<(String, String, Value)> {
    let groups: BTreeSet<(&str, &str)> = schema::kinds()
        .iter()
        .flat_map(|kind| kind.versions.iter().map(|version| (kind.group, *version)))
        .collect();
    groups
        .into_iter()
        .map(|(group, version)| {
            (group.to_owned(), version.to_owned(), openapi_v3(group, version).unwrap())
        })
        .collect()
}

fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn every_reference_of_a_document_leads_somewhere() {
    for (group, version, document) in documents() {
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            let name = reference.strip_prefix("#/components/schemas/").unwrap();
            let schema = &document["components"]["schemas"][name];
            assert_eq!(schema["type"], "object", "{group}/{version}: {name}");
        }
    }
}

#[test]
fn kubectl_finds_schema_patch_types_and_field_validation_of_each_kind() {
    for kind in schema::kinds() {
        for version in kind.versions {
            let document = openapi_v3(kind.group, version).unwrap();
            let gvk = json!({"group": kind.group, "version": version, "kind": kind.kind});
            let schemas = document["components"]["schemas"].as_object().unwrap();
            let ours = schemas
                .values()
                .filter(|schema| schema["x-kubernetes-group-version-kind"] == json!([gvk]));
            assert_eq!(ours.count(), 1, "{gvk}");
            let paths = document["paths"].as_object().unwrap();
            let patches: Vec<&Value> = paths
                .values()
                .map(|path| &path["patch"])
                .filter(|patch| patch["x-kubernetes-group-version-kind"] == gvk)
                .collect();
            let [patch] = patches.as_slice() else { panic!("{gvk} has no patch") };
            let parameters = patch["parameters"].as_array().unwrap();
            for name in ["fieldValidation", "dryRun"] {
                let found = parameters.iter().any(|at| at["name"] == name && at["in"] == "query");
                assert!(found, "{gvk}: {name}");
            }
            let strategic =
                &patch["requestBody"]["content"]["application/strategic-merge-patch+json"];
            assert_eq!(strategic.is_null(), kind.custom, "{gvk}");
        }
    }
    assert_eq!(openapi_v3("apps", "v1beta1"), None);
}

#[test]
fn fields_are_in_order_and_stand_once() {
    fn check(object: &'static schema::Object, seen: &mut BTreeSet<&'static str>) {
        if !seen.insert(object.name) {
            return;
        }
        let names: Vec<&str> = object.fields.iter().map(|field| field.name).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(names, sorted, "{}", object.name);
        for field in object.fields {
            if let schema::Type::Object(inner) | schema::Type::Objects(inner) = field.ty {
                check(inner, seen);
            }
        }
    }
    let mut seen = BTreeSet::new();
    schema::kinds().iter().for_each(|kind| check(kind.schema, &mut seen));
    assert!(seen.len() > 100);
}

#[test]
fn definitions_of_istio_have_its_names_versions_and_columns() {
    let shown: Vec<String> = crds()
        .iter()
        .map(|crd| {
            let spec = &crd["spec"];
            let list = |value: &Value, key: &str| {
                let items = value.as_array().unwrap();
                let names: Vec<&str> = items
                    .iter()
                    .map(|item| item.as_str().or_else(|| item[key].as_str()).unwrap())
                    .collect();
                names.join(",")
            };
            format!(
                "{} {} {} {}",
                crd["metadata"]["name"].as_str().unwrap(),
                list(&spec["names"]["shortNames"], ""),
                list(&spec["versions"], "name"),
                list(&spec["versions"][0]["additionalPrinterColumns"], "name"),
            )
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r"
    peerauthentications.security.istio.io pa v1,v1beta1 Mode,Age
    authorizationpolicies.security.istio.io ap v1,v1beta1 Action,Age
    requestauthentications.security.istio.io ra v1,v1beta1 Age
    destinationrules.networking.istio.io dr v1,v1alpha3,v1beta1 Host,Age
    serviceentries.networking.istio.io se v1,v1alpha3,v1beta1 Hosts,Location,Resolution,Age
    telemetries.telemetry.istio.io telemetry v1,v1alpha1 Age
    virtualservices.networking.istio.io vs v1,v1alpha3,v1beta1 Gateways,Hosts,Age
    ");
}

#[test]
fn a_definition_has_the_whole_schema_in_place() {
    let crds = crds();
    let crd = crds.iter().find(|crd| crd["spec"]["names"]["kind"] == "PeerAuthentication").unwrap();
    insta::assert_json_snapshot!(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]);
}
