//! Connections of the workload, the mirror of [`crate::inbound`]:
//!
//! accept → original destination → find the service → detect protocol → read head → pick an endpoint →
//! connect, with mTLS if it has a sidecar → forward → record.
//!
//! Nothing is authorized here: that is the server's right.

use std::{net::SocketAddr, rc::Rc};

use palisade_http::{Edits, Framing, Method, Name, Persistence, RequestHead, SERVER_OUTBOUND};
use palisade_telemetry::{EdgeMetrics, RequestId};
use palisade_types::Protocol;
use tokio::{net::TcpStream, time::Instant};

use self::route::Routed;
use crate::{
    answer::Answer,
    buffer::Buffer,
    detect::{self, Speech},
    forward::{After, Ended, forward},
    http1::{Client, Next, Scratch, Upload},
    http2,
    inbound::judge::REMOVED,
    io::Stream,
    reply::reply,
    report::{self, Since},
    signal::Watch,
    socket, tcp,
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
        Speech::Http => http(&worker, connection, stream, received).await,
        Speech::Opaque => opaque::serve(&worker, connection, stream, received).await,
        Speech::Gone => {}
    }
}

/// Serves the requests of a connection, one after the other.
async fn http(worker: &Worker, connection: Connection, stream: Stream, received: Buffer) {
    let mut client = Client::new(stream, received);
    let mut draining = Watch::from_start(&worker.draining);
    loop {
        let after = match client.next(worker, &mut draining).await {
            Next::Request(mut scratch) => {
                let after = request(worker, connection, &mut client, &mut scratch).await;
                worker.scratches.give(scratch);
                after
            }
            Next::Refused(..) if http2::is_preface(client.received.bytes()) => {
                http2::refuse(&mut client, connection.source).await;
                After::Close
            }
            Next::Refused(scratch, error) => {
                let head = &scratch.request;
                let (since, answer) = (Since::now(), Answer::Unreadable(error));
                let ended = answer_with(worker, &mut client, head, &answer).await;
                let routed = Routed::find(worker, connection.destination);
                record(worker, connection, &client, head, &routed, &ended, (since, None));
                worker.scratches.give(scratch);
                After::Close
            }
            Next::Late | Next::Closed => After::Close,
            Next::Broken => After::Cut,
        };
        match after {
            After::KeepAlive => client.rest(Instant::now()),
            After::Close => return client.part(&worker.buffers).await,
            After::Cut => return client.cut(&worker.buffers),
        }
    }
}

/// One request.
async fn request(
    worker: &Worker,
    connection: Connection,
    client: &mut Client<Stream>,
    scratch: &mut Scratch,
) -> After {
    let since = Since::at(client.since());
    let routed = Routed::find(worker, connection.destination);
    let (prepared, id) = prepare(worker, &routed, scratch, client.received.bytes());
    match prepared {
        Err(answer) => {
            let head = &scratch.request;
            let ended = answer_with(worker, client, head, &answer).await;
            record(worker, connection, client, head, &routed, &ended, (since, id));
            client.received.consume(head.len());
            ended.after
        }
        Ok(upload) => {
            let dial = routed.dial(connection.destination);
            let passed = forward(worker, client, scratch, upload, dial, SERVER_OUTBOUND).await;
            let (head, ended) = (&scratch.request, &passed.ended);
            let now = record(worker, connection, client, head, &routed, ended, (since, id));
            let after = ended.after;
            match passed.finish(worker, client, scratch, now) {
                Some(tunnel) => {
                    let mut upstream = tunnel.upstream.stream;
                    let early = (std::mem::take(&mut client.received), tunnel.down);
                    let (stream, buffers) = (&mut client.stream, &worker.buffers);
                    tcp::relay(stream, &mut upstream, early, buffers, &mut tcp::Unwatched).await;
                    After::Cut
                }
                None => after,
            }
        }
    }
}

/// What is sent to the server: what the workload says about itself does not leave the pod.
fn prepare(
    worker: &Worker,
    routed: &Routed,
    scratch: &mut Scratch,
    received: &[u8],
) -> (Result<Upload, Answer>, Option<RequestId>) {
    let Scratch { request: head, up, .. } = scratch;
    if head.method() == Method::CONNECT {
        return (Err(Answer::NoRoute), None);
    }
    if let Some(answer) = routed.refusal() {
        return (Err(answer), None);
    }
    let id = match head.field(received, Name::XRequestId) {
        Some(_) => None,
        None => Some(worker.request_ids.borrow_mut().make()),
    };
    let mut edits = Edits::new();
    edits.remove_all(REMOVED);
    if head.field(received, Name::XForwardedProto).is_none() {
        edits.set(Name::XForwardedProto, b"http");
    }
    if let Some(id) = &id {
        edits.set(Name::XRequestId, id.as_str().as_bytes());
    }
    let upload = Upload::new(head, received, &edits, std::mem::take(up));
    drop(edits);
    (upload.map_err(|_| Answer::BadBody), id)
}

/// Answers a request whose body, if any, has not been read.
async fn answer_with(
    worker: &Worker,
    client: &mut Client<Stream>,
    head: &RequestHead,
    answer: &Answer,
) -> Ended {
    let persistence = match head.framing() {
        Framing::None | Framing::Length(0) => worker.persistence(head),
        _ => Persistence::Close,
    };
    reply(worker, client, head, answer, SERVER_OUTBOUND, persistence).await
}

/// Tells what became of a request. The time that it ended at.
fn record(
    worker: &Worker,
    connection: Connection,
    client: &Client<Stream>,
    head: &RequestHead,
    routed: &Routed,
    ended: &Ended,
    (since, id): (Since, Option<RequestId>),
) -> Instant {
    let now = Instant::now();
    let received = client.received.bytes();
    let edge: EdgeMetrics = routed.edge(worker);
    let request = report::Request {
        head,
        received,
        id: match &id {
            Some(id) => id.as_str(),
            None => head.text(received, Name::XRequestId).unwrap_or_default(),
        },
        since,
        source: connection.source,
        destination: connection.destination,
        server_name: "",
        cluster: routed.cluster(),
        ended,
    };
    worker.tell(&request, &edge, now);
    now
}
