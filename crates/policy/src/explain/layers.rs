//! The layers in the order in which a sidecar asks them.

use palisade_http::normalize::normalize;
use palisade_manifest::Action;
use palisade_types::{ExtensionProvider, MtlsMode, Protocol};

use super::{
    Condition, Explanation, Layer, LayerName, PathSeen, Question, Said, nearest::nearest, sentence,
};
use crate::{
    AcceptedToken, Attributes, Custom, Decision, Forwarding, HeaderFields, Http, PolicyRef, Reason,
    RuleName, Verdict, client_address,
    compiled::{Traced, request_principal, trace},
    inbound::{Admission, Hello, Speech, admit},
};

pub(super) fn explain(question: &Question<'_>) -> Explanation {
    let mut told = Told::default();
    let refused = told.all(question).err();
    let Told { layers, path, decided, nearest, asks, unverified, request_principal } = told;
    let refused_by = refused.map(|(layer, _)| layer);
    let rule = decided.as_ref().map(|(rule, _)| rule);
    let mut explanation = Explanation {
        verdict: if refused.is_some() { Verdict::Deny } else { Verdict::Allow },
        sentence: String::new(),
        refused_by,
        status: refused.and_then(|(_, status)| status),
        policy: rule.map(policy_of),
        rule: rule.map(ToString::to_string),
        because: decided.map(|(_, because)| because).unwrap_or_default(),
        nearest,
        path,
        asks,
        unverified,
        request_principal,
        layers,
    };
    explanation.sentence = sentence::sentence(question, &explanation);
    explanation
}

/// The layer that refuses, and the status that the client gets.
pub(super) type Refused = (LayerName, Option<u16>);

/// What has been found out so far.
#[derive(Default)]
pub(super) struct Told {
    layers: Vec<Layer>,
    path: Option<PathSeen>,
    decided: Option<(RuleName, Vec<Condition>)>,
    nearest: Option<super::Nearest>,
    asks: Option<String>,
    pub(super) unverified: Option<String>,
    request_principal: Option<String>,
}

impl Told {
    fn all(&mut self, question: &Question<'_>) -> Result<(), Refused> {
        if !question.has_sidecar {
            let text = "the workload has no sidecar, so nothing is enforced".to_owned();
            self.say(LayerName::Mtls, Said::Noted, text, None);
            return Ok(());
        }
        let mut attributes = question.attributes;
        self.admission(question, &mut attributes)?;
        let normalized = self.path(question, attributes.http)?;
        if let Some(http) = &mut attributes.http {
            http.path = normalized.as_deref();
            let forwarded = http.headers.values("x-forwarded-for");
            attributes.remote_ip =
                client_address(attributes.source_ip, Forwarding::Sidecar, forwarded);
        }
        if let Some(first) = question.unusable.first() {
            let text = format!("`{first}` can't be used, so everything is denied");
            self.say(LayerName::Custom, Said::Denied, text, None);
            return Err((LayerName::Custom, attributes.http.map(|_| 403)));
        }
        self.policies(question, attributes)
    }

    fn policies(
        &mut self,
        question: &Question<'_>,
        attributes: Attributes<'_>,
    ) -> Result<(), Refused> {
        self.custom(question, &attributes)?;
        let token = match &attributes.http {
            Some(http) => self.token(question, http)?,
            None => AcceptedToken::default(),
        };
        let fields = attributes.http.map(|http| token.headers(http.headers.0)).unwrap_or_default();
        let mut attributes = attributes;
        if let Some(http) = &mut attributes.http {
            http.headers = HeaderFields(&fields);
            http.claims = token.claims.is_object().then_some(&token.claims);
            self.request_principal = http.claims.and_then(request_principal);
        }
        let decision = question.compiled.decide_after_custom(&attributes);
        self.audit(question, &attributes, &decision);
        self.deny(question, &attributes, &decision)?;
        self.allow(question, &attributes, &decision)
    }

    /// The connection: reset, plaintext or mTLS; what is not HTTP loses what only HTTP has.
    fn admission(
        &mut self,
        question: &Question<'_>,
        attributes: &mut Attributes<'_>,
    ) -> Result<(), Refused> {
        let Question { mode, protocol, .. } = question;
        if *mode == MtlsMode::Disable {
            // A sidecar is told not to speak mTLS to such a port.
            attributes.identities = &[];
            attributes.sni = "";
        }
        let alpn: [&[u8]; 2] =
            if attributes.http.is_some() { [b"istio-http/1.1", b"istio"] } else { [b"istio", b""] };
        let hello = if attributes.identities.is_empty() {
            Hello::Plaintext
        } else {
            Hello::Tls { alpn: &alpn }
        };
        let speech = match admit(*mode, *protocol, hello) {
            Admission::Reset => {
                let text = format!("{}; plaintext is reset", mode_text(question));
                self.say(LayerName::Mtls, Said::Denied, text, None);
                return Err((LayerName::Mtls, None));
            }
            Admission::Plain(speech) | Admission::MutualTls(speech) => speech,
            Admission::HandOn => Speech::Tcp,
        };
        let caller = match attributes.identities.first() {
            Some(identity) => format!("the caller is {identity}"),
            None => "the caller speaks plaintext and has no identity".to_owned(),
        };
        let mut text = format!("{}; {caller}", mode_text(question));
        if speech == Speech::Tcp && attributes.http.is_some() {
            attributes.http = None;
            text.push_str("; the port speaks TCP, so policies see no HTTP");
        }
        self.say(LayerName::Mtls, Said::Passed, text, None);
        Ok(())
    }

    fn path(
        &mut self,
        question: &Question<'_>,
        http: Option<Http<'_>>,
    ) -> Result<Option<String>, Refused> {
        let Some(raw) = http.and_then(|http| http.path) else { return Ok(None) };
        let mode = question.scope.mesh.path_normalization;
        let mut seen = PathSeen { raw: raw.to_owned(), normalized: None };
        let result = normalize(raw, mode);
        let (said, text) = match &result {
            Ok(path) if *path == raw => (Said::Passed, format!("`{raw}` is normal")),
            Ok(path) => (Said::Passed, format!("`{raw}` becomes `{path}`")),
            Err(error) => (Said::Denied, format!("`{raw}`: {error}")),
        };
        self.say(LayerName::Normalize, said, text, None);
        seen.normalized = result.as_deref().ok().map(str::to_owned);
        self.path = Some(seen.clone());
        match result {
            Ok(_) => Ok(seen.normalized),
            Err(error) => {
                let refusal = palisade_http::refusal::Refusal::Path(error);
                Err((LayerName::Normalize, Some(refusal.status())))
            }
        }
    }

    fn custom(
        &mut self,
        question: &Question<'_>,
        attributes: &Attributes<'_>,
    ) -> Result<(), Refused> {
        if !has(question, Action::Custom) {
            return Ok(());
        }
        match question.compiled.custom(attributes) {
            Custom::Pass => {
                let text = "no rule matches".to_owned();
                self.say(LayerName::Custom, Said::Passed, text, None);
                Ok(())
            }
            Custom::Ask(provider, rule) => self.asked(question, attributes, &provider, &rule),
            Custom::Denied(decision) => {
                let Reason::Denied(rule) = decision.reason else { return Ok(()) };
                let text = format!("{}, so the rule denies", unaskable(question, &rule));
                self.refuse(LayerName::Custom, text, &rule, question, attributes)
            }
        }
    }

    fn asked(
        &mut self,
        question: &Question<'_>,
        attributes: &Attributes<'_>,
        provider: &ExtensionProvider,
        rule: &RuleName,
    ) -> Result<(), Refused> {
        let ExtensionProvider { name, service, port, .. } = provider;
        let asks = format!("asks `{name}` ({service}:{port})");
        match question.authorizer {
            None => {
                let text = format!("{asks}, whose answer is not known here and counts as yes");
                self.say(LayerName::Custom, Said::Noted, text, Some(rule));
                self.asks = Some(name.clone());
                Ok(())
            }
            Some(Verdict::Allow) => {
                self.say(LayerName::Custom, Said::Passed, format!("{asks}: yes"), Some(rule));
                Ok(())
            }
            Some(Verdict::Deny) => {
                let text = format!("{asks}: no, with a status and text of its own");
                self.refuse(LayerName::Custom, text, rule, question, attributes)
            }
        }
    }

    fn audit(&mut self, question: &Question<'_>, attributes: &Attributes<'_>, decision: &Decision) {
        if decision.audited {
            let rule = question.compiled.first_match(Action::Audit, attributes);
            let text = "a rule matches, which marks the request".to_owned();
            self.say(LayerName::Audit, Said::Noted, text, rule.as_deref());
        }
    }

    fn deny(
        &mut self,
        question: &Question<'_>,
        attributes: &Attributes<'_>,
        decision: &Decision,
    ) -> Result<(), Refused> {
        if let Reason::Denied(rule) = &decision.reason {
            let text = format!("rule {} of `{}` matches", rule.rule, policy_of(rule));
            let refused = self.refuse(LayerName::Deny, text, rule, question, attributes);
            self.shadow(decision);
            return refused;
        }
        if has(question, Action::Deny) {
            self.say(LayerName::Deny, Said::Passed, "no rule matches".to_owned(), None);
        }
        Ok(())
    }

    fn allow(
        &mut self,
        question: &Question<'_>,
        attributes: &Attributes<'_>,
        decision: &Decision,
    ) -> Result<(), Refused> {
        let refused = match &decision.reason {
            Reason::Allowed(rule) => {
                let text = format!("rule {} of `{}` matches", rule.rule, policy_of(rule));
                self.say(LayerName::Allow, Said::Allowed, text, Some(rule.as_ref()));
                self.decided = Some((rule.as_ref().clone(), held(question, rule, attributes)));
                Ok(())
            }
            Reason::NoPolicy => {
                let text = "no ALLOW policy applies, so all that is not denied is allowed";
                self.say(LayerName::Allow, Said::Allowed, text.to_owned(), None);
                Ok(())
            }
            Reason::NoAllowMatched | Reason::NoConfig | Reason::Denied(_) => {
                let names = applied(question, Action::Allow);
                let text = format!("no rule of {} matches", names.join(", "));
                self.say(LayerName::Allow, Said::Denied, text, None);
                self.nearest = nearest(question, attributes);
                Err((LayerName::Allow, attributes.http.map(|_| 403)))
            }
        };
        self.shadow(decision);
        refused
    }

    fn shadow(&mut self, decision: &Decision) {
        let Some(shadow) = &decision.shadow else { return };
        for (name, result) in [("DENY", &shadow.deny), ("ALLOW", &shadow.allow)] {
            let Some((verdict, reason)) = result else { continue };
            let would = match verdict {
                Verdict::Allow => "would allow",
                Verdict::Deny => "would deny",
            };
            let rule = match reason {
                Reason::Allowed(rule) | Reason::Denied(rule) => Some(rule.as_ref()),
                _ => None,
            };
            let text = format!("the {name} policies in dry-run {would} it");
            self.say(LayerName::DryRun, Said::Noted, text, rule);
        }
    }

    fn refuse(
        &mut self,
        layer: LayerName,
        text: String,
        rule: &RuleName,
        question: &Question<'_>,
        attributes: &Attributes<'_>,
    ) -> Result<(), Refused> {
        self.say(layer, Said::Denied, text, Some(rule));
        self.decided = Some((rule.clone(), held(question, rule, attributes)));
        Err((layer, attributes.http.map(|_| 403)))
    }

    pub(super) fn say(
        &mut self,
        layer: LayerName,
        said: Said,
        text: String,
        rule: Option<&RuleName>,
    ) {
        self.layers.push(Layer { layer, said, text, rule: rule.map(ToString::to_string) });
    }
}

/// Why the provider of a rule can't be asked.
fn unaskable(question: &Question<'_>, rule: &RuleName) -> String {
    let name = rule.missing_provider.as_deref().unwrap_or_default();
    let providers = &question.scope.mesh.extension_providers;
    match providers.iter().find(|provider| provider.name == name) {
        None => format!("no extension provider of the mesh is called `{name}`"),
        Some(provider) => match &provider.trouble {
            Some(trouble) => format!("`{name}` can't be asked: {trouble}"),
            None => "CUSTOM policies of two providers apply, and none is asked then".to_owned(),
        },
    }
}

/// The conditions of a rule that matches.
fn held(question: &Question<'_>, rule: &RuleName, attributes: &Attributes<'_>) -> Vec<Condition> {
    let named = policy_of(rule);
    let policy = question.policies.iter().find(|it| PolicyRef::of(&it.metadata) == named);
    let Some(policy) = policy else { return Vec::new() };
    match trace(policy, rule.rule, question.scope, attributes) {
        Some(Traced::Tried(tried)) => {
            tried.iter().map(|tried| Condition::of(tried, policy, rule.rule)).collect()
        }
        _ => Vec::new(),
    }
}

fn has(question: &Question<'_>, action: Action) -> bool {
    !applied(question, action).is_empty()
}

/// The enforced policies of an action that apply, by name.
pub(super) fn applied(question: &Question<'_>, action: Action) -> Vec<String> {
    let enforced = question.compiled.applied().filter(|applied| {
        applied.action == action && applied.enforcement == crate::Enforcement::Enforced
    });
    let mut names: Vec<String> = enforced.map(|applied| format!("`{}`", applied.policy)).collect();
    names.sort();
    names
}

fn policy_of(rule: &RuleName) -> PolicyRef {
    PolicyRef { namespace: rule.namespace.to_string(), name: rule.policy.to_string() }
}

fn mode_text(question: &Question<'_>) -> String {
    let port = question.attributes.destination_port;
    let speaks = match question.protocol {
        Protocol::Auto => "of no declared protocol",
        Protocol::Tcp => "TCP",
        Protocol::Http | Protocol::Http2 | Protocol::Grpc => "HTTP",
    };
    match question.mode_from.last() {
        Some(policy) => format!("{} by `{policy}` at port {port} ({speaks})", question.mode),
        None => format!("{} at port {port} ({speaks})", question.mode),
    }
}
