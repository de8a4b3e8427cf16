//! Conditions on requests: HTTP where there is none, tokens that nobody looks at, paths and hosts that are
//! spelt in other ways.

use palisade_http::{Method, normalize::normalize};
use palisade_manifest::{Action, Rule, codes};
use palisade_types::{PathNormalization, Protocol, StringPattern};

use super::{
    Lint, Subject,
    fields::{self, About, Values},
};

pub(super) fn check(lint: &mut Lint<'_>, subject: &Subject<'_>) {
    for (index, rule) in subject.policy.spec.rules.iter().enumerate() {
        let Some(rule) = rule else { continue };
        let all = fields::of(rule);
        tcp(lint, subject, index, rule, &all);
        token(lint, subject, index, &all);
        for values in &all {
            for (at, value) in values.values.iter().enumerate() {
                let path = values.path(index, Some(at));
                match values.about {
                    About::Path => self::path(lint, subject, values, value, &path),
                    About::Host => host(lint, subject, values, value, &path),
                    About::Port => port(lint, subject, value, &path),
                    About::Method => method(lint, subject, value, &path),
                    _ => {}
                }
            }
        }
    }
}

/// HTTP conditions, and a workload with a TCP port that the rule is not kept from by `ports`.
fn tcp(lint: &mut Lint<'_>, subject: &Subject<'_>, index: usize, rule: &Rule, all: &[Values<'_>]) {
    let Some(http) = all.iter().find(|values| values.about.is_http()) else { return };
    let limited = !rule.to.is_empty()
        && (0..rule.to.len()).all(|entry| {
            all.iter().any(|it| it.about == About::Port && it.entry() == ("to", entry))
        });
    let listed = |port: u16| {
        let ports = all.iter().filter(|it| it.about == About::Port && !it.negated);
        ports.flat_map(|it| it.values).any(|it| it.parse() == Ok(port))
    };
    let found = lint.enforcing(subject).find_map(|arrival| {
        let tcp = |port: &u16| arrival.protocol(*port) == Some(Protocol::Tcp);
        let port = arrival.ports().into_iter().filter(tcp).find(|it| !limited || listed(*it))?;
        Some((arrival.pod().metadata.name.clone(), port))
    });
    let Some((workload, port)) = found else { return };
    let effect = match subject.policy.spec.action {
        Action::Allow => "allows nothing",
        _ => "holds whatever is asked for",
    };
    let name = http.name();
    let message =
        format!("port {port} of `{workload}` speaks TCP, where a rule with `{name}` {effect}");
    let help =
        "name the Service's port `http-…` if it speaks HTTP, or list `ports` in the operation";
    let path = http.path(index, None);
    lint.report(codes::HTTP_ON_TCP, (subject.study, subject.object), &path, message, help);
}

fn token(lint: &mut Lint<'_>, subject: &Subject<'_>, index: usize, all: &[Values<'_>]) {
    let Some(values) = all.iter().find(|values| values.about == About::Token) else { return };
    let without = lint.enforcing(subject).find(|arrival| !arrival.authenticates());
    let Some(workload) = without.map(|arrival| arrival.pod().metadata.name.clone()) else { return };
    let effect = if values.negated { "always holds" } else { "never holds" };
    let message = format!("no RequestAuthentication applies to `{workload}`, so this {effect}");
    let help = "add one with the issuer of the tokens; without it nobody looks at them";
    let path = values.path(index, None);
    lint.report(codes::NO_AUTHENTICATION, (subject.study, subject.object), &path, message, help);
}

fn path(lint: &mut Lint<'_>, subject: &Subject<'_>, values: &Values<'_>, value: &str, path: &str) {
    let at = (subject.study, subject.object);
    let mode = lint.world.mesh().path_normalization;
    if let Some((why, help)) = never(value, mode) {
        let message = format!("no request has the path `{value}`: {why}");
        lint.report(codes::PATH_NEVER, at, path, message, help);
        return;
    }
    let guards = (subject.policy.spec.action == Action::Deny) != values.negated;
    if !guards || matches!(subject.policy.spec.action, Action::Audit | Action::Custom) {
        return;
    }
    let (spellings, wider) = other_spellings(value, mode);
    let seen = |other: &&String| {
        let mut patterns = values.values.iter().filter(|it| !it.contains('{'));
        patterns.any(|pattern| StringPattern::new(pattern).matches(other.as_bytes()))
    };
    let Some(other) = spellings.iter().find(|other| !seen(other)) else { return };
    let message =
        format!("`{other}` is another path than `{value}`, and servers may not tell them apart");
    let remedy = match wider {
        Some(wider) => format!("add `{wider}`"),
        None => "set `pathNormalization` of the mesh to DECODE_AND_MERGE_SLASHES".to_owned(),
    };
    let help = format!("{remedy}, or allow what is needed instead of denying what is not");
    lint.report(codes::PATH_SLIPS, at, path, message, help);
}

/// Methods are compared as they are written (RFC 9110, section 9.1).
fn method(lint: &mut Lint<'_>, subject: &Subject<'_>, value: &str, path: &str) {
    let upper = value.to_ascii_uppercase();
    if value == upper || Method::parse(&upper).is_none() {
        return;
    }
    let message = format!("no request has the method `{value}`: methods are upper case");
    let at = (subject.study, subject.object);
    lint.report(codes::METHOD_CASE, at, path, message, format!("write `{upper}`"));
}

/// Why no normalised path matches a value.
fn never(value: &str, mode: PathNormalization) -> Option<(&'static str, String)> {
    if value.contains('{') || value == "*" {
        return None;
    }
    if value.contains(['?', '#']) {
        return Some(("it has a query or fragment, which are cut off before", String::new()));
    }
    if value.starts_with('*') {
        return None;
    }
    if !value.starts_with('/') {
        return Some(("it does not begin with a slash", format!("write `/{value}`")));
    }
    let bare = value.strip_suffix('*').unwrap_or(value);
    let whole = if bare == value { bare.to_owned() } else { format!("{bare}x") };
    let normalized = normalize(&whole, mode).ok()?;
    let kept = normalized == whole;
    (!kept).then(|| {
        let written = normalized.strip_suffix('x').filter(|_| bare != value);
        let written = written.map_or_else(|| normalized.to_string(), |it| format!("{it}*"));
        ("it is not as paths are after normalisation", format!("write `{written}`"))
    })
}

/// Paths that a guard does not see and that mean the same to many servers, and the value that would cover
/// them; none if the mesh has to normalise more.
fn other_spellings(value: &str, mode: PathNormalization) -> (Vec<String>, Option<String>) {
    use PathNormalization::{DecodeAndMergeSlashes, MergeSlashes};
    if value == "*" || value.starts_with('*') || value == "/" {
        return (Vec::new(), None);
    }
    if value.contains("{*") {
        let base = value.split('{').next().unwrap_or_default();
        return (vec![format!("{base}[x]")], Some(format!("{base}*")));
    }
    let prefix = value.strip_suffix('*');
    let whole = prefix.unwrap_or(value);
    let bare = whole.trim_end_matches('/');
    match (prefix, mode) {
        (None, _) => (vec![format!("{bare}/"), format!("{bare};x=y")], Some(format!("{bare}*"))),
        (Some(_), DecodeAndMergeSlashes) if bare == whole => (Vec::new(), None),
        (Some(_), DecodeAndMergeSlashes) => {
            (vec![format!("{bare};x=y/")], Some(format!("{bare}*")))
        }
        (Some(_), MergeSlashes) => {
            let inner = whole.get(1..).and_then(|rest| rest.split_once('/'));
            (inner.map(|(start, end)| format!("/{start}%2f{end}")).into_iter().collect(), None)
        }
        (Some(_), _) => (vec![format!("/{whole}")], None),
    }
}

/// A port that only the Service in front of the workload has.
fn port(lint: &mut Lint<'_>, subject: &Subject<'_>, value: &str, path: &str) {
    let Ok(port) = value.parse::<u16>() else { return };
    if lint.enforcing(subject).any(|arrival| arrival.ports().contains(&port)) {
        return;
    }
    let world = lint.world;
    let found = lint.enforcing(subject).find_map(|arrival| {
        let pod = arrival.pod();
        let mut behind = world.services().filter(|it| world.behind(it).any(|one| one == pod));
        behind.find_map(|service| {
            let target = world.target(service, port, pod).filter(|target| *target != port)?;
            Some((service.metadata.name.clone(), target))
        })
    });
    let Some((service, target)) = found else { return };
    let message =
        format!("{port} is a port of Service `{service}`; policies see the workload's, {target}");
    let help = format!("write \"{target}\"");
    lint.report(codes::SERVICE_PORT, (subject.study, subject.object), path, message, help);
}

fn host(lint: &mut Lint<'_>, subject: &Subject<'_>, values: &Values<'_>, value: &str, path: &str) {
    let exact = !value.contains('*') && !value.contains(':');
    let with_port = |other: &String| {
        other.strip_prefix(value).is_some_and(|rest| rest.starts_with(':') || rest == "*")
    };
    if !exact || values.values.iter().any(with_port) {
        return;
    }
    let message = format!("`{value}` does not match `{value}:80`, which clients may send as well");
    let help = format!("add `{value}:*`");
    lint.report(codes::HOST_PORT, (subject.study, subject.object), path, message, help);
}
