//! Fields of HTTP/2 messages: what the edits of a request make of them, and which trailers pass.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request,
    header::{DATE, SERVER},
    uri::{Authority, PathAndQuery, Scheme, Uri},
};
use palisade_http::{
    Edits, Malformed, Name, RequestError, RequestHead, normalize::TargetError, refusal::Refusal,
};
use smallvec::SmallVec;

use crate::{answer::Answer, signature::Signature};

/// Changes the fields of a request as they are passed on.
pub(super) fn edit(
    fields: &mut HeaderMap,
    head: &RequestHead,
    edits: &Edits<'_>,
) -> Result<(), Answer> {
    let goes = |name: &&HeaderName| match Name::of(name.as_str().as_bytes()) {
        // It stays in `:authority`.
        Name::Host => true,
        Name::Expect if head.expects_continue() => true,
        known => known.is_hop_by_hop() && known != Name::Te || edits.removes(name.as_str()),
    };
    let removed: SmallVec<[HeaderName; 8]> = fields.keys().filter(goes).cloned().collect();
    for name in removed {
        fields.remove(name);
    }
    for (name, value) in edits.added() {
        fields.append(name_of(name)?, value_of(value));
    }
    Ok(())
}

/// The fields of a request in HTTP/1.1, as they are passed on in HTTP/2.
fn of(head: &RequestHead, received: &[u8], edits: &Edits<'_>) -> Result<HeaderMap, Answer> {
    let mut fields = HeaderMap::with_capacity(32);
    for (name, value) in head.fields(received) {
        // Framing is HTTP/2's own affair.
        if Name::of(name.as_bytes()) != Name::TransferEncoding {
            fields.append(name_of(name)?, value_of(value));
        }
    }
    if head.field(received, Name::Te).is_some_and(|te| te.eq_ignore_ascii_case(b"trailers")) {
        fields.insert(http::header::TE, HeaderValue::from_static("trailers"));
    }
    edit(&mut fields, head, edits)?;
    Ok(fields)
}

/// A request in HTTP/1.1, as it is passed on in HTTP/2.
pub(super) fn request(
    head: &RequestHead,
    received: &[u8],
    edits: &Edits<'_>,
) -> Result<Request<()>, Answer> {
    let method = head.method().as_str().parse();
    let mut request = Request::new(());
    *request.method_mut() = method.map_err(|_| Answer::Unreadable(RequestError::Method))?;
    *request.uri_mut() = uri(head, received, edits, None)?;
    *request.headers_mut() = of(head, received, edits)?;
    Ok(request)
}

/// Where a request goes, as HTTP/2 says it. `original` is where it went when it came, if that was HTTP/2.
pub(super) fn uri(
    head: &RequestHead,
    received: &[u8],
    edits: &Edits<'_>,
    original: Option<&Uri>,
) -> Result<Uri, Answer> {
    let bad_host = |_| Answer::Unreadable(RequestError::Host);
    let bad_path = |_| Answer::Refused(Refusal::Path(TargetError::Malformed));
    let authority = match original.and_then(Uri::authority) {
        Some(authority) => authority.clone(),
        None => Authority::try_from(head.authority(received)).map_err(bad_host)?,
    };
    let path = edits.new_path().or_else(|| head.path(received)).unwrap_or("/");
    let path = match original.and_then(Uri::path_and_query) {
        Some(same) if same.as_str() == path => same.clone(),
        _ => PathAndQuery::try_from(path).map_err(bad_path)?,
    };
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(original.and_then(Uri::scheme).cloned().unwrap_or(Scheme::HTTP));
    parts.authority = Some(authority);
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).map_err(|_| Answer::Unreadable(RequestError::Target))
}

/// Adds fields to a response.
pub(super) fn add(fields: &mut HeaderMap, added: &[(String, Vec<u8>)]) {
    for (name, value) in added {
        // Names were checked where they came from.
        if let Ok(name) = name_of(name) {
            fields.append(name, value_of(value));
        }
    }
}

/// Signs a response.
pub(super) fn sign(fields: &mut HeaderMap, signature: &Signature) {
    fields.insert(SERVER, HeaderValue::from_static(signature.server));
    if !fields.contains_key(DATE) {
        fields.insert(DATE, value_of(signature.date().as_bytes()));
    }
}

/// Leaves of trailers what does not concern framing, routing or identity: no policy has seen them.
pub(super) fn harmless(mut trailers: HeaderMap) -> HeaderMap {
    let harmful = |name: &&HeaderName| {
        let known = Name::of(name.as_str().as_bytes());
        !matches!(known, Name::Other | Name::GrpcStatus | Name::GrpcMessage)
    };
    let removed: SmallVec<[HeaderName; 2]> = trailers.keys().filter(harmful).cloned().collect();
    for name in removed {
        trailers.remove(name);
    }
    trailers
}

/// The gRPC status, if the fields say one.
pub(super) fn grpc_status(fields: &HeaderMap) -> Option<u8> {
    fields.get("grpc-status")?.to_str().ok()?.parse().ok()
}

fn name_of(name: &str) -> Result<HeaderName, Answer> {
    let malformed = RequestError::Malformed(Malformed::FieldName);
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| Answer::Unreadable(malformed))
}

/// Control characters become `_`, as in HTTP/1.1.
fn value_of(value: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(value).unwrap_or_else(|_| {
        let is_control = |byte: u8| byte.is_ascii_control() && byte != b'\t';
        let clean = value.iter().map(|byte| if is_control(*byte) { b'_' } else { *byte });
        HeaderValue::from_maybe_shared(clean.collect::<Bytes>())
            .unwrap_or(HeaderValue::from_static("_"))
    })
}
