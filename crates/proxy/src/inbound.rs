//! Connections to the workload, from accept to record. This is the request path:
//!
//! accept → original destination → detect TLS → admit → handshake and authenticate → detect protocol →
//! read head → normalise → CUSTOM → token → authorize → forward → record.
//!
//! An opaque connection is authorized when it is accepted, which is stricter than Envoy (which waits for
//! the first bytes and lets a server that speaks first speak), and again with every configuration.

use std::{net::SocketAddr, rc::Rc};

use palisade_http::{Edits, RequestError, RequestHead, SERVER_INBOUND, Version};
use palisade_policy::inbound::{Admission, Hello, Speech, admit};
use palisade_types::{BodySeen, MtlsMode, Protocol};
use smallvec::SmallVec;
use tokio::{net::TcpStream, time::Instant};

use self::{
    custom::body::{NotShown, Shown, hold_http1},
    guard::Guard,
    judge::{Judged, Verdict},
    peer::Connection,
    requests::{Parsed, Requests, Waiting},
};
use crate::{
    answer::Answer,
    buffer::Buffer,
    detect,
    forward::{After, Ended, forward, gone},
    http1::{Client, Scratch, Upload},
    http2,
    io::Stream,
    report::Since,
    session,
    signal::Watch,
    socket, tunnel,
    worker::Worker,
};

pub(crate) mod custom;
pub(crate) mod guard;
pub(crate) mod judge;
mod opaque;
mod peer;
mod requests;
mod streams;

/// Serves one connection.
pub(crate) async fn serve(worker: Rc<Worker>, mut tcp: TcpStream, source: SocketAddr) {
    let Some(destination) = worker.shared.inbound_destination(&tcp) else {
        return socket::reset(&tcp);
    };
    let mut connection = Connection::new(source, destination);
    let mut received = Buffer::default();
    let hello = match port(&worker, destination) {
        None => return socket::reset(&tcp),
        Some((MtlsMode::Disable, _)) => detect::Hello::Plaintext,
        Some(_) => detect::hello(&mut tcp, &mut received, &worker.buffers).await,
    };
    let admission = match port(&worker, destination) {
        None => return socket::reset(&tcp),
        Some((mode, protocol)) => match &hello {
            detect::Hello::Gone => return,
            detect::Hello::Plaintext => admit(mode, protocol, Hello::Plaintext),
            detect::Hello::Tls(hello) => {
                let alpn: SmallVec<[&[u8]; 8]> = hello.alpn().collect();
                admit(mode, protocol, Hello::Tls { alpn: &alpn })
            }
        },
    };
    let (mut stream, speech) = match admission {
        Admission::Reset => {
            let plaintext = matches!(hello, detect::Hello::Plaintext);
            let reason = if plaintext { peer::PLAINTEXT } else { peer::FOREIGN_TLS };
            return connection.refuse(&worker, &tcp, reason);
        }
        Admission::Plain(speech) => (Stream::Plain(tcp), speech),
        Admission::HandOn => (Stream::Plain(tcp), Speech::Tcp),
        Admission::MutualTls(speech) => {
            match peer::handshake(&worker, tcp, &mut received, &mut connection).await {
                Some(stream) => (stream, speech),
                None => return,
            }
        }
    };
    let speech = match speech {
        Speech::Http => detect::Speech::Http,
        Speech::Tcp => detect::Speech::Opaque,
        Speech::Sniffed => detect::speech(&mut stream, &mut received, &worker.buffers).await,
    };
    match speech {
        detect::Speech::Http => {
            let client = Client::new(stream, received).under(connection.under.clone());
            let requests = Requests::new(&worker, &connection);
            session::serve(&worker, Session { requests, client }).await;
        }
        detect::Speech::Opaque => {
            Box::pin(opaque::serve(&worker, &connection, stream, received)).await;
        }
        detect::Speech::Gone => {}
    }
}

/// Mode and protocol of a port; none while there is no configuration.
fn port(worker: &Worker, destination: SocketAddr) -> Option<(MtlsMode, Protocol)> {
    let active = worker.shared.active();
    let active = active.as_deref()?;
    Some((active.mode(destination.port()), active.protocol(destination.port())))
}

/// The requests of one connection in HTTP/1.1.
struct Session<'a> {
    requests: Requests<'a>,
    client: Client<Stream>,
}

impl session::Session for Session<'_> {
    fn client(&mut self) -> &mut Client<Stream> {
        &mut self.client
    }

    async fn request(&mut self, scratch: &mut Scratch) -> After {
        let Self { requests, client } = self;
        let Requests { worker, connection, .. } = *requests;
        let since = Since::at(client.since());
        let watch = Watch::new(&worker.reconfigured);
        let Scratch { request: head, up, .. } = scratch;
        let (verdict, mut judged) =
            requests.judge(&mut OnConnection { worker, client, head, up }).await;
        match verdict {
            // No question is left.
            Verdict::Cut | Verdict::Ask(_) => {
                connection.refuse(worker, client.stream.tcp(), peer::PLAINTEXT);
                After::Cut
            }
            Verdict::Gone => {
                let ended = gone(0);
                self.record(&scratch.request, &judged, &ended, since);
                ended.after
            }
            Verdict::Answer(answer) => {
                let ended = self.answer(&scratch.request, &answer).await;
                self.record(&scratch.request, &judged, &ended, since);
                self.client.received.consume(scratch.request.len());
                ended.after
            }
            Verdict::Pass(upload) => {
                scratch.added.extend_from_slice(judged.added());
                let to = requests.server(Version::Http1);
                let mut guard = Guard::new(worker, connection, &judged, since, watch);
                let over = Some(&mut guard);
                let (ended, passed) =
                    forward(worker, client, scratch, upload, to, SERVER_INBOUND, over).await;
                if passed.is_upgraded() {
                    let over = Some(&mut guard);
                    let carrying = tunnel::carry(worker, client, scratch, (ended, passed), over);
                    let (ended, text) = Box::pin(carrying).await;
                    let verdict = guard.verdict();
                    judged.revoke(verdict);
                    requests.record((&scratch.request, &text), &judged, &ended, since);
                    return ended.after;
                }
                let verdict = guard.verdict();
                judged.revoke(verdict);
                let now = self.record(&scratch.request, &judged, &ended, since);
                passed.finish(worker, &mut self.client, scratch, now);
                ended.after
            }
        }
    }

    async fn unreadable(&mut self, head: &RequestHead, error: RequestError) {
        let since = Since::now();
        let ended = self.answer(head, &Answer::Unreadable(error)).await;
        self.record(head, &Judged::unread(), &ended, since);
    }

    async fn http2(self) {
        let Self { requests, client } = self;
        http2::serve(requests.worker, client, &requests).await;
    }
}

/// A request whose head is at the front of what the client sent.
struct OnConnection<'a> {
    worker: &'a Worker,
    client: &'a mut Client<Stream>,
    head: &'a RequestHead,
    /// Room for what is passed on.
    up: &'a mut Vec<u8>,
}

impl Waiting for OnConnection<'_> {
    type Passed = Upload;

    fn open(&mut self) -> (Parsed<'_>, impl FnMut(&Edits<'_>) -> Result<Upload, Answer>) {
        let (head, up, received) = (self.head, &mut *self.up, self.client.received.bytes());
        let pass = move |edits: &Edits<'_>| {
            Upload::new(head, received, edits, std::mem::take(up)).map_err(|_| Answer::BadBody)
        };
        ((head, received), pass)
    }

    async fn body(&mut self, seen: BodySeen) -> Result<Shown, NotShown> {
        hold_http1(self.client, self.head, seen, &self.worker.buffers).await
    }
}

impl Session<'_> {
    async fn answer(&mut self, head: &RequestHead, answer: &Answer) -> Ended {
        session::answer(self.requests.worker, &mut self.client, head, answer, SERVER_INBOUND).await
    }

    fn record(&self, head: &RequestHead, judged: &Judged, ended: &Ended, since: Since) -> Instant {
        self.requests.record((head, self.client.received.bytes()), judged, ended, since)
    }
}
