//! One call in the words of a policy, such that they mean this call and nothing else.

use palisade_manifest::{From, Operation, Rule, Source, To};
use palisade_policy::explain::Explanation;
use palisade_types::{MtlsMode, Protocol};

use super::Entry;
use crate::world::{Arrival, Call};

/// A call, in the words of a policy.
#[derive(Clone, Debug)]
pub(super) struct Exact {
    /// `TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`.
    principal: String,
    request_principal: Option<String>,
    operation: Operation,
}

impl Exact {
    /// The call; if no policy can mean it alone, what would have to change.
    pub(super) fn of(
        arrival: &Arrival<'_>,
        call: &Call,
        denied: &Explanation,
    ) -> Result<Self, String> {
        if arrival.mtls().at(call.port) == MtlsMode::Disable {
            return Err(no_identity(&format!(
                "port {} takes no mTLS (mode DISABLE), so callers have no identity there",
                call.port
            )));
        }
        let Some(identity) = call.identities.first() else {
            return Err(no_identity("the caller speaks plaintext and has no identity"));
        };
        let principal = identity.strip_prefix("spiffe://").unwrap_or(identity).to_owned();
        let ports = vec![call.port.to_string()];
        let mut operation = Operation { ports, ..Operation::default() };
        let http = call.request.as_ref();
        let http = http.filter(|_| arrival.protocol(call.port) != Some(Protocol::Tcp));
        if let Some(request) = http {
            operation.methods = vec![request.method.clone()];
            let seen = denied.path.as_ref().and_then(|path| path.normalized.as_deref());
            operation.paths = seen.map(without_query).into_iter().collect();
        }
        let request_principal = denied.request_principal.clone();
        let exact = Self { principal, request_principal, operation };
        if let Some(text) = exact.texts().find(|text| !is_literal(text)) {
            return Err(format!(
                "a policy would read `{text}` as a pattern, so none can allow this call alone: the caller has to \
                 send something else, or a policy has to allow more than this call"
            ));
        }
        Ok(exact)
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        let Operation { methods, paths, .. } = &self.operation;
        let of_caller = std::iter::once(&self.principal).chain(&self.request_principal);
        of_caller.chain(methods).chain(paths).map(String::as_str)
    }

    /// The caller's service account.
    pub(super) fn account(&self) -> &str {
        self.principal.rsplit('/').next().unwrap_or_default()
    }

    /// A rule that matches the call alone.
    pub(super) fn rule(&self) -> Rule {
        let (from, to) = (vec![Some(self.from())], vec![Some(self.to())]);
        Rule { from, to, ..Rule::default() }
    }

    /// What can be added to a rule so that it matches the call, too, and nothing else. What stands in one list
    /// is combined with all of the other, so the other must mean this call's side alone.
    pub(super) fn entry(&self, rule: &Rule) -> Option<Entry> {
        if is_all(&rule.to, |to| self.is_operation(to.operation.as_ref())) {
            return Some(Entry::From(self.from()));
        }
        let is_caller = is_all(&rule.from, |from| self.is_caller(from.source.as_ref()));
        is_caller.then(|| Entry::To(self.to()))
    }

    fn from(&self) -> From {
        let source = Source {
            principals: vec![self.principal.clone()],
            request_principals: self.request_principal.clone().into_iter().collect(),
            ..Source::default()
        };
        From { source: Some(source) }
    }

    fn to(&self) -> To {
        To { operation: Some(self.operation.clone()) }
    }

    /// Whether this operation, or less, is meant: what else is asked for narrows it.
    fn is_operation(&self, operation: Option<&Operation>) -> bool {
        let own = &self.operation;
        operation.is_some_and(|it| {
            (&it.ports, &it.methods, &it.paths) == (&own.ports, &own.methods, &own.paths)
        })
    }

    fn is_caller(&self, source: Option<&Source>) -> bool {
        source.is_some_and(|it| {
            let token: Vec<String> = self.request_principal.clone().into_iter().collect();
            it.principals == [self.principal.clone()]
                && (token.is_empty() || it.request_principals == token)
        })
    }
}

fn is_all<T>(list: &[Option<T>], is: impl Fn(&T) -> bool) -> bool {
    !list.is_empty() && list.iter().all(|entry| entry.as_ref().is_some_and(&is))
}

/// Whether a policy means a text by itself: `*` at an end and path templates are patterns.
fn is_literal(text: &str) -> bool {
    !(text.is_empty() || text.starts_with('*') || text.ends_with('*') || text.contains("{*"))
}

fn without_query(path: &str) -> String {
    path.split_once('?').map_or(path, |(path, _)| path).to_owned()
}

fn no_identity(why: &str) -> String {
    format!(
        "{why}; a policy could name its address only, which is no identity: it is another pod's tomorrow. Let the \
         call come over mTLS from a pod with a sidecar (label its namespace `istio-injection=enabled` and restart \
         it), and allow its service account"
    )
}
