//! Clients that take their time, in a time of our own: nothing here waits.

use std::{
    net::Ipv4Addr,
    pin::pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    task::Poll,
    time::Duration,
};

use futures::{future::select, poll};
use h2::{Reason, client};
use http::Request;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{LocalSet, spawn_blocking, spawn_local, yield_now},
    time::{Instant, advance},
};

use super::support::{BACKEND, Mesh, Server, allow_reading, application, ask, echo, get};
use crate::{Listen, OriginalDestination, inbound, shared::Shared, stall::STALLED, worker::Worker};

/// The ClientHello of a sidecar.
const HELLO: &[u8] = include_bytes!("../../../../fuzz/corpus/client_hello/istio");

/// A sidecar whose clients come one by one, in this very thread: the clock stands still while anything moves.
struct Lone {
    worker: Rc<Worker>,
    listener: TcpListener,
}

impl Lone {
    async fn new<F>(server: &Server, serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let at = application(serve).await;
        let original = OriginalDestination::Fixed { inbound: at, outbound: at };
        let shared = Arc::new(Shared::new(1, Listen::default(), original));
        shared.renew(Mesh::new().generation(BACKEND));
        shared.apply(server.config(at)).unwrap();
        let decisions = shared.decisions.senders().remove(0);
        let worker = Rc::new(Worker::new(shared, decisions));
        Self { worker, listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap() }
    }

    /// A client's connection.
    async fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.listener.local_addr().unwrap()).await.unwrap();
        let (accepted, source) = self.listener.accept().await.unwrap();
        spawn_local(inbound::serve(Rc::clone(&self.worker), accepted, source));
        client
    }

    fn counts(&self, line: &str) -> bool {
        let text = String::from_utf8(self.worker.shared.metrics_text().to_vec()).unwrap();
        text.lines().any(|it| it == line)
    }

    fn has_logged(&self, flags: &str) -> bool {
        let text = String::from_utf8(self.worker.shared.metrics_text().to_vec()).unwrap();
        let label = format!("response_flags=\"{flags}\"");
        text.lines().any(|line| line.starts_with("istio_requests_total{") && line.contains(&label))
    }

    fn timeouts(&self, reason: &str) -> bool {
        self.counts(&format!("palisade_downstream_timeouts_total{{reason=\"{reason}\"}} 1"))
    }
}

fn plain(protocol: &'static str) -> Server {
    Server { mode: "DISABLE", protocol, ..Server::default() }
}

/// A clock that only we move. Tokio's own would leap to the next timer whenever all tasks wait, although what they
/// wait for may be in the kernel's hands; it does not while there is blocking work.
struct Clock {
    _held: mpsc::Sender<()>,
}

impl Clock {
    fn held() -> Self {
        let (held, never) = mpsc::channel::<()>();
        spawn_blocking(move || never.recv().is_ok());
        Self { _held: held }
    }

    /// Lets time pass, in steps, until something is done; how long that took.
    async fn passes<T>(&self, step: Duration, work: impl Future<Output = T>) -> (T, Duration) {
        let mut work = pin!(work);
        let start = Instant::now();
        loop {
            for _ in 0..4 {
                if let Poll::Ready(done) = poll!(work.as_mut()) {
                    return (done, start.elapsed());
                }
                Self::rest().await;
            }
            assert!(start.elapsed() < 3 * IDLE, "it never ends");
            advance(step).await;
        }
    }

    /// So much time passes, and nothing else is waited for.
    async fn goes_on(&self, time: Duration) {
        self.passes(time / 20, tokio::time::sleep(time)).await;
    }

    /// Gives the kernel and all tasks a moment.
    async fn rest() {
        let (_held, never) = mpsc::channel::<()>();
        let moment = move || never.recv_timeout(Duration::from_millis(1)).is_ok();
        spawn_blocking(moment).await.unwrap();
    }
}

/// The connection has ended, whether in good order or not.
async fn end_of(mut stream: TcpStream) {
    while stream.read(&mut [0; 4096]).await.unwrap_or_default() > 0 {}
}

/// Whether something took as long as a limit. Nothing happens before its time; on a busy machine much happens after.
fn is_about(time: Duration, limit: Duration) -> bool {
    (limit..2 * limit).contains(&time)
}

async fn pour(mut stream: TcpStream) {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n";
    let mut sent =
        stream.read(&mut [0; 4096]).await.is_ok() && stream.write_all(head).await.is_ok();
    while sent {
        sent = stream.write_all(&[b'x'; 65536]).await.is_ok();
    }
}

/// Runs with a clock that only we move.
async fn timeless(test: impl AsyncFnOnce(Clock)) {
    LocalSet::new().run_until(async { Box::pin(test(Clock::held())).await }).await;
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const IDLE: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn a_head_has_half_a_minute_however_it_trickles_in() {
    timeless(async |clock| {
        let lone = Lone::new(&plain("HTTP"), echo).await;
        let (mut read, mut write) = lone.connect().await.into_split();
        let trickle = async {
            for byte in b"GET /api/orders HTTP/1.1\r\nhost: backend\r\nx-a: ".iter().cycle() {
                if write.write_all(&[*byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(SECOND).await;
            }
        };
        let ends = async { while read.read(&mut [0; 64]).await.unwrap_or_default() > 0 {} };
        let (_, time) = clock.passes(SECOND, select(pin!(trickle), pin!(ends))).await;
        assert!(is_about(time, 30 * SECOND), "{time:?}");
        assert!(lone.timeouts("head"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn so_has_the_beginning_of_http2() {
    timeless(async |clock| {
        let lone = Lone::new(&plain("HTTP"), echo).await;
        let mut client = lone.connect().await;
        client.write_all(b"PRI * HTTP/2.0\r\n\r\n").await.unwrap();
        let ((), time) = clock.passes(SECOND, end_of(client)).await;
        assert!(is_about(time, 30 * SECOND), "{time:?}");
        assert!(lone.timeouts("head"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_no_more_is_let_go_after_an_hour() {
    timeless(async |clock| {
        let lone = Lone::new(&plain("HTTP"), echo).await;
        let mut client = lone.connect().await;
        assert_eq!(ask(&mut client, &get("/")).await.status(), 200);
        let ((), time) = clock.passes(MINUTE, end_of(client)).await;
        assert!(is_about(time, IDLE), "{time:?}");
        assert!(lone.timeouts("idle"));

        let lone = Lone::new(&plain("HTTP"), echo).await;
        let mut client = lone.connect().await;
        client.write_all(super::floods::PREFACE).await.unwrap();
        let ((), time) = clock.passes(MINUTE, end_of(client)).await;
        assert!(is_about(time, IDLE), "{time:?}");
        assert!(lone.timeouts("idle"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_or_no_more_than_hello_is_refused() {
    timeless(async |clock| {
        let lone = Lone::new(&Server::default(), echo).await;
        for (said, limit) in [(&HELLO[..0], 5), (&HELLO[..HELLO.len() - 1], 5), (HELLO, 10)] {
            let mut client = lone.connect().await;
            client.write_all(said).await.unwrap();
            let ((), time) = clock.passes(SECOND / 4, end_of(client)).await;
            assert!(is_about(time, limit * SECOND), "{time:?}");
        }
        for line in [
            "palisade_handshakes_rejected_total{reason=\"plaintext\"} 2",
            "palisade_handshakes_rejected_total{reason=\"timeout\"} 1",
        ] {
            assert!(lone.counts(line), "{line}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_has_five_minutes_for_the_next_byte() {
    timeless(async |clock| {
        let lone = Lone::new(&plain("HTTP"), pour).await;
        let mut client = lone.connect().await;
        client.write_all(get("/").as_bytes()).await.unwrap();
        clock.goes_on(STALLED / 2).await;
        // As long as it takes something, it is none that stalls.
        let mut some = vec![0; 16 * 1024 * 1024];
        client.read_exact(&mut some).await.unwrap();
        clock.goes_on(STALLED * 3 / 4).await;
        assert!(!lone.timeouts("reader"));
        let told = async {
            while !(lone.timeouts("reader") && lone.has_logged("SI")) {
                yield_now().await;
            }
        };
        clock.passes(5 * SECOND, told).await;
        end_of(client).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn so_has_a_reader_of_a_stream_and_then_its_stream_is_reset() {
    timeless(async |clock| {
        let lone = Lone::new(&plain("HTTP"), pour).await;
        let (mut sender, connection) = client::handshake(lone.connect().await).await.unwrap();
        spawn_local(async move { drop(connection.await) });
        let request = Request::builder().uri("http://backend/").body(()).unwrap();
        let (response, _) = sender.send_request(request, true).unwrap();
        let mut body = response.await.unwrap().into_body();
        let ends = async {
            loop {
                if let Err(error) = body.data().await.unwrap() {
                    return error.reason();
                }
            }
        };
        let (reason, time) = clock.passes(5 * SECOND, ends).await;
        assert_eq!(reason, Some(Reason::CANCEL));
        assert!(is_about(time, STALLED), "{time:?}");
        assert!(lone.timeouts("reader") && lone.has_logged("SI"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn refusals_that_nobody_reads_wait_no_longer() {
    timeless(async |clock| {
        let server = Server { policies: vec![allow_reading()], ..plain("HTTP") };
        let lone = Lone::new(&server, echo).await;
        let (_reads_not, mut write) = lone.connect().await.into_split();
        let burst = get("/denied").repeat(1000);
        let pours = async { while write.write_all(burst.as_bytes()).await.is_ok() {} };
        let ((), time) = clock.passes(5 * SECOND, pours).await;
        assert!(is_about(time, STALLED), "{time:?}");
        assert!(lone.timeouts("reader"));
    })
    .await;
}

/// Counts requests, and answers all but those for `/silent`.
async fn pick(mut stream: TcpStream, seen: Arc<AtomicUsize>) {
    let mut request = [0; 4096];
    while let Ok(1..) = stream.read(&mut request).await {
        seen.fetch_add(1, Relaxed);
        if !request.starts_with(b"GET /silent") {
            let part = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345";
            stream.write_all(part).await.unwrap();
        }
    }
}

/// Opens so many streams for a path and resets each; whether one more request is answered, or that is a flood.
async fn resets(count: usize, path: &str) -> bool {
    let seen = Arc::<AtomicUsize>::default();
    let application = Arc::clone(&seen);
    let lone =
        Lone::new(&plain("HTTP"), move |stream| pick(stream, Arc::clone(&application))).await;
    let client = lone.connect().await;
    let outcome = async {
        let (mut sender, connection) = client::handshake(client).await?;
        spawn_local(async move { drop(connection.await) });
        let get = |path: &str| Request::builder().uri(format!("http://b{path}")).body(()).unwrap();
        for number in 1..=count {
            sender = sender.ready().await?;
            let (response, mut stream) = sender.send_request(get(path), true)?;
            while seen.load(Relaxed) < number {
                yield_now().await;
            }
            if path != "/silent" {
                response.await?;
            }
            stream.send_reset(Reason::CANCEL);
        }
        sender = sender.ready().await?;
        sender.send_request(get("/"), true)?.0.await
    };
    let outcome = outcome.await.map(|answer| answer.status().as_u16());
    let is_flood = lone.counts("palisade_http2_floods_total 1");
    match outcome {
        Ok(status) => assert!(status == 200 && !is_flood),
        // The reason is lost if the client wrote on after it.
        Err(error) => assert!(
            is_flood && error.reason().is_none_or(|it| it == Reason::ENHANCE_YOUR_CALM),
            "{error}"
        ),
    }
    !is_flood
}

#[tokio::test(start_paused = true)]
async fn half_of_five_hundred_streams_that_are_reset_unanswered_are_a_flood() {
    timeless(async |_clock| {
        assert!(resets(498, "/silent").await, "with the next they are 499");
        assert!(!resets(500, "/silent").await);
        assert!(resets(600, "/answered").await, "answers that are given up");
    })
    .await;
}
