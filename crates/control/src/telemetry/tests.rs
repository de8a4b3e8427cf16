use palisade_telemetry::{Edge, Party, Security, Service};
use palisade_wire::telemetry::TelemetryServiceClient;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::{TcpStream, tcp::OwnedReadHalf},
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use super::*;
use crate::testing::{Control, DEADLINE, from};

/// A sidecar's end of a stream.
struct Sidecar {
    say: mpsc::Sender<Batch>,
    hear: Streaming<Ack>,
}

impl Sidecar {
    async fn open(control: &Control, account: &str, pod: &str) -> Result<Self, Status> {
        let (say, batches) = mpsc::channel(8);
        let mut client = TelemetryServiceClient::new(control.grpc.clone());
        let answer = client.report(from(account, pod, ReceiverStream::new(batches))).await?;
        Ok(Self { say, hear: answer.into_inner() })
    }

    async fn tell(&mut self, report: &Report) -> Result<u64, Status> {
        let json = serde_json::to_vec(report).unwrap();
        self.say.send(Batch { sequence: report.sequence, report: json.into() }).await.unwrap();
        let ack = timeout(DEADLINE, self.hear.message()).await.unwrap()?;
        Ok(ack.unwrap().sequence)
    }
}

/// Somebody who reads the feed.
struct Watcher {
    lines: Lines<BufReader<OwnedReadHalf>>,
    _keeps_it_open: tokio::net::tcp::OwnedWriteHalf,
}

impl Watcher {
    async fn open(control: &Control) -> Self {
        let (read, mut write) = TcpStream::connect(control.monitoring).await.unwrap().into_split();
        write.write_all(b"GET /debug/telemetry HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut watcher = Self { lines: BufReader::new(read).lines(), _keeps_it_open: write };
        while !watcher.text().await.is_empty() {}
        watcher
    }

    async fn text(&mut self) -> String {
        timeout(DEADLINE, self.lines.next_line()).await.unwrap().unwrap().unwrap()
    }

    /// The next line of the feed, whatever chunks it comes in.
    async fn line(&mut self) -> FeedLine {
        loop {
            let text = self.text().await;
            if text.starts_with('{') {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    async fn report(&mut self) -> WorkloadReport {
        match self.line().await {
            FeedLine::Report(report) => *report,
            FeedLine::Lost { lost } => panic!("{lost} lost"),
        }
    }
}

fn report(sequence: u64) -> Report {
    Report { sequence, ..Report::default() }
}

fn edge(namespace: &str) -> EdgeReport {
    EdgeReport {
        edge: Edge {
            reporter: Reporter::Destination,
            source: Party::unknown(),
            destination: Party { namespace: namespace.into(), ..Party::unknown() },
            service: Service { host: "x".into(), name: "x".into(), namespace: "shop".into() },
            security: Security::MutualTls,
        },
        requests: Vec::new(),
        connections: Vec::new(),
        decisions: Vec::new(),
    }
}

#[tokio::test]
async fn watchers_see_every_report_once_with_who_made_it() {
    let control = Control::start(&[("web", "web"), ("db", "db")]).await;
    let mut watchers = [Watcher::open(&control).await, Watcher::open(&control).await];
    let mut web = Sidecar::open(&control, "web", "web").await.unwrap();
    assert_eq!(web.tell(&report(7)).await.unwrap(), 7);
    let mut again = Sidecar::open(&control, "web", "web").await.unwrap();
    assert_eq!(again.tell(&report(7)).await.unwrap(), 7, "the acknowledgement was lost on the way");
    let mut db = Sidecar::open(&control, "db", "db").await.unwrap();
    db.tell(&Report { edges: vec![edge("shop")], ..report(7) }).await.unwrap();
    for watcher in &mut watchers {
        let first = watcher.report().await;
        assert_eq!(
            (first.workload.namespace.as_str(), first.workload.pod.as_str()),
            ("shop", "web")
        );
        let second = watcher.report().await;
        assert_eq!((second.workload.pod.as_str(), second.report.edges.len()), ("db", 1));
    }
}

#[tokio::test]
async fn nobody_reports_for_another() {
    let control = Control::start(&[("web", "web")]).await;
    for (account, pod, code) in
        [("web", "", Code::PermissionDenied), ("web/x", "web", Code::Unauthenticated)]
    {
        let refused = Sidecar::open(&control, account, pod).await.err().unwrap();
        assert_eq!(refused.code(), code, "{account} {pod}");
    }
    let mut web = Sidecar::open(&control, "web", "web").await.unwrap();
    let forged = Report { edges: vec![edge("payments")], ..report(1) };
    assert_eq!(web.tell(&forged).await.unwrap_err().code(), Code::InvalidArgument);
    let mut web = Sidecar::open(&control, "web", "web").await.unwrap();
    web.say.send(Batch { sequence: 1, report: "{}".into() }).await.unwrap();
    let refused = timeout(DEADLINE, web.hear.message()).await.unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_watcher_that_is_too_slow_is_told_what_it_lost() {
    let feed = TelemetryFeed::new(CancellationToken::new());
    let mut lines = feed.watch().unwrap().into_data_stream();
    let web = WorkloadRef::new("shop", "web");
    for sequence in 0..MAX_WAITING as u64 + 5 {
        feed.publish(&web, report(sequence));
    }
    let first = lines.next().await.unwrap().unwrap();
    assert_eq!(first, "{\"lost\":5}\n");
    let next = lines.next().await.unwrap().unwrap();
    assert!(next.starts_with(b"{\"workload\":{\"namespace\":\"shop\",\"pod\":\"web\"}"));
}

#[tokio::test]
async fn watchers_are_few_and_leave_with_the_control_plane() {
    let shutdown = CancellationToken::new();
    let feed = TelemetryFeed::new(shutdown.clone());
    let watchers: Vec<Body> = (0..MAX_WATCHERS).map(|_| feed.watch().unwrap()).collect();
    assert!(feed.watch().is_none());
    shutdown.cancel();
    for watcher in watchers {
        let mut lines = watcher.into_data_stream();
        assert!(timeout(DEADLINE, lines.next()).await.unwrap().is_none());
    }
    assert!(feed.watch().is_some());
}
