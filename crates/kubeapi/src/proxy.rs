//! Requests that somebody else answers: the kubelet (exec, attach, logs, port-forward), or a
//! service or pod.
//!
//! The API server authenticates and authorizes, finds the other side, and passes bytes. A
//! caller's credentials are never passed on.

mod forward;

use http::{Method, Request};
use hyper::body::Incoming;
use serde_json::Value;
use tokio::net::{TcpStream, UnixStream};

use crate::{
    admission::{self, Operation},
    api::{Api, Call},
    endpoints::{self, PortName},
    http_io::Answer,
    object,
    request::Query,
    status::ApiError,
    write::Draft,
};
use forward::{Upstream, forward};

/// Answers `exec`, `attach`, `log` and `portforward` of a pod through its kubelet.
pub(crate) async fn kubelet(
    api: &Api,
    call: &Call,
    request: Request<Incoming>,
) -> Result<Answer, ApiError> {
    let pod = api.get(call)?;
    let connects = call.path.subresource != "log";
    if connects {
        let mut draft = Draft::of(pod.value.clone());
        admission::validate(api, call, Operation::Connect, None, &mut draft).await?;
    }
    if object::text(&pod.value, "/spec/nodeName").is_empty() {
        return Err(ApiError::bad_request(format!(
            "pod {} does not have a host assigned",
            call.path.name
        )));
    }
    let path = kubelet_path(call, &pod.value)?;
    let stream = UnixStream::connect(&api.kubelet).await.map_err(|error| {
        ApiError::unavailable(format!("the node's kubelet does not answer: {error}"))
    })?;
    let upstream = Upstream { authority: "kubelet".to_owned(), path };
    let answer = forward(stream, upstream, request).await?;
    Ok(answer)
}

/// The kubelet's own path and parameters for a call.
fn kubelet_path(call: &Call, pod: &Value) -> Result<String, ApiError> {
    let (namespace, name) = (&call.path.namespace, &call.path.name);
    let query = &call.query;
    if call.path.subresource == "portforward" {
        return Ok(format!("/portForward/{namespace}/{name}{}", encode(query, &["ports"])));
    }
    let container = container(call, pod)?;
    Ok(match call.path.subresource.as_str() {
        "log" => {
            let parameters = [
                "follow",
                "tailLines",
                "timestamps",
                "previous",
                "sinceSeconds",
                "sinceTime",
                "limitBytes",
                "stream",
            ];
            format!("/containerLogs/{namespace}/{name}/{container}{}", encode(query, &parameters))
        }
        what => format!("/{what}/{namespace}/{name}/{container}{}", streams(query)),
    })
}

/// The container that is meant: the one named, or the only one.
fn container(call: &Call, pod: &Value) -> Result<String, ApiError> {
    let names = |list: &str| -> Vec<String> {
        object::array(pod, &format!("/spec/{list}"))
            .map(|container| object::text(container, "/name").to_owned())
            .collect()
    };
    let (containers, init) = (names("containers"), names("initContainers"));
    let pod_name = &call.path.name;
    match (call.query.text("container"), containers.as_slice()) {
        ("", [only]) => Ok(only.clone()),
        ("", _) => {
            let mut message = format!(
                "a container name must be specified for pod {pod_name}, choose one of: [{}]",
                containers.join(" ")
            );
            if !init.is_empty() {
                message = format!("{message} or one of the init containers: [{}]", init.join(" "));
            }
            Err(ApiError::bad_request(message))
        }
        (wanted, _) if containers.iter().chain(&init).any(|name| name == wanted) => {
            Ok(wanted.to_owned())
        }
        (wanted, _) => Err(ApiError::bad_request(format!(
            "container {wanted} is not valid for pod {pod_name}"
        ))),
    }
}

/// Which streams and which command, as kubelets name them.
fn streams(query: &Query) -> String {
    let mut parameters = Vec::new();
    for (ours, theirs) in
        [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")]
    {
        if query.flag(ours) {
            parameters.push(format!("{theirs}=1"));
        }
    }
    parameters.extend(query.all("command").map(|word| format!("command={}", percent_encode(word))));
    if parameters.is_empty() { String::new() } else { format!("?{}", parameters.join("&")) }
}

fn encode(query: &Query, names: &[&str]) -> String {
    let parameters: Vec<String> = names
        .iter()
        .flat_map(|name| {
            query.all(name).map(move |value| format!("{name}={}", percent_encode(value)))
        })
        .collect();
    if parameters.is_empty() { String::new() } else { format!("?{}", parameters.join("&")) }
}

fn percent_encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}

/// Answers `services/NAME/proxy` and `pods/NAME/proxy`.
pub(crate) async fn http(
    api: &Api,
    call: &Call,
    request: Request<Incoming>,
) -> Result<Answer, ApiError> {
    let (scheme, name, port) = backend(&call.path.name);
    if scheme != "http" {
        return Err(ApiError::bad_request("only http can be proxied"));
    }
    let port = PortName::parse(port);
    let namespace = &call.path.namespace;
    let address = if call.resource.storage == "services" {
        endpoints::of_service(api, namespace, name, port)?
    } else {
        let pod = api
            .find("pods", namespace, name)
            .ok_or_else(|| ApiError::not_found(&call.resource, name))?;
        endpoints::of_pod(&pod.value, port)?
    };
    let path = match request.uri().query() {
        None => call.path.rest.clone(),
        Some(query) => format!("{}?{query}", call.path.rest),
    };
    let stream = TcpStream::connect(address).await.map_err(|error| {
        ApiError::unavailable(format!("error trying to reach service: dial tcp {address}: {error}"))
    })?;
    forward(stream, Upstream { authority: address.to_string(), path }, request).await
}

/// `[SCHEME:]NAME[:PORT]`.
fn backend(text: &str) -> (&str, &str, &str) {
    match text.split(':').collect::<Vec<_>>().as_slice() {
        [name] => ("http", name, ""),
        [name, port] | ["", name, port] => ("http", name, port),
        [scheme, name, port] => (scheme, name, port),
        _ => ("", text, ""),
    }
}

/// Whether a path is answered by somebody else.
pub(crate) fn is_proxied(call: &Call) -> bool {
    match (call.resource.storage.as_str(), call.path.subresource.as_str()) {
        ("pods", "exec" | "attach" | "portforward" | "proxy") | ("services", "proxy") => true,
        ("pods", "log") => matches!(call.method, Method::GET | Method::HEAD),
        _ => false,
    }
}

/// Passes a call on to whoever answers it.
pub(crate) async fn answer(
    api: &Api,
    call: &Call,
    request: Request<Incoming>,
) -> Result<Answer, ApiError> {
    if call.path.subresource == "proxy" {
        http(api, call, request).await
    } else {
        kubelet(api, call, request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_named_as_kubelets_do() {
        let query =
            Query::parse("command=sh&command=-c&command=echo+%26&stdin=true&stdout=true&tty=false")
                .unwrap();
        assert_eq!(streams(&query), "?input=1&output=1&command=sh&command=-c&command=echo%20%26");
        assert_eq!(streams(&Query::default()), "");
        let query = Query::parse("follow=true&tailLines=3&evil=1").unwrap();
        assert_eq!(encode(&query, &["follow", "tailLines"]), "?follow=true&tailLines=3");
    }

    #[test]
    fn backends_have_scheme_name_and_port() {
        let cases = [
            ("a", ("http", "a", "")),
            ("a:80", ("http", "a", "80")),
            ("https:a:443", ("https", "a", "443")),
            (":a:80", ("http", "a", "80")),
        ];
        for (text, wanted) in cases {
            assert_eq!(backend(text), wanted, "{text}");
        }
    }
}
