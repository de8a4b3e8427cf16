//! The HTTP server that the built-in images share.

use std::{
    convert::Infallible,
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response, body::Incoming, header, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A request with its body read.
pub(crate) struct Received {
    pub head: http::request::Parts,
    pub body: Bytes,
    pub from: SocketAddr,
}

/// An answer, and how long to wait before it is given.
pub(crate) struct Reply {
    pub response: Response<Full<Bytes>>,
    pub delay: Duration,
    /// For standard output, without the final newline.
    pub log: Option<String>,
}

/// What an image answers.
pub(crate) trait Image: Send + Sync + 'static {
    fn port(&self) -> u16;
    /// First lines on standard output.
    fn greeting(&self) -> String;
    fn answer(&self, request: &Received) -> Reply;
}

impl Reply {
    pub(crate) fn text(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        let mut response = Response::new(Full::new(body.into()));
        *response.status_mut() = status.try_into().unwrap_or_default();
        if let Ok(value) = content_type.parse() {
            response.headers_mut().insert(header::CONTENT_TYPE, value);
        }
        Self { response, delay: Duration::ZERO, log: None }
    }
}

/// Serves until SIGTERM or SIGINT, then finishes what is under way.
pub(crate) fn run(image: impl Image) -> io::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(Arc::new(image)))?;
    Ok(0)
}

async fn serve(image: Arc<impl Image>) -> io::Result<()> {
    let (mut terminated, mut interrupted) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, image.port())).await?;
    print(&image.greeting());
    let (connections, stop) = (TaskTracker::new(), CancellationToken::new());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = terminated.recv() => break,
            _ = interrupted.recv() => break,
        };
        // Out of descriptors, or gone before it was accepted: the next may be better.
        let Ok((stream, from)) = accepted else { continue };
        connections.spawn(connection(Arc::clone(&image), stream, from, stop.clone()));
    }
    stop.cancel();
    connections.close();
    let _ = tokio::time::timeout(Duration::from_secs(5), connections.wait()).await;
    Ok(())
}

async fn connection(
    image: Arc<impl Image>,
    stream: TcpStream,
    from: SocketAddr,
    stop: CancellationToken,
) {
    let service = service_fn(|request| respond(Arc::clone(&image), request, from));
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(30))
            .serve_connection(TokioIo::new(stream), service)
    );
    tokio::select! {
        result = connection.as_mut() => drop(result),
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

async fn respond(
    image: Arc<impl Image>,
    request: Request<Incoming>,
    from: SocketAddr,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
        return Ok(Reply::text(413, "text/plain", "request entity too large\n").response);
    };
    let reply = image.answer(&Received { head, body: body.to_bytes(), from });
    if let Some(line) = reply.log {
        print(&line);
    }
    tokio::time::sleep(reply.delay).await;
    Ok(reply.response)
}

fn print(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

const MAX_BODY: usize = 8 << 20;
