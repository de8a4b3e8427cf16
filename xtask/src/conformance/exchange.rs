//! One request at a port, in the order in which the sidecar goes about it.

use palisade_http::{
    Framing, Limits, LocalReply, Malformed, Name, RequestError, RequestHead,
    normalize::normalize,
    refusal::{Asked, Body, Refusal, Reply},
};
use palisade_manifest::RequestAuthentication;
use palisade_policy::{
    AcceptedToken, Attributes, Custom, Decision, HeaderFields, Http, Scope, TokenVerdict,
    client_address, token_refusal,
};
use palisade_types::{Mesh, MtlsMode};

use super::{
    case::{By, Request, Workload},
    client::{Client, Connection, Layer, Served, connect},
    policies::Policies,
    token,
};

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Server<'a> {
    pub(crate) mesh: &'a Mesh,
    pub(crate) workload: &'a Workload,
    pub(crate) policies: &'a Policies,
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum Exchange {
    /// The connection got nowhere; by a deviation, if Istio lets it through.
    NoConnection { deviation: Option<&'static str> },
    /// A connection was decided over by the TCP rules.
    Tcp(Decision),
    /// A request was passed on.
    Passed(Decision),
    /// A request was refused.
    Refused { refusal: Refusal, reply: Reply, decision: Option<Decision> },
    /// What was sent is no request.
    Unreadable(RequestError),
}

impl Server<'_> {
    fn scope(&self) -> Scope<'_> {
        let Workload { namespace, labels, .. } = self.workload;
        Scope { mesh: self.mesh, namespace, labels }
    }

    pub(crate) fn mode(&self, port: u16) -> MtlsMode {
        self.policies.mtls(self.scope()).at(port)
    }

    /// The RequestAuthentications that apply.
    pub(crate) fn request_authentications(&self) -> Vec<&RequestAuthentication> {
        let (scope, all) = (self.scope(), self.policies.request());
        all.iter().filter(|policy| scope.selects_authentication(policy)).collect()
    }

    /// Lets a client do what the request says.
    pub(crate) fn ask(&self, request: &Request, client: &Client) -> Exchange {
        let port = request.port.unwrap_or(self.workload.port);
        match connect(self.mode(port), self.workload.protocol, self.mesh, client) {
            Connection::Reset => Exchange::NoConnection { deviation: None },
            Connection::HandshakeRefused(deviation) => Exchange::NoConnection { deviation },
            Connection::HandedOn { sni } => self.decide_tcp(request, &[], &sni),
            Connection::Served(served) => match served.layer {
                Layer::Tcp => self.decide_tcp(request, &served.identities, &served.sni),
                Layer::Http => match self.answer(request, &served) {
                    Ok(exchange) => exchange,
                    // The client gets 400 for its ClientHello, which it cannot read either.
                    Err(_) if client.tls.is_some() && served.identities.is_empty() => {
                        Exchange::NoConnection { deviation: None }
                    }
                    Err(error) => Exchange::Unreadable(error),
                },
            },
        }
    }

    fn decide_tcp(&self, request: &Request, identities: &[String], sni: &str) -> Exchange {
        let attributes = self.attributes(request, identities, sni);
        Exchange::Tcp(self.policies.compile(self.scope()).decide(&attributes))
    }

    fn answer(&self, request: &Request, served: &Served) -> Result<Exchange, RequestError> {
        let mut head = RequestHead::default();
        let buf = served.bytes.as_slice();
        let complete = head.parse(buf, Limits::default())?;
        complete.ok_or(RequestError::Malformed(Malformed::LineEnd))?;
        let fields: Vec<(&str, &[u8])> = head.fields(buf).collect();
        let asked = Asked {
            method: head.method().as_str(),
            content_type: head.field(buf, Name::ContentType),
            body: match head.framing() {
                Framing::None | Framing::Length(0) | Framing::Tunnel => Body::Done,
                Framing::Length(_) | Framing::Chunked | Framing::UntilClose => Body::Unread,
            },
        };
        let refuse = |refusal: Refusal, decision| Exchange::Refused {
            reply: refusal.reply(asked),
            refusal,
            decision,
        };
        let mode = self.mesh.path_normalization;
        let path = match head.path(buf).map(|path| normalize(path, mode)).transpose() {
            Ok(path) => path,
            Err(error) => return Ok(refuse(Refusal::Path(error), None)),
        };
        let mut http = Http {
            method: asked.method,
            path: path.as_deref(),
            authority: head.authority(buf),
            scheme: served.scheme,
            headers: HeaderFields(&fields),
            claims: None,
        };
        let mut attributes = self.attributes(request, &served.identities, &served.sni);
        attributes.remote_ip = client_address(
            attributes.remote_ip,
            self.workload.forwarding(),
            http.headers.values("x-forwarded-for"),
        );
        let compiled = self.policies.compile(self.scope());
        attributes.http = Some(http);
        if let Custom::Denied(decision) = compiled.custom(&attributes)
            && let Some(refusal) = decision.refusal()
        {
            return Ok(refuse(refusal, Some(decision)));
        }
        let accepted = match self.policies.tokens(self.scope()).check(&http, token::now()) {
            TokenVerdict::Missing => AcceptedToken::default(),
            TokenVerdict::Accepted(accepted) => *accepted,
            TokenVerdict::Refused(fault) => {
                return Ok(refuse(token_refusal(fault, &http), None));
            }
        };
        let fields = accepted.headers(&fields);
        http.headers = HeaderFields(&fields);
        http.claims = accepted.claims.is_object().then_some(&accepted.claims);
        attributes.http = Some(http);
        let decision = compiled.decide_after_custom(&attributes);
        Ok(match decision.refusal() {
            Some(refusal) => refuse(refusal, Some(decision)),
            None => Exchange::Passed(decision),
        })
    }

    fn attributes<'a>(
        &self,
        request: &Request,
        identities: &'a [String],
        sni: &'a str,
    ) -> Attributes<'a> {
        let source_ip = request.source();
        Attributes {
            identities,
            source_ip,
            remote_ip: request.proxy_source_ip.unwrap_or(source_ip),
            destination_ip: self.workload.address(source_ip),
            destination_port: request.port.unwrap_or(self.workload.port),
            sni,
            http: None,
        }
    }
}

impl Exchange {
    /// What refused it, if anything did.
    pub(crate) fn refused_by(&self) -> Option<By> {
        match self {
            Self::NoConnection { .. } => Some(By::Transport),
            Self::Tcp(decision) => decision.refusal().map(|_| By::Authorization),
            Self::Refused { refusal: Refusal::Denied { .. }, .. } => Some(By::Authorization),
            Self::Refused { refusal: Refusal::Token { .. }, .. } => Some(By::RequestAuthentication),
            Self::Refused { refusal: Refusal::Path(_), .. } | Self::Unreadable(_) => Some(By::Http),
            Self::Passed(_) => None,
        }
    }

    /// Status of the answer; 200 for what the application would answer.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { reply, .. } => Some(reply.status),
            Self::Unreadable(error) => Some(LocalReply::to_error(*error).status),
            Self::Passed(_) => Some(200),
            Self::NoConnection { .. } | Self::Tcp(_) => None,
        }
    }

    /// `grpc-status` of the answer.
    pub(crate) fn grpc_status(&self) -> Option<u16> {
        let Self::Refused { reply, .. } = self else { return None };
        reply.headers.iter().find(|(name, _)| *name == "grpc-status")?.1.parse().ok()
    }

    /// What the policies decided, if they were asked.
    pub(crate) fn decision(&self) -> Option<&Decision> {
        match self {
            Self::Tcp(decision) | Self::Passed(decision) => Some(decision),
            Self::Refused { decision, .. } => decision.as_ref(),
            Self::NoConnection { .. } | Self::Unreadable(_) => None,
        }
    }
}
