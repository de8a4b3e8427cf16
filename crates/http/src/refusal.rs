//! What a client gets whose request is refused before it is forwarded, and what the access log says
//! about it: Istio's answers to the byte, so that clients and dashboards made for Istio keep working.
//!
//! Source: `conformance/refused-responses.json`, recorded from a real Envoy. The date header and the
//! framing of HTTP/2 are the writer's part.

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
        /// `SCHEME://AUTHORITY/PATH` as requested, without query.
        realm: String,
    },
    /// HTTP/1.0 on an HTTP port.
    LowVersion,
    /// HTTP/1.1 without Host.
    MissingHost,
    /// Its path cannot be normalised.
    BadPath,
    /// Its target is no path.
    NotFound,
    /// The bytes are no HTTP request.
    Malformed,
}

/// What is wrong with a token, in Envoy's words.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenFault {
    /// None of the rule's audiences is among the token's: 403, all others are 401.
    Audience,
    /// `exp` has passed.
    Expired,
    /// No rule names the issuer.
    Issuer,
    /// Not three parts.
    Malformed,
    /// `nbf` is yet to come.
    NotYetValid,
    /// The signature does not verify, or there is no key to verify it with.
    Signature,
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
        let grpc = self.grpc_status().filter(|_| asked.content_type.is_some_and(is_grpc));
        if let Some(grpc_status) = grpc {
            headers.push(("content-type", "application/grpc".into()));
            headers.push(("grpc-status", grpc_status.into()));
            headers.push(("grpc-message", body.into()));
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
            connection: if self.ends_connection() || asked.body == Body::Unread {
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
                format!("jwt_authn_access_denied{{{}}}", fault.reason().replace(' ', "_")).into()
            }
            Self::LowVersion => "low_version".into(),
            Self::MissingHost => "missing_host_header".into(),
            Self::BadPath => "path_normalization_failed".into(),
            Self::NotFound => "route_not_found".into(),
            Self::Malformed => "http1.codec_error".into(),
        }
    }

    /// `RESPONSE_FLAGS` of the access log.
    #[must_use]
    pub fn flags(&self) -> &'static str {
        match self {
            Self::LowVersion | Self::Malformed => "DPE",
            Self::NotFound => "NR",
            Self::Denied { .. } | Self::Token { .. } | Self::MissingHost | Self::BadPath => "-",
        }
    }

    /// The HTTP status, of a request that is not gRPC.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Denied { .. } => 403,
            Self::Token { fault: TokenFault::Audience, .. } => 403,
            Self::Token { .. } => 401,
            Self::LowVersion => 426,
            Self::MissingHost | Self::BadPath | Self::Malformed => 400,
            Self::NotFound => 404,
        }
    }

    fn body(&self) -> &'static str {
        match self {
            Self::Denied { .. } => "RBAC: access denied",
            Self::Token { fault, .. } => fault.reason(),
            Self::LowVersion => "Upgrade Required",
            Self::Malformed => "Bad Request",
            Self::MissingHost | Self::BadPath | Self::NotFound => "",
        }
    }

    /// The gRPC status; none for what is refused before it is known to be gRPC.
    fn grpc_status(&self) -> Option<&'static str> {
        match self {
            Self::Denied { .. } => Some("7"),
            Self::Token { fault: TokenFault::Audience, .. } => Some("7"),
            Self::Token { .. } => Some("16"),
            Self::NotFound => Some("12"),
            Self::LowVersion | Self::MissingHost | Self::BadPath | Self::Malformed => None,
        }
    }

    fn ends_connection(&self) -> bool {
        matches!(self, Self::LowVersion | Self::MissingHost | Self::BadPath | Self::Malformed)
    }
}

impl TokenFault {
    /// The reason as Envoy words it, also the body of the answer.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Audience => "Audiences in Jwt are not allowed",
            Self::Expired => "Jwt is expired",
            Self::Issuer => "Jwt issuer is not configured",
            Self::Malformed => {
                "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"
            }
            Self::NotYetValid => "Jwt not yet valid",
            Self::Signature => "Jwt verification fails",
        }
    }
}

impl From<TargetError> for Refusal {
    fn from(error: TargetError) -> Self {
        match error {
            TargetError::Malformed => Self::BadPath,
            TargetError::NotAPath => Self::NotFound,
        }
    }
}

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
        let token = |fault| Refusal::Token { fault, realm: "http://a/b".to_owned() };
        vec![
            Refusal::Denied { rule: Some("ns[a]-policy[b]-rule[0]".to_owned()) },
            Refusal::Denied { rule: None },
            token(TokenFault::Audience),
            token(TokenFault::Signature),
            Refusal::LowVersion,
            Refusal::MissingHost,
            Refusal::BadPath,
            Refusal::NotFound,
            Refusal::Malformed,
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
                    "{} {:?} {:?} {} {} | {} {}",
                    http.status,
                    http.body,
                    http.connection,
                    refusal.flags(),
                    refusal.details(),
                    grpc.status,
                    status.map_or("-", |(_, value)| value)
                )
            })
            .collect();
        insta::assert_snapshot!(table.join("\n"));
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
