//! Connections to the workload, from accept to record. This is the request path:
//!
//! accept → original destination → detect TLS → admit → handshake and authenticate → detect protocol →
//! read head → normalise → CUSTOM → token → authorize → forward → record.
//!
//! An opaque connection is authorized when it is accepted, which is stricter than Envoy (which waits for
//! the first bytes and lets a server that speaks first speak), and again with every configuration.

use std::{net::SocketAddr, rc::Rc, sync::Arc};

use palisade_http::{RequestError, RequestHead, SERVER_INBOUND};
use palisade_policy::{
    Decision,
    inbound::{Admission, Hello, Speech, admit},
};
use palisade_types::{MtlsMode, Protocol};
use smallvec::SmallVec;
use tokio::{net::TcpStream, time::Instant};

use self::{
    custom::Ask,
    judge::{Judged, Known, Verdict},
    peer::Connection,
};
use crate::{
    answer::Answer,
    buffer::Buffer,
    detect,
    forward::{After, Ended, Passed, Tunnel, forward},
    http1::{Client, Scratch},
    io::Stream,
    report::{self, Since},
    session, socket,
    upstream::Dial,
    worker::Worker,
};

pub(crate) mod custom;
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
            let known = Known::default();
            let requests = Session { worker: &worker, connection: &connection, client, known };
            session::serve(&worker, requests).await;
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

/// The requests of one connection.
struct Session<'a> {
    worker: &'a Worker,
    connection: &'a Connection,
    client: Client<Stream>,
    known: Known,
}

impl session::Session for Session<'_> {
    fn client(&mut self) -> &mut Client<Stream> {
        &mut self.client
    }

    async fn request(&mut self, scratch: &mut Scratch) -> After {
        let Self { worker, connection, client, .. } = self;
        let since = Since::at(client.since());
        let received = client.received.bytes();
        let (verdict, judged) = match judge::request(worker, connection, scratch, received, None) {
            (Verdict::Ask(asked), judged) => {
                Box::pin(ask(worker, connection, scratch, received, asked, judged)).await
            }
            judged => judged,
        };
        match verdict {
            // No question is left.
            Verdict::Cut | Verdict::Ask(_) => {
                connection.refuse(worker, client.stream.tcp(), peer::PLAINTEXT);
                After::Cut
            }
            Verdict::Answer(answer) => {
                let ended = self.answer(&scratch.request, &answer).await;
                self.record(&scratch.request, &judged, &ended, since);
                self.client.received.consume(scratch.request.len());
                ended.after
            }
            Verdict::Pass(upload) => {
                let dial = Dial { address: connection.destination, target: None };
                let passed = forward(worker, client, scratch, upload, dial, SERVER_INBOUND).await;
                let now = self.record(&scratch.request, &judged, &passed.ended, since);
                let after = passed.ended.after;
                match self.finish(passed, scratch, judged, now) {
                    None => after,
                    Some((tunnel, request)) => {
                        let Self { worker, connection, client, .. } = self;
                        let serving =
                            tunnel::serve(worker, connection, client, scratch, tunnel, &request);
                        Box::pin(serving).await
                    }
                }
            }
        }
    }

    async fn unreadable(&mut self, head: &RequestHead, error: RequestError) {
        let since = Since::now();
        let ended = self.answer(head, &Answer::Unreadable(error)).await;
        self.record(head, &Judged::unread(), &ended, since);
    }
}

/// Asks the external authorizer of a request, and judges the request with what it says; again, if another
/// configuration names another by then.
async fn ask(
    worker: &Worker,
    connection: &Connection,
    scratch: &mut Scratch,
    received: &[u8],
    mut asked: Box<Ask>,
    mut judged: Judged,
) -> (Verdict, Judged) {
    loop {
        let rule = Arc::clone(&asked.rule);
        match custom::ask(worker, connection, *asked).await {
            Ok(yes) => {
                let granted = Some(Box::new(yes));
                match judge::request(worker, connection, scratch, received, granted) {
                    (Verdict::Ask(another), again) => (asked, judged) = (another, again),
                    judged => return judged,
                }
            }
            Err(no) => {
                judged.decision = Some(Decision::denied(rule, None));
                return (Verdict::Answer(Answer::External(no)), judged);
            }
        }
    }
}

impl Session<'_> {
    /// Gives back what a request had borrowed. What is left of an upgrade is a tunnel, and the request
    /// that asked for it.
    fn finish(
        &mut self,
        passed: Passed,
        scratch: &mut Scratch,
        judged: Judged,
        now: Instant,
    ) -> Option<(Tunnel, tunnel::Request)> {
        let received = self.client.received.bytes();
        let request = passed
            .is_upgraded()
            .then(|| tunnel::Request::new(&scratch.request, received, judged.path, judged.granted));
        passed.finish(self.worker, &mut self.client, scratch, now).zip(request)
    }

    async fn answer(&mut self, head: &RequestHead, answer: &Answer) -> Ended {
        session::answer(self.worker, &mut self.client, head, answer, SERVER_INBOUND).await
    }

    /// Tells what became of a request. The time that it ended at.
    fn record(
        &mut self,
        head: &RequestHead,
        judged: &Judged,
        ended: &Ended,
        since: Since,
    ) -> Instant {
        let Self { worker, connection, client, known } = self;
        let now = Instant::now();
        let received = client.received.bytes();
        let id = judged.id(head, received);
        let edge = known.edge(worker, connection);
        if let Some(decision) = &judged.decision {
            let judgement = report::Judgement {
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
            };
            worker.tell_decision(&judgement, &edge);
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
}
