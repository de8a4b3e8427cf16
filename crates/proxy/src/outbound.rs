//! Connections of the workload, the mirror of [`crate::inbound`]:
//!
//! accept → original destination → find the service → detect protocol → read head → pick an endpoint →
//! connect, with mTLS if it has a sidecar → forward → record.
//!
//! Nothing is authorized here: that is the server's right.

use std::{net::SocketAddr, rc::Rc};

use palisade_http::{RequestError, RequestHead, SERVER_OUTBOUND, Version};
use palisade_types::Protocol;
use tokio::{net::TcpStream, time::Instant};

use self::requests::{Asked, Requests};
use crate::{
    answer::Answer,
    buffer::Buffer,
    detect::{self, Speech},
    forward::{After, Ended, forward},
    http1::{Client, Scratch, Upload},
    http2,
    io::Stream,
    report::Since,
    session, socket, tunnel,
    worker::Worker,
};

mod opaque;
mod requests;
mod route;
mod streams;

pub(crate) use route::Routed;

/// A connection of the workload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    /// The workload's end.
    pub(crate) source: SocketAddr,
    /// Where it was going.
    pub(crate) destination: SocketAddr,
}

/// Serves one connection.
pub(crate) async fn serve(worker: Rc<Worker>, tcp: TcpStream, source: SocketAddr) {
    let Some(destination) = worker.shared.outbound_destination(&tcp) else {
        return socket::reset(&tcp);
    };
    let connection = Connection { source, destination };
    let mut stream = Stream::Plain(tcp);
    let mut received = Buffer::default();
    let speech = match route::protocol(&worker, destination) {
        None => return socket::reset(stream.tcp()),
        Some(Protocol::Http | Protocol::Http2 | Protocol::Grpc) => Speech::Http,
        Some(Protocol::Tcp) => Speech::Opaque,
        Some(Protocol::Auto) => detect::speech(&mut stream, &mut received, &worker.buffers).await,
    };
    match speech {
        Speech::Http => {
            let client = Client::new(stream, received);
            let requests = Requests { worker: &worker, connection };
            session::serve(&worker, Session { requests, client }).await;
        }
        Speech::Opaque => {
            Box::pin(opaque::serve(&worker, connection, stream, received)).await;
        }
        Speech::Gone => {}
    }
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
        let worker = requests.worker;
        let mut asked = Asked::new(Since::at(client.since()));
        let received = client.received.bytes();
        let (mut routed, budget) = requests.route(&scratch.request, received).await;
        let Scratch { request: head, up, .. } = scratch;
        let prepared = asked.prepare(worker, &routed, (head, received)).and_then(|edits| {
            Upload::new(head, received, &edits, std::mem::take(up)).map_err(|_| Answer::BadBody)
        });
        let version = routed.version(Version::Http1);
        let to = prepared.and_then(|upload| {
            Ok((upload, requests.attempts(&mut routed, head.method(), budget)?))
        });
        match to {
            Err(answer) => {
                let ended = self.answer(&scratch.request, &answer).await;
                self.record(&scratch.request, &routed, &ended, &asked);
                self.client.received.consume(scratch.request.len());
                ended.after
            }
            Ok((upload, attempts)) => {
                let to = (attempts, version);
                let (ended, passed) =
                    forward(worker, client, scratch, upload, to, SERVER_OUTBOUND, None).await;
                if passed.is_upgraded() {
                    let carrying = tunnel::carry(worker, client, scratch, (ended, passed), None);
                    let (ended, text) = Box::pin(carrying).await;
                    requests.record((&scratch.request, &text), &routed, &ended, &asked);
                    return ended.after;
                }
                let now = self.record(&scratch.request, &routed, &ended, &asked);
                passed.finish(worker, &mut self.client, scratch, now);
                ended.after
            }
        }
    }

    async fn unreadable(&mut self, head: &RequestHead, error: RequestError) {
        let asked = Asked::new(Since::now());
        let routed = self.requests.nowhere().await;
        let ended = self.answer(head, &Answer::Unreadable(error)).await;
        self.record(head, &routed, &ended, &asked);
    }

    async fn http2(self) {
        let Self { requests, client } = self;
        http2::serve(requests.worker, client, &requests).await;
    }
}

impl Session<'_> {
    async fn answer(&mut self, head: &RequestHead, answer: &Answer) -> Ended {
        let worker = self.requests.worker;
        session::answer(worker, &mut self.client, head, answer, SERVER_OUTBOUND).await
    }

    fn record(&self, head: &RequestHead, routed: &Routed, ended: &Ended, asked: &Asked) -> Instant {
        self.requests.record((head, self.client.received.bytes()), routed, ended, asked)
    }
}
