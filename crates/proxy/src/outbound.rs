//! Connections of the workload, the mirror of [`crate::inbound`]:
//!
//! accept → original destination → find the service → detect protocol → read head → pick an endpoint →
//! connect, with mTLS if it has a sidecar → forward → record.
//!
//! Nothing is authorized here: that is the server's right.

use std::{net::SocketAddr, rc::Rc};

use palisade_http::{Edits, Method, Name, RequestError, RequestHead, SERVER_OUTBOUND};
use palisade_telemetry::RequestId;
use palisade_types::Protocol;
use tokio::{net::TcpStream, time::Instant};

use self::route::Routed;
use crate::{
    active::Said,
    answer::Answer,
    buffer::Buffer,
    detect::{self, Speech},
    forward::{After, Ended, Tunnel, forward},
    http1::{Client, Scratch, Upload},
    inbound::judge::REMOVED,
    io::Stream,
    report::{self, Since},
    session, socket, tcp,
    worker::Worker,
};

mod opaque;
mod route;

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
            session::serve(&worker, Session { worker: &worker, connection, client }).await;
        }
        Speech::Opaque => {
            Box::pin(opaque::serve(&worker, connection, stream, received)).await;
        }
        Speech::Gone => {}
    }
}

/// The requests of one connection.
struct Session<'a> {
    worker: &'a Worker,
    connection: Connection,
    client: Client<Stream>,
}

impl session::Session for Session<'_> {
    fn client(&mut self) -> &mut Client<Stream> {
        &mut self.client
    }

    async fn request(&mut self, scratch: &mut Scratch) -> After {
        let Self { worker, connection, client } = self;
        let mut asked = Asked { since: Since::at(client.since()), id: None };
        let host = scratch.request.authority(client.received.bytes());
        let routed = Routed::find(worker, connection.destination, Said::Host(host)).await;
        match asked.prepare(worker, &routed, scratch, client.received.bytes()) {
            Err(answer) => {
                let ended = self.answer(&scratch.request, &answer).await;
                self.record(&scratch.request, &routed, &ended, &asked);
                self.client.received.consume(scratch.request.len());
                ended.after
            }
            Ok(upload) => {
                let dial = routed.dial(connection.destination);
                let passed = forward(worker, client, scratch, upload, dial, SERVER_OUTBOUND).await;
                let now = self.record(&scratch.request, &routed, &passed.ended, &asked);
                let after = passed.ended.after;
                match passed.finish(self.worker, &mut self.client, scratch, now) {
                    None => after,
                    Some(tunnel) => Box::pin(self.tunnel(tunnel)).await,
                }
            }
        }
    }

    async fn unreadable(&mut self, head: &RequestHead, error: RequestError) {
        let asked = Asked { since: Since::now(), id: None };
        let (worker, destination) = (self.worker, self.connection.destination);
        let routed = Routed::find(worker, destination, Said::Nothing).await;
        let ended = self.answer(head, &Answer::Unreadable(error)).await;
        self.record(head, &routed, &ended, &asked);
    }
}

impl Session<'_> {
    /// Carries bytes until both sides have finished or one breaks.
    async fn tunnel(&mut self, tunnel: Tunnel) -> After {
        let Self { worker, client, .. } = self;
        let mut upstream = tunnel.upstream.stream;
        let early = (std::mem::take(&mut client.received), tunnel.down);
        let (stream, buffers) = (&mut client.stream, &worker.buffers);
        tcp::relay(stream, &mut upstream, early, buffers, &mut tcp::Unwatched).await;
        After::Cut
    }

    async fn answer(&mut self, head: &RequestHead, answer: &Answer) -> Ended {
        session::answer(self.worker, &mut self.client, head, answer, SERVER_OUTBOUND).await
    }

    /// Tells what became of a request. The time that it ended at.
    fn record(&self, head: &RequestHead, routed: &Routed, ended: &Ended, asked: &Asked) -> Instant {
        let now = Instant::now();
        let received = self.client.received.bytes();
        let request = report::Request {
            head,
            received,
            id: match &asked.id {
                Some(id) => id.as_str(),
                None => head.text(received, Name::XRequestId).unwrap_or_default(),
            },
            since: asked.since,
            source: self.connection.source,
            destination: self.connection.destination,
            server_name: "",
            cluster: routed.cluster(),
            ended,
        };
        self.worker.tell(&request, &routed.edge(self.worker), now);
        now
    }
}

/// What a request is called and when it began.
struct Asked {
    since: Since,
    /// The id that it was given, if it came without.
    id: Option<RequestId>,
}

impl Asked {
    /// What is sent to the server: what the workload says about itself does not leave the pod.
    fn prepare(
        &mut self,
        worker: &Worker,
        routed: &Routed,
        scratch: &mut Scratch,
        received: &[u8],
    ) -> Result<Upload, Answer> {
        let Scratch { request: head, up, .. } = scratch;
        if head.method() == Method::CONNECT {
            return Err(Answer::NoRoute);
        }
        if let Some(answer) = routed.refusal() {
            return Err(answer);
        }
        let mut edits = Edits::new();
        edits.remove_all(REMOVED);
        if head.field(received, Name::XForwardedProto).is_none() {
            edits.set(Name::XForwardedProto, b"http");
        }
        if head.field(received, Name::XRequestId).is_none() {
            let id = self.id.insert(worker.request_ids.borrow_mut().make());
            edits.set(Name::XRequestId, id.as_str().as_bytes());
        }
        Upload::new(head, received, &edits, std::mem::take(up)).map_err(|_| Answer::BadBody)
    }
}
