//! Tracing: the collectors among the `extensionProviders`, which of them is the default, and what
//! `defaultConfig` says.

use std::time::Duration;

use palisade_types::{ExportProtocol, MeshTracing, Sampling, TracingProvider, TracingServiceName};

use super::providers::{Named, named};
use crate::{
    Content, TagValue,
    check::custom_tags,
    codes,
    place::{Place, Report},
    value::go_duration,
};

/// All of it; what is wrong goes to `report`.
pub(super) fn take(root: &Place<'_>, report: &mut Report) -> MeshTracing {
    let providers: Vec<TracingProvider> = root
        .list("extensionProviders")
        .filter_map(|entry| {
            let settings = entry.get("opentelemetry")?;
            Some(provider(&entry, &settings, report))
        })
        .collect();
    let mut tracing = MeshTracing { providers, ..MeshTracing::default() };
    default_provider(root, &mut tracing, report);
    if let Some(place) = root.get("enableTracing").filter(|_| root.is_true("enableTracing"))
        && tracing.providers.is_empty()
    {
        let message = "`enableTracing` is ignored: no provider `opentelemetry` takes spans";
        let help = "define one in `extensionProviders` and name it in `defaultProviders.tracing`";
        report.warn(codes::IGNORED, &place, message, help);
    }
    if let Some(config) = root.get("defaultConfig") {
        default_config(&config, &mut tracing, report);
    }
    tracing
}

fn default_provider(root: &Place<'_>, tracing: &mut MeshTracing, report: &mut Report) {
    let named = root.walk(&["defaultProviders", "tracing"]);
    let mut names = named.iter().flat_map(Place::items);
    let Some(first) = names.next() else { return };
    let name = first.node.text().unwrap_or_default();
    let known = |it: &TracingProvider| it.name.eq_ignore_ascii_case(name);
    if !tracing.providers.iter().any(known) {
        let message = format!("there is no provider `{name}` that takes spans, so there are none");
        let help = "define it in `extensionProviders`, with `opentelemetry`";
        report.warn(codes::REFERENCE, &first, message, help);
    }
    if let Some(second) = names.next() {
        let message = "of several providers only the first gets spans";
        report.warn(codes::INERT, &second, message, "name one provider");
    }
    tracing.default_provider = Some(name.to_owned());
}

fn provider(entry: &Place<'_>, settings: &Place<'_>, report: &mut Report) -> TracingProvider {
    let Named { name, namespace, service, port } = named(entry, settings, report);
    let http = settings.get("http");
    let grpc = settings.get("grpc");
    let (protocol, transport, fields) = match &http {
        Some(http) => (ExportProtocol::Http(path(http, report)), Some(http), "headers"),
        None => (ExportProtocol::Grpc, grpc.as_ref(), "initialMetadata"),
    };
    let timeout = transport.and_then(|it| go_duration(it.text("timeout")));
    let headers = transport.map_or_else(Vec::new, |it| headers(it, fields, report));
    TracingProvider {
        name,
        service,
        namespace,
        port,
        protocol,
        timeout: timeout.filter(|it| !it.is_zero()).unwrap_or(DEFAULT_TIMEOUT),
        headers,
        max_tag_length: number(settings, "maxTagLength", report),
        trouble: None,
    }
}

fn path(http: &Place<'_>, report: &mut Report) -> String {
    let path = http.text("path");
    if !path.is_empty() && !path.starts_with('/') {
        report.error(codes::FORM, http, "`path` does not begin with `/`");
    }
    if path.is_empty() { "/".to_owned() } else { path.to_owned() }
}

fn headers(transport: &Place<'_>, list: &str, report: &mut Report) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for header in transport.list(list) {
        let name = header.text("name").to_ascii_lowercase();
        if name.is_empty() || !name.bytes().all(is_field_name) {
            report.error(codes::NAME, &header, format!("`{name}` is no name of a header"));
        }
        headers.push((name, header.text("value").to_owned()));
    }
    headers
}

fn is_field_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn number(parent: &Place<'_>, field: &str, report: &mut Report) -> Option<u32> {
    let number = parent.int(field)?;
    if number < 0 {
        report.error(codes::RANGE, parent, format!("`{field}` is below 0"));
    }
    u32::try_from(number).ok().filter(|number| *number > 0)
}

fn default_config(config: &Place<'_>, tracing: &mut MeshTracing, report: &mut Report) {
    tracing.service_name = match config.text("tracingServiceName") {
        "CANONICAL_NAME_ONLY" => TracingServiceName::CanonicalNameOnly,
        "CANONICAL_NAME_AND_NAMESPACE" => TracingServiceName::CanonicalNameAndNamespace,
        _ => TracingServiceName::AppLabelAndNamespace,
    };
    let Some(settings) = config.get("tracing") else { return };
    if let Some(place) = settings.get("sampling")
        && let Content::Number(number) = &place.node.value
        && let Some(percentage) = number.as_f64()
    {
        if !(0.0..=100.0).contains(&percentage) {
            report.error(codes::RANGE, &place, "`sampling` is 0 to 100");
        }
        // In Istio 0 is the default too; who wants no spans says so in a Telemetry.
        if percentage > 0.0 {
            tracing.sampling = Sampling::percent(percentage);
        }
    }
    tracing.max_path_tag_length = number(&settings, "maxPathTagLength", report);
    custom_tags(&settings, report);
    for (name, tag) in settings.get("customTags").iter().flat_map(Place::entries) {
        let tag = serde_json::from_value::<TagValue>(tag.node.to_value()).unwrap_or_default();
        tracing.custom_tags.extend(tag.tag().map(|tag| (name.to_owned(), tag)));
    }
}

/// OpenTelemetry's default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use crate::mesh_config;

    #[test]
    fn collectors_and_defaults_are_taken_as_they_are_written() {
        let (mesh, problems) = mesh_config(
            "enableTracing: true
defaultProviders: {tracing: [Otel]}
defaultConfig:
  tracingServiceName: CANONICAL_NAME_ONLY
  tracing:
    sampling: 12.5
    maxPathTagLength: 64
    customTags: {zone: {literal: {value: a}}, who: {header: {name: x-who, defaultValue: nobody}}}
extensionProviders:
- name: otel
  opentelemetry: {service: otel.tools.svc.cluster.local, port: 4317, maxTagLength: 99}
- name: web
  opentelemetry:
    service: tools/otel.tools.svc.cluster.local
    port: 4318
    http: {path: /v1/traces, timeout: 2s, headers: [{name: X-Token, value: secret}]}
",
        );
        assert_eq!(problems, []);
        insta::assert_json_snapshot!(mesh.tracing);
    }

    #[test]
    fn what_has_no_effect_or_makes_no_sense_is_named() {
        let provider = |settings: &str| {
            format!("extensionProviders: [{{name: p, opentelemetry: {settings}}}]")
        };
        for (text, code) in [
            ("enableTracing: true".to_owned(), "PAL0018"),
            ("defaultProviders: {tracing: [p]}".to_owned(), "PAL0026"),
            ("defaultConfig: {concurrency: 2}".to_owned(), "PAL0018"),
            ("defaultConfig: {tracing: {zipkin: {address: a}}}".to_owned(), "PAL0018"),
            ("defaultConfig: {tracing: {sampling: 101}}".to_owned(), "PAL0022"),
            ("defaultConfig: {tracng: {}}".to_owned(), "PAL0013"),
            (provider("{service: a.b, port: 0}"), "PAL0024"),
            (provider("{service: a.b, port: 1, resourceDetectors: {environment: {}}}"), "PAL0018"),
            (provider("{service: a.b, port: 1, dynatraceSampler: {tenant: a}}"), "PAL0017"),
            (provider("{service: a.b, port: 1, http: {path: v1}}"), "PAL0024"),
            (provider("{service: a.b, port: 1, http: {headers: [{name: 'a b'}]}}"), "PAL0020"),
            (
                provider("{service: a.b, port: 1, http: {headers: [{name: a, envName: B}]}}"),
                "PAL0017",
            ),
        ] {
            let codes: Vec<String> =
                mesh_config(&text).1.into_iter().map(|problem| problem.code).collect();
            assert_eq!(codes, [code], "{text}");
        }
    }
}
