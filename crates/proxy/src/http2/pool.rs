//! Connections of one worker to servers that speak HTTP/2, shared by all requests to the same address under the
//! same identities and credentials.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::poll_fn,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
};

use bytes::Bytes;
use h2::{
    SendStream,
    client::{Builder, ResponseFuture, SendRequest},
};
use http::Request;
use palisade_http::Limits;
use palisade_tls::{Generation, Offer};
use tokio::{sync::Mutex, task::spawn_local, time::Instant};
use tracing::debug;

use super::{SEND_BUFFER, SHARED_WINDOW, STREAM_WINDOW, up::Up};
use crate::{
    active::{Full, Slot},
    pool::{Keep, Key},
    upstream::{ConnectError, Dial},
    worker::Worker,
};

/// The connections of one worker.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    shelves: RefCell<HashMap<Key, Rc<Shelf>>>,
}

/// Connections that are good for the same.
#[derive(Debug, Default)]
struct Shelf {
    open: RefCell<Vec<Rc<Upstream>>>,
    /// Held while a connection is opened, so that all who want one wait for the same. The last failure.
    door: Mutex<Option<(Instant, ConnectError)>>,
}

/// A connection to a server.
#[derive(Debug)]
struct Upstream {
    sender: SendRequest<Bytes>,
    /// Held so that its address, which is in the key, stays its own.
    credentials: Option<Arc<Generation>>,
    local: Option<SocketAddr>,
    streams: Cell<usize>,
    /// How many streams it has had.
    begun: Cell<u32>,
    keep: Keep,
    /// What it counts as.
    _slot: Slot,
    idle_since: Cell<Instant>,
    over: Rc<Cell<bool>>,
}

/// A stream's share of a connection.
#[derive(Debug)]
pub(super) struct Lease(Rc<Upstream>);

impl Pool {
    /// A connection with room for one more stream: an open one if there is, else a new one.
    pub(super) async fn lease(
        &self,
        worker: &Worker,
        dial: Dial<'_>,
    ) -> Result<Lease, ConnectError> {
        let key = dial.key_of(worker)?;
        let shelf = Rc::clone(self.shelves.borrow_mut().entry(key).or_default());
        if let Some(lease) = shelf.pick() {
            return Ok(lease);
        }
        let _pending = dial.pending()?;
        let asked = Instant::now();
        let mut door = shelf.door.lock().await;
        if let Some(lease) = shelf.pick() {
            return Ok(lease);
        }
        if let Some((at, error)) = door.as_ref().filter(|(at, _)| *at >= asked) {
            debug!(since = ?at.elapsed(), "a connection was just tried in vain");
            return Err(error.again());
        }
        // A service has a connection whatever its limit is, as with Envoy: nobody would ever free one for it.
        let slot = match dial.connection_now() {
            Ok(slot) => slot,
            Err(Full) => match shelf.pick_full() {
                Some(lease) => return Ok(lease),
                None => Slot::default(),
            },
        };
        match open(worker, dial, slot).await {
            Ok(upstream) => {
                *door = None;
                shelf.open.borrow_mut().push(Rc::new(upstream));
                shelf.pick().ok_or_else(|| ConnectError::Tcp(io::ErrorKind::ConnectionReset.into()))
            }
            Err(error) => {
                *door = Some((Instant::now(), error.again()));
                Err(error)
            }
        }
    }

    /// A stream of such a connection, for whoever speaks HTTP/1.1.
    pub(crate) async fn stream(&self, worker: &Worker, dial: Dial<'_>) -> Result<Up, ConnectError> {
        self.lease(worker, dial).await.map(Up::new)
    }

    /// Lets go of connections that were idle for too long, are over or are older than our certificate. Streams
    /// that are open on them end in their own time.
    pub(crate) fn sweep(&self, is_current: impl Fn(&Arc<Generation>) -> bool) {
        let mut shelves = self.shelves.borrow_mut();
        for shelf in shelves.values() {
            shelf.open.borrow_mut().retain(|it| {
                !it.over.get()
                    && it.credentials.as_ref().is_none_or(&is_current)
                    && (it.streams.get() > 0 || it.idle_since.get().elapsed() < it.keep.idle)
            });
        }
        shelves.retain(|_, it| Rc::strong_count(it) > 1 || !it.open.borrow().is_empty());
    }
}

impl Shelf {
    fn pick(&self) -> Option<Lease> {
        let mut open = self.open.borrow_mut();
        // Streams that are open on what has served its time end in their own.
        open.retain(|it| !it.over.get() && it.begun.get() < it.keep.requests);
        let has_room = |it: &&Rc<Upstream>| it.streams.get() < it.sender.current_max_send_streams();
        open.iter().find(has_room).map(Lease::new)
    }

    /// A stream that waits until there is room for it.
    fn pick_full(&self) -> Option<Lease> {
        self.open.borrow().first().map(Lease::new)
    }
}

impl Lease {
    fn new(upstream: &Rc<Upstream>) -> Self {
        upstream.streams.set(upstream.streams.get() + 1);
        upstream.begun.set(upstream.begun.get().saturating_add(1));
        Self(Rc::clone(upstream))
    }

    /// Opens the stream, on a connection that has been seen open.
    pub(super) fn send_now(
        &self,
        request: Request<()>,
        ends: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        self.0.sender.clone().send_request(request, ends)
    }

    /// Our address.
    pub(super) fn local(&self) -> Option<SocketAddr> {
        self.0.local
    }

    /// Opens the stream. An error means that the server has seen nothing of it.
    pub(super) async fn send(
        &self,
        request: Request<()>,
        ends: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), Unsent> {
        let mut sender = self.0.sender.clone();
        if let Err(error) = poll_fn(|cx| sender.poll_ready(cx)).await {
            self.0.over.set(true);
            return Err(Unsent { request: Some(request), error });
        }
        sender.send_request(request, ends).map_err(|error| Unsent { request: None, error })
    }
}

/// A request that could not be sent.
#[derive(Debug)]
pub(super) struct Unsent {
    /// The request, for another connection, if this one was over.
    pub(super) request: Option<Request<()>>,
    pub(super) error: h2::Error,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get().saturating_sub(1));
        self.0.idle_since.set(Instant::now());
    }
}

async fn open(worker: &Worker, dial: Dial<'_>, slot: Slot) -> Result<Upstream, ConnectError> {
    let upstream = dial.fresh_as(worker, Offer::Http2, slot).await?;
    let local = upstream.stream.local_address();
    let head_bytes = u32::try_from(Limits::default().head_bytes()).unwrap_or(u32::MAX);
    let (sender, connection) = Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(SHARED_WINDOW)
        .max_header_list_size(head_bytes)
        .max_send_buffer_size(SEND_BUFFER)
        .enable_push(false)
        .handshake(upstream.stream)
        .await
        .map_err(|error| {
            let broken = || io::Error::from(io::ErrorKind::ConnectionReset);
            ConnectError::Tcp(error.into_io().unwrap_or_else(broken))
        })?;
    let over = Rc::new(Cell::new(false));
    let ended = Rc::clone(&over);
    spawn_local(async move {
        if let Err(error) = connection.await {
            debug!(%error, "a server's connection broke");
        }
        ended.set(true);
    });
    Ok(Upstream {
        sender,
        credentials: upstream.credentials,
        local,
        streams: Cell::new(0),
        begun: Cell::new(0),
        keep: upstream.keep,
        _slot: upstream.slot,
        idle_since: Cell::new(Instant::now()),
        over,
    })
}
