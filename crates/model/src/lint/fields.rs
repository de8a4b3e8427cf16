//! The conditions of a rule as one flat list.

use palisade_manifest::Rule;

/// A list of values in a rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Values<'a> {
    /// What the values are about.
    pub(super) about: About,
    /// Whether none may match.
    pub(super) negated: bool,
    pub(super) values: &'a [String],
    /// Part and entry that the list is in.
    place: (&'static str, usize, &'static str),
    /// Name of the field.
    name: &'static str,
}

/// What values are about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum About {
    Principal,
    Namespace,
    ServiceAccount,
    TrustDomain,
    Address,
    /// Request principals, audiences, presenters, claims.
    Token,
    Host,
    Port,
    Method,
    Path,
    Header,
    Other,
}

impl About {
    /// Whether only callers over mTLS have it.
    pub(super) fn is_identity(self) -> bool {
        matches!(self, Self::Principal | Self::Namespace | Self::ServiceAccount | Self::TrustDomain)
    }

    /// Whether only HTTP requests have it.
    pub(super) fn is_http(self) -> bool {
        matches!(self, Self::Token | Self::Host | Self::Method | Self::Path | Self::Header)
    }

    fn of_key(key: &str) -> Self {
        match key {
            "source.principal" => Self::Principal,
            "source.namespace" => Self::Namespace,
            "source.serviceAccount" => Self::ServiceAccount,
            "source.trustDomain" => Self::TrustDomain,
            "source.ip" | "remote.ip" | "destination.ip" => Self::Address,
            "destination.port" => Self::Port,
            key if key.starts_with("request.auth") => Self::Token,
            key if key.starts_with("request.headers") => Self::Header,
            _ => Self::Other,
        }
    }
}

impl Values<'_> {
    /// The path of a value in the policy.
    pub(super) fn path(&self, rule: usize, value: Option<usize>) -> String {
        let (part, entry, inner) = self.place;
        let name = self.name;
        let index = value.map(|index| format!("[{index}]")).unwrap_or_default();
        format!("spec.rules[{rule}].{part}[{entry}]{inner}.{name}{index}")
    }

    /// Name of the part, and the entry in it: values of one place must hold together.
    pub(super) fn entry(&self) -> (&'static str, usize) {
        (self.place.0, self.place.1)
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }
}

/// All lists of values of a rule that are not empty, in the order of writing.
pub(super) fn of(rule: &Rule) -> Vec<Values<'_>> {
    let mut all = List(Vec::new());
    for (entry, from) in rule.from.iter().enumerate() {
        let Some(s) = from.as_ref().and_then(|from| from.source.as_ref()) else { continue };
        let place = ("from", entry, ".source");
        for (about, name, values, not_name, not_values) in [
            (About::Principal, "principals", &s.principals, "notPrincipals", &s.not_principals),
            (
                About::Token,
                "requestPrincipals",
                &s.request_principals,
                "notRequestPrincipals",
                &s.not_request_principals,
            ),
            (About::Namespace, "namespaces", &s.namespaces, "notNamespaces", &s.not_namespaces),
            (
                About::ServiceAccount,
                "serviceAccounts",
                &s.service_accounts,
                "notServiceAccounts",
                &s.not_service_accounts,
            ),
            (
                About::TrustDomain,
                "trustDomains",
                &s.trust_domains,
                "notTrustDomains",
                &s.not_trust_domains,
            ),
            (About::Address, "ipBlocks", &s.ip_blocks, "notIpBlocks", &s.not_ip_blocks),
            (
                About::Address,
                "remoteIpBlocks",
                &s.remote_ip_blocks,
                "notRemoteIpBlocks",
                &s.not_remote_ip_blocks,
            ),
        ] {
            all.add(about, place, (name, values), (not_name, not_values));
        }
    }
    for (entry, to) in rule.to.iter().enumerate() {
        let Some(o) = to.as_ref().and_then(|to| to.operation.as_ref()) else { continue };
        let place = ("to", entry, ".operation");
        for (about, name, values, not_name, not_values) in [
            (About::Host, "hosts", &o.hosts, "notHosts", &o.not_hosts),
            (About::Port, "ports", &o.ports, "notPorts", &o.not_ports),
            (About::Method, "methods", &o.methods, "notMethods", &o.not_methods),
            (About::Path, "paths", &o.paths, "notPaths", &o.not_paths),
        ] {
            all.add(about, place, (name, values), (not_name, not_values));
        }
    }
    for (entry, when) in rule.when.iter().enumerate() {
        let Some(when) = when else { continue };
        let about = About::of_key(&when.key);
        let place = ("when", entry, "");
        all.add(about, place, ("values", &when.values), ("notValues", &when.not_values));
    }
    all.0
}

struct List<'a>(Vec<Values<'a>>);

impl<'a> List<'a> {
    fn add(
        &mut self,
        about: About,
        place: (&'static str, usize, &'static str),
        positive: (&'static str, &'a [String]),
        negative: (&'static str, &'a [String]),
    ) {
        for ((name, values), negated) in [(positive, false), (negative, true)] {
            if !values.is_empty() {
                self.0.push(Values { about, negated, values, place, name });
            }
        }
    }
}
