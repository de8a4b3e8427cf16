//! A gRPC authorizer: `envoy.service.auth.v3.Authorization/Check` with the attributes of the request or
//! the connection (Envoy `check_request_utils.cc`, `ext_authz_grpc_impl.cc`).

use std::{collections::HashMap, net::SocketAddr, time::SystemTime};

use http_body_util::Full;
use palisade_types::{BodyForm, ExtensionProvider};
use palisade_wire::ext_authz::{
    Address, AttributeContext, CHECK, CheckRequest, CheckResponse, HeaderValueOption,
    HttpRequest as Seen, HttpResponse, Peer, Request as SeenAt, SocketAddress,
};

use super::{AskError, Changes, External, PARTIAL, Request, Said};
use crate::{
    calls::grpc::{framed, request as request_to, unframed},
    inbound::peer::Connection,
    upstream::Dial,
    worker::Worker,
};

pub(super) async fn check(
    worker: &Worker,
    connection: &Connection,
    provider: &ExtensionProvider,
    dial: Dial<'_>,
    request: Option<&Request>,
) -> Result<Said, AskError> {
    let own = own_identity(worker, connection);
    let form = provider.body.map_or(BodyForm::Text, |body| body.form);
    let asked = CheckRequest { attributes: Some(attributes(connection, own, request, form)) };
    let question = request_to(&provider.service, CHECK)
        .body(Full::new(framed(&asked)))
        .map_err(|_| AskError::Answer("to be called by a name that is no host"))?;
    let answer = worker.calls.http2(worker, dial, question).await?;
    let fields = request.map(|request| request.fields.as_slice()).unwrap_or_default();
    said(unframed(answer)?, fields)
}

/// Who we are in the handshake; nobody for plaintext.
fn own_identity(worker: &Worker, connection: &Connection) -> String {
    let active = worker.shared.active();
    let own = active.as_deref().filter(|_| connection.principal().is_some());
    own.map(|active| active.config.workload.identity.to_string()).unwrap_or_default()
}

fn attributes(
    connection: &Connection,
    own: String,
    request: Option<&Request>,
    form: BodyForm,
) -> AttributeContext {
    let peer = |at: SocketAddr, principal: String| Peer {
        address: Some(Address {
            socket_address: Some(SocketAddress {
                address: at.ip().to_string(),
                port_value: at.port().into(),
            }),
        }),
        principal,
    };
    let principal = connection.principal().unwrap_or_default().to_owned();
    AttributeContext {
        source: Some(peer(connection.source, principal)),
        destination: Some(peer(connection.destination, own)),
        request: request.map(|request| SeenAt {
            time: Some(SystemTime::now().into()),
            http: Some(seen(request, form)),
        }),
    }
}

fn seen(request: &Request, form: BodyForm) -> Seen {
    let path = request.path.clone().unwrap_or_default();
    let mut headers: HashMap<String, String> = HashMap::new();
    let pseudo = [
        (":authority", request.authority.as_str()),
        (":method", &request.method),
        (":path", &path),
        (":scheme", request.scheme),
    ];
    headers.extend(pseudo.map(|(name, value)| (name.to_owned(), value.to_owned())));
    for (name, value) in &request.fields {
        let value = String::from_utf8_lossy(value);
        headers
            .entry(name.clone())
            .and_modify(|all| {
                all.push(',');
                all.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    let (mut body, mut raw_body) = (String::new(), Vec::new());
    if let Some(shown) = &request.body {
        headers.insert(PARTIAL.to_owned(), shown.is_cut.to_string());
        match form {
            BodyForm::Text => body = String::from_utf8_lossy(&shown.bytes).into_owned(),
            BodyForm::Bytes => raw_body.clone_from(&shown.bytes),
        }
    }
    let id = headers.get("x-request-id").cloned().unwrap_or_default();
    Seen {
        id,
        method: request.method.clone(),
        headers,
        path,
        host: request.authority.clone(),
        scheme: request.scheme.to_owned(),
        // What has come so far, as with Envoy.
        size: request.body.as_ref().map_or(0, |shown| shown.received),
        protocol: request.protocol.to_owned(),
        body,
        raw_body,
    }
}

fn said(answer: CheckResponse, fields: &[(String, Vec<u8>)]) -> Result<Said, AskError> {
    let allowed = answer.status.is_none_or(|status| status.code == 0);
    match (allowed, answer.http_response) {
        (true, Some(HttpResponse::OkResponse(ok))) => {
            let mut changes = Changes::default();
            if !ok.query_parameters_to_set.is_empty() || !ok.query_parameters_to_remove.is_empty() {
                return Err(AskError::Answer("to change the query"));
            }
            for option in &ok.headers {
                let Some((name, value)) = field(option) else { continue };
                if option.append == Some(true) {
                    changes.append(name, value, fields)?;
                } else {
                    changes.set(name, value)?;
                }
            }
            for name in &ok.headers_to_remove {
                changes.remove(name)?;
            }
            for (name, value) in ok.response_headers_to_add.iter().filter_map(field) {
                changes.respond(name, value)?;
            }
            Ok(Said::Yes(changes))
        }
        (true, _) => Ok(Said::Yes(Changes::default())),
        (false, denied) => Ok(Said::No(refusal(denied))),
    }
}

fn refusal(denied: Option<HttpResponse>) -> External {
    let mut external =
        External { status: 403, fields: Vec::new(), body: Vec::new(), is_error: false };
    let Some(HttpResponse::DeniedResponse(denied)) = denied else { return external };
    let status = denied.status.and_then(|status| u16::try_from(status.code).ok());
    external.status = status.filter(|status| (200..600).contains(status)).unwrap_or(403);
    external.body = denied.body.into_bytes();
    // There is nothing to append to (Envoy `ext_authz.cc`, which leaves them out).
    let set = denied.headers.iter().filter(|option| option.append != Some(true));
    for (name, value) in set.filter_map(field) {
        external.field(name, value);
    }
    external
}

fn field(option: &HeaderValueOption) -> Option<(&str, &[u8])> {
    let header = option.header.as_ref()?;
    let raw = header.raw_value.as_slice();
    Some((&header.key, if raw.is_empty() { header.value.as_bytes() } else { raw }))
}

#[cfg(test)]
mod tests {
    use ::http::HeaderName;
    use palisade_wire::ext_authz::Message as _;

    use super::*;
    use crate::smoke::smoke;

    /// Whatever a provider says, what comes of it can be written, and never says where a request goes or ends.
    fn answer(bytes: &[u8]) {
        let Ok(answer) = CheckResponse::decode(bytes) else { return };
        let fields = [("cookie".to_owned(), b"a=b".to_vec())];
        let value = |value: &[u8]| ::http::HeaderValue::from_bytes(value).is_ok();
        match said(answer, &fields) {
            Err(_) => {}
            Ok(Said::Yes(changes)) => {
                for (name, text) in changes.set.iter().chain(&changes.response) {
                    assert!(HeaderName::from_lowercase(name.as_bytes()).is_ok() && value(text));
                }
                for name in changes.set.iter().map(|(name, _)| name).chain(&changes.removed) {
                    let framing = ["host", "content-length", "transfer-encoding", "connection"];
                    assert!(!framing.contains(&name.as_str()), "{name}");
                }
            }
            Ok(Said::No(refusal)) => {
                assert!((200..600).contains(&refusal.status));
                for (name, text) in &refusal.fields {
                    assert!(HeaderName::from_bytes(name.as_bytes()).is_ok() && value(text));
                }
            }
        }
    }

    #[test]
    fn the_corpus_holds() {
        smoke("authorizer", 5_000, answer);
    }
}
