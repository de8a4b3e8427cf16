//! What a client gets whose request is well formed but refused, and what the access log says about it:
//! Istio's answers to the byte, so that clients and dashboards made for Istio keep working.
//!
//! Source: `conformance/refused-responses.json`, recorded from a real Envoy. Requests that are not well
//! formed are answered by [`crate::LocalReply::to_error`]; date and framing are the writer's part.

use std::borrow::Cow;

use crate::normalize::TargetError;

/// Why a request is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// By authorization: a rule matched that denies, or no rule that allows (`None`).
    Denied {
        /// Name of the denying rule.
        rule: Option<String>,
    },
    /// Its token is not accepted.
    Token {
        /// What is wrong with the token.
        fault: TokenFault,
        /// What was asked for ([`realm`]).
        realm: String,
    },
    /// Its path cannot be normalised, or is none.
    Path(TargetError),
}

/// What is wrong with a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TokenFault {
    /// In Envoy's words; also the body of the answer.
    pub reason: &'static str,
    /// 403 in place of 401: a sound token that is meant for somebody else.
    pub is_forbidden: bool,
}

/// What of a request decides the form of a refusal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// The method; HEAD gets no body.
    pub method: &'a str,
    /// The content type; gRPC gets its own form.
    pub content_type: Option<&'a [u8]>,
    /// Whether it has a body that has not been read.
    pub body: Body,
}

/// Whether a request's body is still to come when it is refused.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Body {
    /// There is none, or it was read.
    #[default]
    Done,
    /// Unread; an HTTP/1.1 connection cannot be used again.
    Unread,
}

/// A response to write.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Header fields, in order, without `date`, `content-length` and `connection`.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// Body; also for HEAD, where only its length is sent.
    pub body: &'static str,
    /// Whether the body is sent.
    pub framing: Framing,
    /// Whether the HTTP/1.1 connection ends with it.
    pub connection: Connection,
}

/// How the body of a [`Reply`] goes out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// With its length.
    Sized,
    /// Only its length (HEAD).
    LengthOnly,
    /// Neither body nor length: header fields are all there is (gRPC); HTTP/1.1 sends length 0.
    HeadersOnly,
}

/// What becomes of an HTTP/1.1 connection after a [`Reply`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Connection {
    /// It can be used again.
    Keep,
    /// `connection: close`, then it is closed.
    Close,
}

impl Refusal {
    /// The response to send.
    #[must_use]
    pub fn reply(&self, asked: Asked<'_>) -> Reply {
        let mut headers: Vec<(&'static str, Cow<'static, str>)> = Vec::with_capacity(5);
        if let Self::Token { realm, .. } = self {
            let challenge = format!("Bearer realm=\"{realm}\", error=\"invalid_token\"");
            headers.push(("www-authenticate", challenge.into()));
        }
        let body = self.body();
        let grpc = self.grpc().filter(|_| asked.content_type.is_some_and(is_grpc));
        if let Some((grpc_status, message)) = grpc {
            headers.push(("content-type", "application/grpc".into()));
            headers.push(("grpc-status", grpc_status.into()));
            headers.push(("grpc-message", message.into()));
        } else if !body.is_empty() {
            headers.push(("content-type", "text/plain".into()));
        }
        headers.push(("server", "istio-envoy".into()));
        Reply {
            status: if grpc.is_some() { 200 } else { self.status() },
            headers,
            body: if grpc.is_some() { "" } else { body },
            framing: match (grpc, asked.method) {
                (Some(_), _) => Framing::HeadersOnly,
                (None, "HEAD") => Framing::LengthOnly,
                (None, _) => Framing::Sized,
            },
            connection: if matches!(self, Self::Path(_)) || asked.body == Body::Unread {
                Connection::Close
            } else {
                Connection::Keep
            },
        }
    }

    /// `RESPONSE_CODE_DETAILS` of the access log; of a TCP connection, its termination details.
    #[must_use]
    pub fn details(&self) -> Cow<'static, str> {
        match self {
            Self::Denied { rule } => {
                let rule = rule.as_deref().unwrap_or("none");
                format!("rbac_access_denied_matched_policy[{rule}]").into()
            }
            Self::Token { fault, .. } => {
                format!("jwt_authn_access_denied{{{}}}", fault.reason.replace(' ', "_")).into()
            }
            Self::Path(TargetError::Malformed) => "path_normalization_failed".into(),
            Self::Path(TargetError::NotAPath) => "absolute_path_rejected".into(),
        }
    }

    /// The HTTP status, of a request that is not gRPC.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Denied { .. }
            | Self::Token { fault: TokenFault { is_forbidden: true, .. }, .. } => 403,
            Self::Token { .. } => 401,
            Self::Path(TargetError::Malformed) => 400,
            Self::Path(TargetError::NotAPath) => 404,
        }
    }

    fn body(&self) -> &'static str {
        match self {
            Self::Denied { .. } => "RBAC: access denied",
            Self::Token { fault, .. } => fault.reason,
            Self::Path(_) => "",
        }
    }

    /// `grpc-status` and `grpc-message`; none if even a gRPC client gets the HTTP form.
    #[must_use]
    pub fn grpc(&self) -> Option<(&'static str, &'static str)> {
        let status = match self {
            Self::Denied { .. }
            | Self::Token { fault: TokenFault { is_forbidden: true, .. }, .. } => "7",
            Self::Token { .. } => "16",
            Self::Path(_) => return None,
        };
        Some((status, self.body()))
    }
}

/// `SCHEME://AUTHORITY/PATH`, as the challenge to a bad token names what was asked for. The query, which
/// may hold a token, is left out, and a long path is cut as in Envoy.
#[must_use]
pub fn realm(scheme: &str, authority: &str, path: &str) -> String {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let path = path.get(..MAX_REALM_PATH).unwrap_or(path);
    format!("{scheme}://{authority}{path}").replace('"', "%22")
}

const MAX_REALM_PATH: usize = 256;

/// `application/grpc`, also with a suffix such as `+proto`; not `application/grpc-web`.
#[must_use]
pub fn is_grpc(content_type: &[u8]) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    matches!(content_type.strip_prefix(GRPC), Some([] | [b'+' | b';', ..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Refusal> {
        let token = |reason, is_forbidden| Refusal::Token {
            fault: TokenFault { reason, is_forbidden },
            realm: "http://a/b".to_owned(),
        };
        vec![
            Refusal::Denied { rule: Some("ns[a]-policy[b]-rule[0]".to_owned()) },
            Refusal::Denied { rule: None },
            token("Audiences in Jwt are not allowed", true),
            token("Jwt verification fails", false),
            Refusal::Path(TargetError::Malformed),
            Refusal::Path(TargetError::NotAPath),
        ]
    }

    #[test]
    fn refusals_look_as_with_istio() {
        let table: Vec<String> = all()
            .iter()
            .map(|refusal| {
                let http = refusal.reply(Asked::default());
                let content_type = Some(&b"application/grpc+proto"[..]);
                let grpc = refusal.reply(Asked { content_type, ..Asked::default() });
                let status = grpc.headers.iter().find(|(name, _)| *name == "grpc-status");
                format!(
                    "{} {:?} {:?} {} | {} {}",
                    http.status,
                    http.body,
                    http.connection,
                    refusal.details(),
                    grpc.status,
                    status.map_or("-", |(_, value)| value)
                )
            })
            .collect();
        insta::assert_snapshot!(table.join("\n"));
    }

    #[test]
    fn the_realm_is_what_was_asked_for_without_query() {
        assert_eq!(realm("http", "a:80", "/b?access_token=c"), "http://a:80/b");
        assert_eq!(realm("https", "a", "/b\"c"), "https://a/b%22c");
        assert_eq!(realm("http", "a", &format!("/{}", "x".repeat(300))).len(), 8 + 256);
    }

    #[test]
    fn grpc_is_told_by_its_content_type() {
        for (content_type, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=x", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            assert_eq!(is_grpc(content_type.as_bytes()), expected, "{content_type}");
        }
    }

    #[test]
    fn an_unread_body_ends_the_connection_and_head_gets_no_body() {
        let denied = Refusal::Denied { rule: None };
        let reply = denied.reply(Asked { body: Body::Unread, ..Asked::default() });
        assert_eq!((reply.connection, reply.framing), (Connection::Close, Framing::Sized));
        let reply = denied.reply(Asked { method: "HEAD", ..Asked::default() });
        assert_eq!((reply.connection, reply.framing), (Connection::Keep, Framing::LengthOnly));
        assert_eq!(reply.body.len(), 19);
    }
}
