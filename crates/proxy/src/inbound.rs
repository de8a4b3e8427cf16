//! Connections to the workload, from accept to record. This is the request path:
//!
//! accept → original destination → detect TLS → admit → handshake and authenticate → detect protocol →
//! read head → normalise → token → authorize → forward → record.
//!
//! An opaque connection is authorized when it is accepted, which is stricter than Envoy (which waits for
//! the first bytes and lets a server that speaks first speak), and again with every configuration.

use std::{net::SocketAddr, rc::Rc};

use palisade_http::{Framing, Persistence, RequestHead, SERVER_INBOUND};
use palisade_policy::inbound::{Admission, Hello, Speech, admit};
use palisade_types::{MtlsMode, Protocol};
use smallvec::SmallVec;
use tokio::{net::TcpStream, time::Instant};

use self::{
    judge::{Judged, Known, Verdict},
    peer::Connection,
};
use crate::{
    answer::Answer,
    buffer::Buffer,
    detect,
    forward::{After, Ended, forward},
    http1::{Client, Next, Scratch},
    http2,
    io::Stream,
    reply::reply,
    report,
    signal::Watch,
    socket,
    upstream::Dial,
    worker::Worker,
};

pub(crate) mod judge;
mod opaque;
mod peer;
mod tunnel;

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
        Admission::Reset => return connection.refuse(&worker, &tcp),
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
        detect::Speech::Http => http(&worker, &connection, stream, received).await,
        detect::Speech::Opaque => opaque::serve(&worker, &connection, stream, received).await,
        detect::Speech::Gone => {}
    }
}

/// Mode and protocol of a port; none while there is no configuration.
fn port(worker: &Worker, destination: SocketAddr) -> Option<(MtlsMode, Protocol)> {
    let active = worker.shared.active();
    let active = active.as_deref()?;
    Some((active.mode(destination.port()), active.protocol(destination.port())))
}

/// Serves the requests of a connection, one after the other.
async fn http(worker: &Worker, connection: &Connection, stream: Stream, received: Buffer) {
    let mut client = Client::new(stream, received);
    let mut draining = Watch::from_start(&worker.draining);
    let mut known = Known::default();
    loop {
        let after = match client.next(worker, &mut draining).await {
            Next::Request(mut scratch) => {
                let after =
                    request(worker, connection, &mut client, &mut scratch, &mut known).await;
                worker.scratches.give(scratch);
                after
            }
            Next::Refused(..) if http2::is_preface(client.received.bytes()) => {
                http2::refuse(&mut client, connection.source).await;
                After::Close
            }
            Next::Refused(scratch, error) => {
                let (head, answer) = (&scratch.request, Answer::Unreadable(error));
                let since = report::Since::now();
                let ended = answer_with(worker, &mut client, head, &answer).await;
                let judged = Judged::unread();
                record(worker, connection, &client, head, &judged, &ended, since, &mut known);
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
    connection: &Connection,
    client: &mut Client<Stream>,
    scratch: &mut Scratch,
    known: &mut Known,
) -> After {
    let since = report::Since::at(client.since());
    let mut judged = judge::request(worker, connection, scratch, client.received.bytes());
    match std::mem::replace(&mut judged.verdict, Verdict::Cut) {
        Verdict::Cut => {
            connection.refuse(worker, client.stream.tcp());
            After::Cut
        }
        Verdict::Answer(answer) => {
            let head = &scratch.request;
            let ended = answer_with(worker, client, head, &answer).await;
            record(worker, connection, client, head, &judged, &ended, since, known);
            client.received.consume(head.len());
            ended.after
        }
        Verdict::Pass(upload) => {
            let dial = Dial { address: connection.destination, target: None };
            let passed = forward(worker, client, scratch, upload, dial, SERVER_INBOUND).await;
            let (head, ended) = (&scratch.request, &passed.ended);
            let now = record(worker, connection, client, head, &judged, ended, since, known);
            let after = ended.after;
            let request = passed
                .is_upgraded()
                .then(|| tunnel::Request::new(head, client.received.bytes(), judged.path));
            match (passed.finish(worker, client, scratch, now), request) {
                (Some(tunnel), Some(request)) => {
                    tunnel::serve(worker, connection, client, scratch, tunnel, &request).await
                }
                _ => after,
            }
        }
    }
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
    reply(worker, client, head, answer, SERVER_INBOUND, persistence).await
}

/// Tells what became of a request. The time that it ended at.
#[expect(clippy::too_many_arguments, reason = "all that is known of a request")]
fn record(
    worker: &Worker,
    connection: &Connection,
    client: &Client<Stream>,
    head: &RequestHead,
    judged: &Judged,
    ended: &Ended,
    since: report::Since,
    known: &mut Known,
) -> Instant {
    let now = Instant::now();
    let received = client.received.bytes();
    let id = judged.id(head, received);
    let edge = known.edge(worker, connection);
    if let Some(decision) = &judged.decision {
        worker.tell_decision(
            &report::Judgement {
                decision,
                rule: known.rule(decision),
                generation: judged.generation,
                principal: connection.principal().unwrap_or_default(),
                request_id: id,
                method: head.method().as_str(),
                path: judged.path(head, received),
                source: connection.source,
                destination: connection.destination,
                time: since.time,
                response_code: ended.status,
            },
            &edge,
        );
    }
    let request = report::Request {
        head,
        received,
        id,
        since,
        source: connection.source,
        destination: connection.destination,
        server_name: &connection.server_name,
        cluster: &connection.cluster,
        ended,
    };
    worker.tell(&request, &edge, now);
    now
}
