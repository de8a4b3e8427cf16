//! Takes the connections that pods make to the outside, within limits, and says once what was
//! refused.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::{IpAddr, SocketAddrV4, TcpListener as StdListener},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::relay::{Refusal, destination, relay, reset_on_close};

/// The listener to which connections to the outside are translated.
#[derive(Debug)]
pub struct Forwarder {
    listener: StdListener,
}

impl Forwarder {
    pub(crate) fn new(listener: StdListener) -> Self {
        Self { listener }
    }

    /// Forwards until dropped. The connections outside are made from the network namespace of the
    /// thread that drives this, which must be the host's.
    ///
    /// # Errors
    /// When the listener can't be used.
    pub async fn serve(self) -> io::Result<()> {
        self.listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(self.listener)?;
        let mut open = Open::default();
        loop {
            tokio::select! {
                accepted = listener.accept(), if open.tasks.len() < MAX_CONNECTIONS => match accepted {
                    Ok((pod, from)) => open.begin(pod, from.ip()),
                    // Too many open files, or a connection that is gone already.
                    Err(error) => {
                        tracing::debug!(%error, "a connection to the outside was not accepted");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
                Some(Ok(ended)) = open.tasks.join_next() => open.end(&ended),
            }
        }
    }
}

/// The connections there are.
#[derive(Debug, Default)]
struct Open {
    tasks: JoinSet<Ended>,
    by_pod: HashMap<IpAddr, usize>,
    told: HashSet<(IpAddr, SocketAddrV4)>,
}

#[derive(Debug)]
struct Ended {
    pod: IpAddr,
    destination: Option<SocketAddrV4>,
    refusal: Option<Refusal>,
}

impl Open {
    fn begin(&mut self, stream: TcpStream, pod: IpAddr) {
        let count = self.by_pod.entry(pod).or_default();
        if *count >= MAX_PER_POD {
            tracing::debug!(%pod, "too many connections of one pod to the outside");
            return reset_on_close(&stream);
        }
        *count += 1;
        self.tasks.spawn(async move {
            let Ok(destination) = destination(&stream) else {
                return Ended { pod, destination: None, refusal: None };
            };
            let refusal = relay(stream, destination).await.err();
            Ended { pod, destination: Some(destination), refusal }
        });
    }

    fn end(&mut self, ended: &Ended) {
        if let Some(count) = self.by_pod.get_mut(&ended.pod) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_pod.remove(&ended.pod);
            }
        }
        let (Some(destination), Some(refusal)) = (ended.destination, &ended.refusal) else {
            return;
        };
        if self.told.len() < MAX_TOLD && self.told.insert((ended.pod, destination)) {
            tracing::warn!(pod = %ended.pod, %destination, "egress: {refusal}");
        }
    }
}

/// Each takes two descriptors, of 1024 that a process has by default.
const MAX_CONNECTIONS: usize = 256;
const MAX_PER_POD: usize = 128;
/// How many refusals are told, each once: a pod must not fill the log.
const MAX_TOLD: usize = 256;
const PAUSE: Duration = Duration::from_millis(100);
