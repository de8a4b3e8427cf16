//! `extensionProviders`: the external authorizers among them, and what all providers have in common.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    time::Duration,
};

use palisade_types::{
    BodyForm, BodySeen, ExtensionProvider, HttpProvider, LongerBody, OnError, ProviderProtocol,
};

use crate::{
    codes,
    place::{Place, Report},
    value::go_duration,
};

/// The authorizers that are sound; what is wrong with the others goes to `report`.
pub(super) fn take(root: &Place<'_>, report: &mut Report) -> Vec<ExtensionProvider> {
    let mut names = BTreeSet::new();
    for entry in root.list("extensionProviders").filter(is_read) {
        let name = entry.text("name");
        if !names.insert(name) {
            let message = format!("`{name}` is the name of two providers");
            report.error(codes::DUPLICATE, &entry, message);
        }
    }
    root.list("extensionProviders").filter_map(|entry| provider(&entry, report)).collect()
}

/// Whether a provider is one of those that are acted on.
fn is_read(entry: &Place<'_>) -> bool {
    ["envoyExtAuthzHttp", "envoyExtAuthzGrpc", "opentelemetry"]
        .iter()
        .any(|kind| entry.get(kind).is_some())
}

/// A provider's name, and where it is.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) service: String,
    pub(super) port: u16,
}

/// Reads what every provider has, from its entry and the settings in it.
pub(super) fn named(entry: &Place<'_>, settings: &Place<'_>, report: &mut Report) -> Named {
    let name = entry.text("name").to_owned();
    if !is_label(&name) {
        let message = format!("`{name}` is no name of a provider");
        let help = "a name has at most 63 lower case letters, digits and `-`, inside only";
        report.error_help(codes::NAME, entry, message, help);
    }
    let (namespace, service) = match settings.text("service").split_once('/') {
        Some((namespace, host)) => (Some(namespace.to_owned()), host.to_owned()),
        None => (None, settings.text("service").to_owned()),
    };
    if service.is_empty() || service.contains(['*', '/', ' ']) {
        let message = "`service` is no host: write `NAME.NAMESPACE.svc.cluster.local`";
        report.error(codes::FORM, settings, message);
    }
    let port = settings.int("port").and_then(|port| u16::try_from(port).ok()).unwrap_or(0);
    if port == 0 {
        report.error(codes::FORM, settings, "`port` is no port from 1 to 65535");
    }
    Named { name, namespace, service, port }
}

fn provider(entry: &Place<'_>, report: &mut Report) -> Option<ExtensionProvider> {
    let (settings, protocol) =
        match (entry.get("envoyExtAuthzHttp"), entry.get("envoyExtAuthzGrpc")) {
            (Some(http), _) => {
                let protocol = ProviderProtocol::Http(Box::new(http_provider(&http, report)));
                (http, protocol)
            }
            (None, Some(grpc)) => (grpc, ProviderProtocol::Grpc),
            (None, None) => return None,
        };
    let Named { name, namespace, service, port } = named(entry, &settings, report);
    let timeout = go_duration(settings.text("timeout")).unwrap_or(DEFAULT_TIMEOUT);
    let fails_open = settings.is_true("failOpen");
    let status = status_on_error(&settings, report);
    if fails_open {
        let message = format!("requests pass unasked while `{name}` does not answer");
        let help = "leave `failOpen` out, so that they are refused";
        report.warn(codes::FAIL_OPEN, &settings, message, help);
    }
    Some(ExtensionProvider {
        name,
        service,
        namespace,
        port,
        timeout,
        on_error: if fails_open { OnError::Allow } else { OnError::Refuse(status) },
        protocol,
        body: body(&settings, report),
        trouble: None,
    })
}

/// What it sees of a body.
fn body(settings: &Place<'_>, report: &mut Report) -> Option<BodySeen> {
    let body = settings.get("includeRequestBodyInCheck")?;
    let most = body.int("maxRequestBytes").and_then(|most| u32::try_from(most).ok());
    let Some(most) = most.and_then(NonZeroU32::new) else {
        report.error(codes::FORM, &body, "`maxRequestBytes` is no number of bytes above 0");
        return None;
    };
    Some(BodySeen {
        most,
        longer: if body.is_true("allowPartialMessage") {
            LongerBody::Cut
        } else {
            LongerBody::Refused
        },
        form: if body.is_true("packAsBytes") { BodyForm::Bytes } else { BodyForm::Text },
    })
}

fn http_provider(settings: &Place<'_>, report: &mut Report) -> HttpProvider {
    let additional_headers = additional(settings, report);
    let mut names = |field: &str| -> Vec<String> {
        let mut names = Vec::new();
        for at in settings.list(field) {
            let name = at.node.text().unwrap_or_default();
            if name == "*" {
                report.error(
                    codes::FORM,
                    &at,
                    "`*` alone takes every field: write a beginning or an end",
                );
            }
            names.push(name.to_owned());
        }
        names
    };
    let current = names("includeRequestHeadersInCheck");
    let former = names("includeHeadersInCheck");
    let http = HttpProvider {
        request_headers: if current.is_empty() { former } else { current },
        upstream_on_allow: names("headersToUpstreamOnAllow"),
        downstream_on_allow: names("headersToDownstreamOnAllow"),
        downstream_on_deny: names("headersToDownstreamOnDeny"),
        path_prefix: settings.text("pathPrefix").to_owned(),
        additional_headers,
    };
    if !http.path_prefix.is_empty() && !http.path_prefix.starts_with('/') {
        report.error(codes::FORM, settings, "`pathPrefix` does not begin with `/`");
    }
    http
}

fn additional(settings: &Place<'_>, report: &mut Report) -> BTreeMap<String, String> {
    let Some(map) = settings.get("includeAdditionalHeadersInCheck") else { return BTreeMap::new() };
    let mut fields = BTreeMap::new();
    for (name, value) in map.entries() {
        match literal(value.node.text().unwrap_or_default()) {
            Ok(text) => {
                fields.insert(name.to_ascii_lowercase(), text);
            }
            Err(format) => {
                let message = format!("`{name}`: formats such as `{format}` are not supported");
                let help = "write the value itself; `%%` stands for a percent sign";
                report.error_help(codes::UNSUPPORTED, &value, message, help);
            }
        }
    }
    fields
}

/// A value as it is sent. An error is the format in it, which Envoy would put in from each request.
fn literal(value: &str) -> Result<String, &str> {
    let mut text = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        let Some(after) = after.strip_prefix('%') else {
            let format = rest.get(before.len()..).unwrap_or_default();
            let end = after.find('%').map_or(format.len(), |end| end + 2);
            return Err(format.get(..end).unwrap_or(format));
        };
        text.push('%');
        rest = after;
    }
    Ok(text + rest)
}

fn status_on_error(settings: &Place<'_>, report: &mut Report) -> u16 {
    let text = settings.text("statusOnError");
    if text.is_empty() {
        return 403;
    }
    match text.parse() {
        Ok(status) if (200..600).contains(&status) => status,
        _ => {
            report.error(
                codes::FORM,
                settings,
                format!("`statusOnError: {text}` is no HTTP status"),
            );
            403
        }
    }
}

/// A DNS label, as Istio wants it (`pilot/pkg/security/authz/builder/extauthz.go`).
fn is_label(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Istio's default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use crate::mesh_config;

    #[test]
    fn authorizers_are_taken_as_they_are_written() {
        let (mesh, problems) = mesh_config(
            "extensionProviders:
- name: opa
  envoyExtAuthzGrpc:
    service: opa.tools.svc.cluster.local
    port: 9191
    timeout: 2s
    failOpen: true
    includeRequestBodyInCheck: {maxRequestBytes: 8192, allowPartialMessage: true, packAsBytes: true}
- name: proxy
  envoyExtAuthzHttp:
    service: tools/proxy.tools.svc.cluster.local
    port: 8000
    pathPrefix: /check
    statusOnError: '503'
    includeRequestHeadersInCheck: [cookie, x-*]
    includeAdditionalHeadersInCheck: {X-From: mesh, X-Share: 100%%}
    headersToUpstreamOnAllow: [x-user]
- name: traces
  zipkin: {service: a, port: 1}
",
        );
        let codes: Vec<&str> = problems.iter().map(|problem| problem.code.as_str()).collect();
        assert_eq!(codes, ["PAL0041", "PAL0018"], "{problems:?}");
        insta::assert_json_snapshot!(mesh.extension_providers);
    }

    #[test]
    fn what_istio_refuses_is_refused() {
        for (provider, message) in [
            ("{service: a.b, port: 0}", "`port` is no port"),
            ("{service: '', port: 1}", "`service` is no host"),
            ("{service: '*.a', port: 1}", "`service` is no host"),
            ("{service: a.b, port: 1, statusOnError: often}", "is no HTTP status"),
            ("{service: a.b, port: 1, pathPrefix: a}", "does not begin with `/`"),
            ("{service: a.b, port: 1, headersToUpstreamOnAllow: ['*']}", "takes every field"),
            (
                "{service: a.b, port: 1, includeRequestBodyInCheck: {maxRequestBytes: 0}}",
                "no number of bytes",
            ),
            (
                "{service: a.b, port: 1, includeAdditionalHeadersInCheck: {a: '%%x%REQ(b)%'}}",
                "`a`: formats such as `%REQ(b)%` are not supported",
            ),
        ] {
            let text = format!("extensionProviders: [{{name: p, envoyExtAuthzHttp: {provider}}}]");
            let problems = mesh_config(&text).1;
            assert!(
                problems.iter().any(|it| it.is_error() && it.message.contains(message)),
                "{text}: {problems:?}"
            );
        }
        let twice = "{name: p, envoyExtAuthzGrpc: {service: a.b, port: 1}}";
        assert!(mesh_config(&format!("extensionProviders: [{twice}, {twice}]")).1[0].is_error());
    }
}
