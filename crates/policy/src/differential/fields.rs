//! Fields by the names of their conditions, and what patterns mean.

use palisade_manifest::{Operation, Source};

/// Key, values and negated values.
pub(super) type Condition<'a> = (&'a str, &'a [String], &'a [String]);

pub(super) fn is_known(key: &str) -> bool {
    key != "request.foo"
}

pub(super) fn source(s: &Source) -> Vec<Condition<'_>> {
    vec![
        ("source.principal", &s.principals, &s.not_principals),
        ("request.auth.principal", &s.request_principals, &s.not_request_principals),
        ("source.namespace", &s.namespaces, &s.not_namespaces),
        ("source.serviceAccount", &s.service_accounts, &s.not_service_accounts),
        ("source.trustDomain", &s.trust_domains, &s.not_trust_domains),
        ("source.ip", &s.ip_blocks, &s.not_ip_blocks),
        ("remote.ip", &s.remote_ip_blocks, &s.not_remote_ip_blocks),
    ]
}

pub(super) fn operation(o: &Operation) -> Vec<Condition<'_>> {
    vec![
        ("hosts", &o.hosts, &o.not_hosts),
        ("destination.port", &o.ports, &o.not_ports),
        ("methods", &o.methods, &o.not_methods),
        ("paths", &o.paths, &o.not_paths),
    ]
}

pub(super) fn pattern(pattern: &str, text: &str) -> bool {
    match (pattern, pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        ("*", ..) => !text.is_empty(),
        (_, Some(suffix), _) => text.ends_with(suffix),
        (_, _, Some(prefix)) => text.starts_with(prefix),
        _ => text == pattern,
    }
}

/// `*` is any text, `?` one character.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    match pattern.chars().next() {
        None => text.is_empty(),
        Some('*') => (0..=text.len()).any(|n| glob(&pattern[1..], &text[n..])),
        Some('?') => !text.is_empty() && glob(&pattern[1..], &text[1..]),
        Some(c) => text.starts_with(c) && glob(&pattern[1..], &text[1..]),
    }
}
