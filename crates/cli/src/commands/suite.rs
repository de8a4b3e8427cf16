//! A suite of probes: what is sent from where, and what must come back.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::args::Authorizer;

/// A file of probes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Suite {
    /// Manifests that `--offline` answers from, relative to the suite.
    #[serde(default)]
    pub(crate) manifests: Vec<std::path::PathBuf>,
    /// The probes, sent in order.
    pub(crate) probes: Vec<Probe>,
}

/// One request and what is expected of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Probe {
    /// What it shows; the request itself if absent.
    #[serde(default)]
    pub(crate) name: String,
    /// Pod that sends it: `POD.NAMESPACE` or `deploy/NAME.NAMESPACE`.
    pub(crate) from: String,
    /// URL; its host is a service, a pod's address or any host.
    pub(crate) to: String,
    /// Method.
    #[serde(default = "get")]
    pub(crate) method: String,
    /// Path, if `to` has none.
    #[serde(default)]
    pub(crate) path: String,
    /// Header fields to add.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// Claims of a valid token; only `--offline` can take them for granted.
    pub(crate) claims: Option<serde_json::Value>,
    /// What the external authorizer of CUSTOM policies says; only `--offline` can take it for granted.
    pub(crate) custom: Option<Authorizer>,
    /// What must come back.
    pub(crate) expect: Expectation,
}

/// What must come back; absent parts are not looked at.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expectation {
    /// HTTP status.
    pub(crate) status: Option<u16>,
    /// What the destination's sidecar decided.
    pub(crate) verdict: Option<Outcome>,
    /// Policy that decided, as `NAME.NAMESPACE`; `none` if no ALLOW matched.
    pub(crate) policy: Option<String>,
}

/// What became of a request at the destination's sidecar.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// A decision to allow.
    Allow,
    /// A decision to deny.
    Deny,
    /// The connection was reset before any decision, as STRICT does with plaintext.
    Reset,
    /// No sidecar has decided about it.
    Undecided,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Reset => "reset",
            Self::Undecided => "undecided",
        })
    }
}

impl Probe {
    /// The URL to send to.
    pub(crate) fn url(&self) -> String {
        let base =
            if self.to.contains("://") { self.to.clone() } else { format!("http://{}", self.to) };
        format!(
            "{}{}",
            base.trim_end_matches(if self.path.is_empty() { '\0' } else { '/' }),
            self.path
        )
    }

    /// Host of the URL, without port.
    pub(crate) fn host(&self) -> String {
        let authority = self.authority();
        let host = authority.rsplit_once('@').map_or(authority.as_str(), |(_, host)| host);
        match host.rsplit_once(':') {
            // The colons in `[::1]` are the address's own.
            Some((name, port)) if !port.ends_with(']') => name.to_owned(),
            _ => host.to_owned(),
        }
    }

    /// Port of the URL.
    pub(crate) fn port(&self) -> u16 {
        let default = if self.url().starts_with("https:") { 443 } else { 80 };
        let authority = self.authority();
        authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(default)
    }

    /// Host and port of the URL, as written.
    pub(crate) fn authority(&self) -> String {
        let url = self.url();
        let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        rest.split(['/', '?', '#']).next().unwrap_or_default().to_owned()
    }

    /// Path and query of the URL, as written.
    pub(crate) fn path_and_query(&self) -> String {
        let url = self.url();
        let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        let path = rest.get(self.authority().len()..).unwrap_or_default();
        if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
    }

    /// What it shows, for a report.
    pub(crate) fn title(&self) -> String {
        if self.name.is_empty() {
            format!("{} {} from {}", self.method, self.url(), self.from)
        } else {
            self.name.clone()
        }
    }
}

fn get() -> String {
    "GET".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::smoke;

    #[test]
    fn url_and_host_come_from_to_and_path() {
        for (to, path, url, host, port, target) in [
            ("http://backend.foo/x", "", "http://backend.foo/x", "backend.foo", 80, "/x"),
            ("backend.foo:8080", "/x", "http://backend.foo:8080/x", "backend.foo", 8080, "/x"),
            ("http://backend/", "/x?y", "http://backend/x?y", "backend", 80, "/x?y"),
            ("http://10.0.0.1:81", "", "http://10.0.0.1:81", "10.0.0.1", 81, "/"),
            ("https://a?b", "", "https://a?b", "a", 443, "/?b"),
        ] {
            let probe: Probe = serde_json::from_value(serde_json::json!({
                "from": "a", "to": to, "path": path, "expect": {}
            }))
            .unwrap();
            assert_eq!((probe.url().as_str(), probe.host().as_str()), (url, host));
            assert_eq!((probe.port(), probe.path_and_query().as_str()), (port, target), "{to}");
        }
    }

    /// A probe goes where a reader of URLs says.
    fn suite(bytes: &[u8]) {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let (documents, _) = palisade_manifest::read(text);
        let Some(document) = documents.first() else { return };
        let Ok(suite) = serde_json::from_value::<Suite>(document.to_value()) else { return };
        for probe in suite.probes {
            assert!(!probe.title().is_empty() && probe.path_and_query().starts_with('/'));
            let Ok(uri) = probe.url().parse::<http::Uri>() else { continue };
            let Some(host) = uri.host().filter(|_| !probe.url().contains(['#', '\\'])) else {
                continue;
            };
            assert_eq!(probe.host(), host, "{uri}");
            if let Some(port) = uri.port_u16() {
                assert_eq!(probe.port(), port, "{uri}");
            }
            let path = uri.path_and_query().map_or("/", |path| path.as_str());
            assert_eq!(probe.path_and_query(), path, "{uri}");
        }
    }

    #[test]
    fn the_corpus_holds() {
        smoke("suite", 500, suite);
    }
}
