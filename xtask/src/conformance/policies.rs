//! Policies of a case: YAML documents, taken as they are. The API server's validation is not applied.

use anyhow::{Context, bail};
use palisade_manifest::{
    Action, AuthorizationPolicy, Document, PeerAuthentication, RequestAuthentication,
};
use palisade_policy::{
    CompiledPolicies, Scope, TokenRules,
    mtls::{self, EffectiveMtls},
};
use palisade_types::Severity;
use serde_json::Value;

use super::token;

/// The policies of a case by kind.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    authorization: Vec<AuthorizationPolicy>,
    peer: Vec<PeerAuthentication>,
    request: Vec<RequestAuthentication>,
}

impl Policies {
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        Self::of(documents(text)?)
    }

    pub(crate) fn of(documents: impl IntoIterator<Item = Value>) -> anyhow::Result<Self> {
        let mut policies = Self::default();
        for document in documents {
            match document.get("kind").and_then(Value::as_str) {
                Some("AuthorizationPolicy") => {
                    policies.authorization.push(serde_json::from_value(document)?);
                }
                Some("PeerAuthentication") => policies.peer.push(serde_json::from_value(document)?),
                Some("RequestAuthentication") => {
                    policies.request.push(token::equip(serde_json::from_value(document)?));
                }
                kind => bail!("no policy is of kind {kind:?}"),
            }
        }
        Ok(policies)
    }

    pub(crate) fn authorization(&self) -> &[AuthorizationPolicy] {
        &self.authorization
    }

    pub(crate) fn peer(&self) -> &[PeerAuthentication] {
        &self.peer
    }

    pub(crate) fn request(&self) -> &[RequestAuthentication] {
        &self.request
    }

    /// Only the AuthorizationPolicies that allow.
    pub(crate) fn allowing(&self) -> Self {
        let allows = |policy: &&AuthorizationPolicy| policy.spec.action == Action::Allow;
        let authorization = self.authorization.iter().filter(allows).cloned().collect();
        Self { authorization, ..Self::default() }
    }

    pub(crate) fn compile(&self, scope: Scope<'_>) -> CompiledPolicies {
        CompiledPolicies::compile(&self.authorization, scope)
    }

    pub(crate) fn mtls(&self, scope: Scope<'_>) -> EffectiveMtls {
        mtls::effective(&self.peer, scope)
    }

    /// The RequestAuthentications that apply.
    pub(crate) fn tokens(&self, scope: Scope<'_>) -> TokenRules {
        let applying = self.request.iter().filter(|policy| scope.selects_authentication(policy));
        TokenRules::compile(applying)
    }
}

/// The one document of a YAML or JSON text.
pub(crate) fn document(text: &str) -> anyhow::Result<Value> {
    if text.trim_start().starts_with('{') {
        return Ok(serde_json::from_str(text)?);
    }
    documents(text)?.into_iter().next().context("it has no document")
}

fn documents(text: &str) -> anyhow::Result<Vec<Value>> {
    let (documents, diagnostics) = palisade_manifest::read(text);
    match diagnostics.iter().find(|diagnostic| diagnostic.severity == Severity::Error) {
        Some(problem) => bail!("it is no YAML: {}", problem.message),
        None => Ok(documents.iter().map(Document::to_value).collect()),
    }
}
