//! What an accepted token says to the application: header fields made of its claims.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use palisade_manifest::{JwtRule, is_reserved_header};
use serde_json::{Map, Value};

/// The fields that a rule makes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outputs {
    /// Field for the payload as it is in the token.
    payload: Option<String>,
    /// Fields, and the path of the claim in each.
    claims: Vec<(String, String)>,
}

impl Outputs {
    pub(crate) fn of(rule: &JwtRule) -> Self {
        let name = |name: &String| {
            let name = name.to_ascii_lowercase();
            (!name.is_empty() && !is_reserved_header(&name)).then_some(name)
        };
        let claims = rule.output_claim_to_headers.iter().flatten();
        Self {
            payload: name(&rule.output_payload_to_header),
            claims: claims
                .filter_map(|output| Some((name(&output.header)?, output.claim.clone())))
                .collect(),
        }
    }

    /// Names of the fields, in lower case. What a client sends in them is never passed on.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.payload.iter().chain(self.claims.iter().map(|(name, _)| name)).map(String::as_str)
    }

    /// The fields of a token.
    pub(crate) fn fields(
        &self,
        payload: &str,
        claims: &Map<String, Value>,
    ) -> Vec<(String, String)> {
        let payload = self.payload.iter().map(|name| (name.clone(), payload.to_owned()));
        let claims = self.claims.iter().filter_map(|(name, path)| {
            let value = text(claim(claims, path)?)?;
            // A claim is not to write a second field.
            (!value.contains(char::is_control)).then(|| (name.clone(), value))
        });
        payload.chain(claims).collect()
    }
}

/// The claim of that name, or along its dots.
fn claim<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let mut steps = path.split('.');
    let first = claims.get(steps.next()?)?;
    claims.get(path).or_else(|| steps.try_fold(first, |value, step| value.get(step)))
}

/// As Envoy writes it: text as it is, lists and objects as base64 of their JSON.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(_) | Value::Object(_) => Some(STANDARD.encode(value.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn claims_become_fields_as_with_envoy() {
        let outputs: Vec<Value> = ["a", "n", "b", "l", "o.x", "o.y", "gone", "bad", "o.x.z"]
            .map(|claim| json!({"header": format!("X-{claim}"), "claim": claim}))
            .to_vec();
        let rule = json!({
            "issuer": "i",
            "outputPayloadToHeader": "X-Payload",
            "outputClaimToHeaders": outputs,
        });
        let rule: JwtRule = serde_json::from_value(rule).unwrap();
        let claims = json!({
            "a": "text", "n": 7, "b": true, "l": [1], "o": {"x": "in", "y": null}, "bad": "a\r\nb: c",
        });
        let fields = Outputs::of(&rule).fields("cGF5", claims.as_object().unwrap());
        let fields: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(
            fields,
            ["x-payload: cGF5", "x-a: text", "x-n: 7", "x-b: true", "x-l: WzFd", "x-o.x: in"]
        );
    }

    #[test]
    fn no_claim_frames_a_message() {
        for name in ["Content-Length", "transfer-encoding", "host", "X-Forwarded-Client-Cert"] {
            let output = json!({"outputClaimToHeaders": [{"header": name, "claim": "a"}]});
            let rule: JwtRule = serde_json::from_value(output).unwrap();
            assert_eq!(Outputs::of(&rule).names().count(), 0, "{name}");
        }
    }
}
