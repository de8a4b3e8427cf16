//! Calls of the sidecar's own to services of the mesh, external authorizers and collectors of spans, and one
//! worker's connections to them, kept for the next call.

pub(crate) mod grpc;

use std::{cell::RefCell, collections::HashMap, fmt, net::SocketAddr, sync::Arc, time::Duration};

use ::http::{Request, Response};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
    rt::Executor,
};
use hyper_util::rt::TokioIo;
use palisade_tls::{Generation, Offer};
use thiserror::Error;
use tokio::{task::spawn_local, time::Instant};

use crate::{
    active::{Pick, Route},
    pool::Key,
    upstream::{ConnectError, Dial},
    worker::Worker,
};

/// What is kept.
#[derive(Default)]
pub(crate) struct Calls {
    http1: RefCell<HashMap<Key, Vec<Http1>>>,
    http2: RefCell<HashMap<Key, Http2>>,
}

type Http1 = Kept<http1::SendRequest<Full<Bytes>>>;
type Http2 = Kept<http2::SendRequest<Full<Bytes>>>;

struct Kept<S> {
    sender: S,
    /// Held so that its address, which is in the key, stays its own.
    credentials: Option<Arc<Generation>>,
    since: Instant,
}

/// Why a call has no answer of use.
#[derive(Debug, Error)]
pub(crate) enum CallError {
    #[error("`{0}` has no ready endpoint")]
    NoEndpoint(String),
    #[error("no connection: {0}")]
    Connect(#[from] ConnectError),
    #[error("{0}")]
    Exchange(String),
    #[error("it answered {0}")]
    Status(u16),
    #[error("it ended the call with status {0}")]
    Grpc(String),
}

/// Where a call to a service goes now: to one of its endpoints, over mTLS where that has a sidecar.
pub(crate) async fn dial<'a>(worker: &Worker, route: &'a Route) -> Result<Dial<'a>, CallError> {
    let below = |bound| worker.random.borrow_mut().below(bound);
    let none = || CallError::NoEndpoint(route.port.service.host.clone());
    match route.balance(SocketAddr::from(([0, 0, 0, 0], 0)), &[], below).await {
        Pick::Endpoint(index) => {
            let endpoint = route.endpoint(index).ok_or_else(none)?;
            let plain = Dial::plain((endpoint.address, endpoint.port).into());
            Ok(Dial { target: endpoint.mtls.then_some(&*route.target), ..plain })
        }
        Pick::Address(address) if address.port() > 0 => Ok(Dial::plain(address)),
        Pick::Address(_) | Pick::None => Err(none()),
    }
}

/// An answer, read in full.
pub(crate) type Answer = Response<Collected<Bytes>>;

impl Calls {
    /// Closes what was idle for too long, or was opened with a certificate that is not ours any more.
    pub(crate) fn sweep(&self, is_current: impl Fn(&Arc<Generation>) -> bool) {
        let good = |since: Instant, under: Option<&Arc<Generation>>| {
            since.elapsed() < IDLE && under.is_none_or(&is_current)
        };
        let mut http1 = self.http1.borrow_mut();
        for kept in http1.values_mut() {
            kept.retain(|it| good(it.since, it.credentials.as_ref()) && !it.sender.is_closed());
        }
        http1.retain(|_, kept| !kept.is_empty());
        let mut http2 = self.http2.borrow_mut();
        http2.retain(|_, it| good(it.since, it.credentials.as_ref()) && !it.sender.is_closed());
    }

    /// Sends a request in HTTP/1.1, over a kept connection if there is a good one.
    pub(crate) async fn http1(
        &self,
        worker: &Worker,
        dial: Dial<'_>,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, CallError> {
        let key = dial.key_of(worker)?;
        while let Some(mut kept) = self.pop(&key) {
            // What is asked can be asked twice: an answer changes nothing, and a span has its number.
            if let Ok(response) = kept.sender.send_request(request.clone()).await {
                return self.keep(key, kept, response).await;
            }
        }
        let upstream = dial.fresh(worker, Offer::Http1).await?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(upstream.stream)).await.map_err(broken)?;
        spawn_local(async move { drop(connection.await) });
        let mut kept = Kept { sender, credentials: upstream.credentials, since: Instant::now() };
        let response = kept.sender.send_request(request).await.map_err(broken)?;
        self.keep(key, kept, response).await
    }

    fn pop(&self, key: &Key) -> Option<Http1> {
        let mut http1 = self.http1.borrow_mut();
        let kept = http1.get_mut(key)?;
        std::iter::from_fn(|| kept.pop()).find(|it| it.sender.is_ready())
    }

    async fn keep(
        &self,
        key: Key,
        kept: Http1,
        response: Response<Incoming>,
    ) -> Result<Answer, CallError> {
        let answer = read(response).await?;
        let mut http1 = self.http1.borrow_mut();
        let others = http1.entry(key).or_default();
        if others.len() < KEPT {
            others.push(Kept { since: Instant::now(), ..kept });
        }
        Ok(answer)
    }

    /// Sends a request in HTTP/2, over the connection that there is or a new one.
    pub(crate) async fn http2(
        &self,
        worker: &Worker,
        dial: Dial<'_>,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, CallError> {
        let key = dial.key_of(worker)?;
        if let Some(mut sender) = self.open(&key)
            && let Ok(response) = sender.send_request(request.clone()).await
        {
            return read(response).await;
        }
        let upstream = dial.fresh(worker, Offer::Http2).await?;
        let (mut sender, connection) =
            http2::handshake(Local, TokioIo::new(upstream.stream)).await.map_err(broken)?;
        spawn_local(async move { drop(connection.await) });
        let kept = Kept {
            sender: sender.clone(),
            credentials: upstream.credentials,
            since: Instant::now(),
        };
        self.http2.borrow_mut().insert(key, kept);
        read(sender.send_request(request).await.map_err(broken)?).await
    }

    fn open(&self, key: &Key) -> Option<http2::SendRequest<Full<Bytes>>> {
        let mut http2 = self.http2.borrow_mut();
        let kept = http2.get_mut(key).filter(|kept| kept.sender.is_ready())?;
        kept.since = Instant::now();
        Some(kept.sender.clone())
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for Kept<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept")
            .field("credentials", &self.credentials.is_some())
            .finish_non_exhaustive()
    }
}

async fn read(response: Response<Incoming>) -> Result<Answer, CallError> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await;
    let body = body.map_err(|error| CallError::Exchange(error.to_string()))?;
    Ok(Response::from_parts(head, body))
}

#[expect(clippy::needless_pass_by_value, reason = "the form of a function for `map_err`")]
fn broken(error: hyper::Error) -> CallError {
    CallError::Exchange(error.to_string())
}

/// Runs the tasks of a connection on its worker.
#[derive(Clone, Copy, Debug)]
struct Local;

impl<F: Future + 'static> Executor<F> for Local {
    fn execute(&self, task: F) {
        spawn_local(async move { drop(task.await) });
    }
}

/// Idle HTTP/1.1 connections per endpoint.
const KEPT: usize = 64;
const IDLE: Duration = Duration::from_secs(60);
/// Bytes of an answer.
const MAX_BODY: usize = 1 << 20;
