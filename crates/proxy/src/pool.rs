//! Idle upstream connections of one worker. A connection is only ever used again for the same address,
//! the same expected identities and the same credentials that it was opened with.

use std::{
    cell::RefCell,
    collections::HashMap,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use palisade_tls::Generation;
use tokio::{
    io::{AsyncRead as _, ReadBuf},
    time::Instant,
};

use crate::{active::Slot, io::Stream};

/// Idle connections kept per key; beyond it a connection is closed after its request.
const KEPT_PER_KEY: usize = 512;

/// Idle connections kept in all; beyond it a connection is closed after its request.
const KEPT: usize = 4096;

/// How long an idle connection is kept, if nobody says otherwise.
pub(crate) const IDLE: Duration = Duration::from_secs(60);

/// What a connection is good for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Key {
    /// Where it goes.
    pub(crate) address: SocketAddr,
    /// What protects it.
    pub(crate) transport: Transport,
}

/// What protects an upstream connection.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Transport {
    /// Nothing: to a pod without a sidecar, or out of the mesh.
    Plain,
    /// Nothing, to the pod's own workload, which only what was judged may reach.
    Workload,
    /// mTLS.
    Mtls {
        /// Whom the server has proven to be, [`Target::id`](crate::active::Target).
        target: u64,
        /// Our certificate, by the address of its generation. No other can have that address while a
        /// connection that was opened with it is kept.
        credentials: *const Generation,
    },
}

/// An open upstream connection.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// Its bytes.
    pub(crate) stream: Stream,
    /// What it is good for.
    pub(crate) key: Key,
    /// Our certificate that it was opened with; held so that its address, which is in the key, stays its own.
    pub(crate) credentials: Option<Arc<Generation>>,
    /// Whether it has served a request before.
    pub(crate) reused: bool,
    /// How many requests it has served.
    pub(crate) requests: u32,
    /// How it is kept.
    pub(crate) keep: Keep,
    /// What it counts as while it is in use.
    pub(crate) slot: Slot,
}

/// How long a connection is good for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keep {
    /// How many requests it serves.
    pub(crate) requests: u32,
    /// How long it is kept without.
    pub(crate) idle: Duration,
}

/// Idle upstream connections.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: RefCell<Shelves>,
}

#[derive(Debug, Default)]
struct Shelves {
    by_key: HashMap<Key, Vec<Idle>>,
    total: usize,
}

#[derive(Debug)]
struct Idle {
    upstream: Upstream,
    since: Instant,
}

impl Pool {
    /// The connection that was used last and is still open.
    pub(crate) fn checkout(&self, key: &Key) -> Option<Upstream> {
        let shelves = &mut *self.idle.borrow_mut();
        let shelf = shelves.by_key.get_mut(key)?;
        while let Some(mut idle) = shelf.pop() {
            shelves.total -= 1;
            if !idle.is_over(Instant::now()) && is_quiet(&mut idle.upstream.stream) {
                return Some(Upstream { reused: true, ..idle.upstream });
            }
        }
        None
    }

    /// Keeps a connection for the next request.
    pub(crate) fn checkin(&self, mut upstream: Upstream, now: Instant) {
        upstream.slot = Slot::default();
        upstream.requests += 1;
        if upstream.requests >= upstream.keep.requests {
            return;
        }
        let shelves = &mut *self.idle.borrow_mut();
        if shelves.total >= KEPT {
            return;
        }
        let shelf = shelves.by_key.entry(upstream.key).or_default();
        if shelf.len() >= KEPT_PER_KEY {
            return;
        }
        shelves.total += 1;
        shelf.push(Idle { upstream, since: now });
    }

    /// Closes what was idle for too long, was closed by the other side, or is older than our certificate.
    pub(crate) fn sweep(&self, is_current: impl Fn(&Arc<Generation>) -> bool) {
        let now = Instant::now();
        let shelves = &mut *self.idle.borrow_mut();
        for shelf in shelves.by_key.values_mut() {
            shelf.retain_mut(|idle| {
                !idle.is_over(now)
                    && idle.upstream.credentials.as_ref().is_none_or(&is_current)
                    && is_quiet(&mut idle.upstream.stream)
            });
        }
        shelves.by_key.retain(|_, shelf| !shelf.is_empty());
        shelves.total = shelves.by_key.values().map(Vec::len).sum();
    }
}

impl Idle {
    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.since) >= self.upstream.keep.idle
    }
}

/// Whether an idle connection is open and silent, as it must be. Without readiness this is no system call.
fn is_quiet(stream: &mut Stream) -> bool {
    let mut byte = [0];
    let mut cx = Context::from_waker(Waker::noop());
    Pin::new(stream).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending()
}
