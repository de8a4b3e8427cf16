//! The kubelet's server on a unix socket: exec, attach and logs of containers.
//!
//! Whoever can open the socket may use it: the API server, which has authenticated and authorised
//! the request before it passes it on. The socket lies in the state directory, which no container
//! sees.

mod channels;
mod exec;
mod query;

use std::{convert::Infallible, fs, io, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Frame, Incoming},
    header,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::mpsc,
    task::JoinSet,
};

use crate::{
    context::Context,
    logs::{self, LogQuery},
};
use query::Query;

/// The body of every answer.
type Body = BoxBody<Bytes, Infallible>;

/// Why a request is answered with an error.
#[derive(Debug, PartialEq)]
struct Refusal {
    status: StatusCode,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// As the API server says it, which hands it on.
    fn into_response(self) -> Response<Body> {
        let reason = match self.status {
            StatusCode::NOT_FOUND => "NotFound",
            StatusCode::BAD_REQUEST => "BadRequest",
            _ => "InternalError",
        };
        let status = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": reason, "code": self.status.as_u16(),
        });
        let mut response = Response::new(full(status.to_string()));
        *response.status_mut() = self.status;
        let json = header::HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }
}

/// Binds the socket, in place of one that a former node has left.
pub(crate) fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let _ = fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves until dropped; what is under way ends with it.
pub(crate) async fn serve(listener: UnixListener, context: Arc<Context>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(connection(stream, context.clone()))),
                Err(error) => {
                    tracing::warn!(%error, "the kubelet socket could not accept");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: UnixStream, context: Arc<Context>) {
    // Upgraded streams outlive the HTTP connection; both end with this task.
    let (upgraded, mut sessions) = mpsc::channel(1);
    let service = service_fn(|request| {
        let (context, upgraded) = (Arc::clone(&context), upgraded.clone());
        async move { Ok::<_, Infallible>(answer(request, &context, upgraded).await) }
    });
    let serve = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    if let Err(error) = serve.with_upgrades().await {
        tracing::debug!(%error, "a connection of the kubelet socket ended");
    }
    drop(upgraded);
    if let Some(session) = sessions.recv().await {
        exec::run(session, &context).await;
    }
}

async fn answer(
    request: Request<Incoming>,
    context: &Arc<Context>,
    upgraded: mpsc::Sender<exec::Session>,
) -> Response<Body> {
    let parts: Vec<String> = request.uri().path().split('/').skip(1).map(query::decode).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let result = match parts.as_slice() {
        ["containerLogs", namespace, pod, container] => {
            container_logs(&request, context, [namespace, pod, container]).await
        }
        [verb @ ("exec" | "attach"), namespace, pod, container] => {
            let key = ((*namespace).into(), (*pod).into(), (*container).into());
            let verb = if *verb == "exec" { exec::Verb::Exec } else { exec::Verb::Attach };
            exec::begin(request, context, (verb, key), upgraded).await
        }
        ["healthz"] => Ok(Response::new(full("ok"))),
        _ => Err(Refusal::new(StatusCode::NOT_FOUND, "there is no such path")),
    };
    result.unwrap_or_else(Refusal::into_response)
}

async fn container_logs(
    request: &Request<Incoming>,
    context: &Arc<Context>,
    [namespace, name, container]: [&str; 3],
) -> Result<Response<Body>, Refusal> {
    let parameters = Query::parse(request.uri().query().unwrap_or_default());
    let query = LogQuery::parse(parameters.iter(), jiff::Timestamp::now())
        .map_err(|message| Refusal::new(StatusCode::BAD_REQUEST, message))?;
    let missing = |message: String| Refusal::new(StatusCode::BAD_REQUEST, message);
    let pod = context.cluster.pod(namespace, name).await;
    let pod = pod.map_err(|error| Refusal::new(StatusCode::NOT_FOUND, error.to_string()))?;
    let status = pod.status.as_ref();
    let statuses = status.and_then(|status| status.container_statuses.as_ref());
    let init = status.and_then(|status| status.init_container_statuses.as_ref());
    let all = statuses.into_iter().chain(init).flatten();
    let status = all.into_iter().find(|status| status.name == container);
    let restarts = status.map_or(0, |status| status.restart_count);
    let key = (namespace.to_owned(), name.to_owned(), container.to_owned());
    let live = context.live.find(&key);
    let instance = if query.previous { restarts - 1 } else { restarts };
    if instance < 0 {
        return Err(missing(format!(
            "previous terminated container \"{container}\" in pod \"{name}\" not found"
        )));
    }
    let file = context.log_directory(&pod, container).file(instance);
    if !file.exists() {
        return Err(missing(format!(
            "container \"{container}\" in pod \"{name}\" is waiting to start"
        )));
    }
    let growth = live.filter(|_| !query.previous).map(|live| live.log.clone());
    let (sink, mut lines) = mpsc::channel(64);
    tokio::spawn(async move {
        if let Err(error) = logs::follow(&file, &query, growth, &sink).await {
            tracing::debug!(%error, "a log could not be read");
        }
    });
    let stream = futures::stream::poll_fn(move |context| lines.poll_recv(context));
    let frames = futures::StreamExt::map(stream, |bytes| Ok(Frame::data(bytes)));
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(frames)));
    let plain = header::HeaderValue::from_static("text/plain");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    Ok(response)
}

fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed()
}
