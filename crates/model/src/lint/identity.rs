//! Callers that rules name and that nobody can be, and ports where nobody need be anybody.

use palisade_manifest::{Action, codes};
use palisade_types::MtlsMode;

use super::{
    Lint, Subject, did_you_mean,
    fields::{self, About, Values},
};

pub(super) fn check(lint: &mut Lint<'_>, subject: &Subject<'_>) {
    for (index, rule) in subject.policy.spec.rules.iter().enumerate() {
        let Some(rule) = rule else { continue };
        for values in fields::of(rule).iter().filter(|values| values.about.is_identity()) {
            for (at, value) in values.values.iter().enumerate() {
                let path = values.path(index, Some(at));
                match values.about {
                    About::Principal => principal(lint, subject, value, &path),
                    About::Namespace => namespace(lint, subject, value, &path),
                    About::ServiceAccount => {
                        let own = &subject.policy.metadata.namespace;
                        let (namespace, name) = value.split_once('/').unwrap_or((own, value));
                        account(lint, subject, (namespace, name), &path);
                    }
                    About::TrustDomain => trust_domain(lint, subject, value, &path),
                    _ => {}
                }
            }
        }
        plaintext(lint, subject, index, &fields::of(rule));
    }
}

fn principal(lint: &mut Lint<'_>, subject: &Subject<'_>, value: &str, path: &str) {
    let at = (subject.study, subject.object);
    if value.starts_with("spiffe://") || value.starts_with('*') {
        return;
    }
    let parts: Vec<&str> = value.split('/').collect();
    let [domain, "ns", namespace, "sa", name] = parts.as_slice() else {
        if !value.ends_with('*') {
            let message = format!("`{value}` is no principal, so nobody has it");
            let help = "write `TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`";
            lint.report(codes::NOT_A_PRINCIPAL, at, path, message, help);
        }
        return;
    };
    if *domain != "cluster.local" && is_foreign(lint, domain) {
        let mine = lint.world.mesh().trust_domain.to_string();
        let help = format!("write `{mine}/ns/{namespace}/sa/{name}`");
        lint.report(codes::TRUST_DOMAIN, at, path, foreign(&mine, domain), help);
        return;
    }
    if !namespace.contains('*') && !name.contains('*') {
        account(lint, subject, (namespace, name), path);
    }
}

/// A value of `trustDomains`; `cluster.local` does not stand for the mesh's own there.
fn trust_domain(lint: &mut Lint<'_>, subject: &Subject<'_>, value: &str, path: &str) {
    if is_foreign(lint, value) {
        let mine = lint.world.mesh().trust_domain.to_string();
        let at = (subject.study, subject.object);
        lint.report(
            codes::TRUST_DOMAIN,
            at,
            path,
            foreign(&mine, value),
            format!("write `{mine}`"),
        );
    }
}

fn is_foreign(lint: &Lint<'_>, domain: &str) -> bool {
    let own = lint.world.mesh().trust_domains().any(|own| own.as_str() == domain);
    !own && !domain.contains('*')
}

fn foreign(mine: &str, domain: &str) -> String {
    format!("no identity is of the trust domain `{domain}`; this mesh is `{mine}`")
}

fn namespace(lint: &mut Lint<'_>, subject: &Subject<'_>, value: &str, path: &str) {
    if value.contains('*') || lint.namespaces.contains(value) || !lint.knows_workloads() {
        return;
    }
    let help = did_you_mean(value, lint.namespaces.iter().map(String::as_str));
    let message = format!("there is no namespace `{value}`");
    lint.report(codes::NO_NAMESPACE, (subject.study, subject.object), path, message, help);
}

fn account(
    lint: &mut Lint<'_>,
    subject: &Subject<'_>,
    (namespace, name): (&str, &str),
    path: &str,
) {
    if !lint.namespaces.contains(namespace) {
        return self::namespace(lint, subject, namespace, path);
    }
    let known = lint.accounts.contains(&(namespace.to_owned(), name.to_owned()));
    if known || !lint.knows_workloads() {
        return;
    }
    let here = lint.accounts.iter().filter(|(of, _)| of == namespace);
    let mut help = did_you_mean(name, here.map(|(_, name)| name.as_str()));
    let elsewhere: Vec<&str> = lint
        .accounts
        .iter()
        .filter(|(_, known)| known == name)
        .map(|(namespace, _)| namespace.as_str())
        .collect();
    if help.is_empty() && !elsewhere.is_empty() {
        help = format!("there is one in namespace {}", elsewhere.join(", "));
    }
    let message = format!("there is no service account `{name}` in namespace `{namespace}`");
    lint.report(codes::NO_ACCOUNT, (subject.study, subject.object), path, message, help);
}

/// Rules about identities, at workloads that take plaintext.
fn plaintext(lint: &mut Lint<'_>, subject: &Subject<'_>, index: usize, all: &[Values<'_>]) {
    let open = lint.enforcing(subject).find_map(|arrival| {
        let ports = arrival.ports();
        let ports = if ports.is_empty() { vec![0] } else { ports };
        let modes = ports.into_iter().map(|port| (port, arrival.mtls().at(port)));
        let (port, mode) =
            modes.filter(|(_, mode)| *mode != MtlsMode::Strict).min_by_key(|(port, _)| *port)?;
        Some((arrival.pod().metadata.name.clone(), port, mode))
    });
    let Some((workload, port, mode)) = open else { return };
    let port = if port == 0 { String::new() } else { format!(" at port {port}") };
    let place = format!("`{workload}` takes plaintext{port} ({mode})");
    let at = (subject.study, subject.object);
    let help = "set mTLS of the workload to STRICT in a PeerAuthentication";
    let positive = all.iter().find(|values| values.about.is_identity() && !values.negated);
    let negative = all.iter().find(|values| values.about.is_identity() && values.negated);
    match (subject.policy.spec.action, positive, negative) {
        (Action::Deny, Some(values), _) => {
            let message =
                format!("a caller without identity is not denied by `{}`: {place}", values.name());
            lint.report(codes::PLAINTEXT_SLIPS, at, &values.path(index, None), message, help);
        }
        (Action::Allow, None, Some(values)) => {
            let message =
                format!("a caller without identity is let in by `{}`: {place}", values.name());
            lint.report(codes::PLAINTEXT_SLIPS, at, &values.path(index, None), message, help);
        }
        (Action::Allow, Some(values), _) => {
            let who = if mode == MtlsMode::Disable { "nobody has" } else { "plaintext lacks" };
            let message =
                format!("`{}` asks for an identity, which {who} here: {place}", values.name());
            lint.report(codes::PLAINTEXT_CALLER, at, &values.path(index, None), message, help);
        }
        _ => {}
    }
}
