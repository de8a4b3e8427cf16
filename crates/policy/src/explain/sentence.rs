//! The verdict and its reason in one sentence.

use palisade_manifest::Action;

use super::{Explanation, LayerName, Nearest, Question, layers::applied};
use crate::Verdict;

pub(super) fn sentence(question: &Question<'_>, explained: &Explanation) -> String {
    let mut text = verdict(question, explained);
    if explained.verdict == Verdict::Allow {
        if let Some(provider) = &explained.asks {
            text.push_str(&format!(", if the external authorizer `{provider}` allows it too"));
        }
        if let Some(issuer) = &explained.unverified {
            text.push_str(&format!(", if the signature of the token is one of `{issuer}`"));
        }
    }
    text
}

fn verdict(question: &Question<'_>, explained: &Explanation) -> String {
    let call = call(question);
    let rule = explained.policy.as_ref().zip(index(explained.rule.as_deref()));
    match (explained.verdict, explained.refused_by, rule) {
        (Verdict::Allow, ..) if !question.has_sidecar => {
            format!("{call} is allowed, as the workload has no sidecar that could refuse it")
        }
        (Verdict::Allow, _, Some((policy, index))) => {
            format!("{call} is allowed by rule {index} of `{policy}`")
        }
        (Verdict::Allow, ..) => {
            format!("{call} is allowed, as no ALLOW policy applies and no DENY rule matches")
        }
        (Verdict::Deny, Some(LayerName::Mtls), _) => {
            format!("{call} is reset, as the port takes mTLS only and the caller speaks plaintext")
        }
        (Verdict::Deny, Some(LayerName::Deny), Some((policy, index))) => {
            format!("{call} is denied by rule {index} of `{policy}`, whatever ALLOW policies say")
        }
        (Verdict::Deny, Some(LayerName::Allow), _) => {
            let count = applied(question, Action::Allow).len();
            let nearest = explained.nearest.as_ref().map(nearest).unwrap_or_default();
            let apply = match count {
                1 => "the one ALLOW policy that applies does not match".to_owned(),
                _ => format!("none of the {count} ALLOW policies that apply matches"),
            };
            format!("{call} is denied, as {apply}{nearest}")
        }
        (Verdict::Deny, ..) => {
            let text = explained.layers.last().map_or("", |layer| layer.text.as_str());
            format!("{call} is refused: {text}")
        }
    }
}

fn nearest(nearest: &Nearest) -> String {
    let Nearest { policy, rule, failed } = nearest;
    let Some(first) = failed.first() else { return String::new() };
    let clause = first.clause();
    let hint = first.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    let more = match failed.len() - 1 {
        0 => String::new(),
        1 => "; 1 more condition fails".to_owned(),
        more => format!("; {more} more conditions fail"),
    };
    format!("; nearest is rule {rule} of `{policy}`, which fails on the {clause}{hint}{more}")
}

/// `GET /a from a/b`.
fn call(question: &Question<'_>) -> String {
    let attributes = &question.attributes;
    let from = match attributes.identities.first() {
        Some(identity) => identity.strip_prefix("spiffe://").unwrap_or(identity).to_owned(),
        None => format!("{} (no identity)", attributes.source_ip),
    };
    match &attributes.http {
        Some(http) => {
            let path = http.path.unwrap_or(http.authority);
            format!("{} {path} from {from}", http.method)
        }
        None => format!("a connection to port {} from {from}", attributes.destination_port),
    }
}

/// The index at the end of a rule's name.
fn index(rule: Option<&str>) -> Option<&str> {
    let (_, rest) = rule?.rsplit_once("-rule[")?;
    rest.split_once(']').map(|(index, _)| index)
}
