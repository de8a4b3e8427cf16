//! `traffic`: who calls whom and what is refused, as sidecars report it.

use std::io::Write;

use jiff::Timestamp;
use palisade_telemetry::{
    EdgeReport, FeedLine, Mode, Party, RejectedHandshake, Reporter, UNKNOWN, Verdict,
    WorkloadReport,
};

use crate::{
    CliError, Mesh,
    args::{Format, TrafficArgs},
    error::During,
};

pub(crate) async fn run(
    mesh: &Mesh,
    args: &TrafficArgs,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    if args.output == Format::Table {
        print(&Row::head(), out)?;
    }
    let follow = mesh.follow_telemetry(|line| show(line, args, out).map_err(|it| it.to_string()));
    match args.duration {
        None => follow.await,
        // The time is over: that is how it is meant to end.
        Some(duration) => tokio::time::timeout(duration, follow).await.unwrap_or(Ok(())),
    }
}

fn show(line: &str, args: &TrafficArgs, out: &mut (dyn Write + Send)) -> Result<(), CliError> {
    let feed: FeedLine = serde_json::from_str(line).during("read a report")?;
    let report = match feed {
        FeedLine::Lost { lost } => {
            return writeln!(out, "{lost} reports were lost: this reader is too slow")
                .during("print");
        }
        FeedLine::Report(report) => report,
    };
    let rows: Vec<Row> = rows(&report).into_iter().filter(|row| row.is_wanted(args)).collect();
    match args.output {
        Format::Json if rows.is_empty() => {}
        Format::Json => writeln!(out, "{line}").during("print")?,
        Format::Table => rows.iter().try_for_each(|row| print(row, out))?,
    }
    out.flush().during("print")
}

/// Calls that ended alike.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Row {
    time: String,
    caller: Name,
    called: Name,
    verdict: String,
    count: String,
    why: String,
}

/// A workload, or a caller's address.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Name {
    text: String,
    namespace: String,
}

impl Name {
    fn plain(text: &str) -> Self {
        Self { text: text.to_owned(), namespace: String::new() }
    }

    fn of(party: &Party) -> Self {
        match &*party.workload {
            UNKNOWN => Self::plain(UNKNOWN),
            workload => {
                let namespace = party.namespace.to_string();
                Self { text: format!("{workload}.{namespace}"), namespace }
            }
        }
    }
}

impl Row {
    fn head() -> Self {
        let text = str::to_owned;
        Self {
            time: text("TIME"),
            caller: Name::plain("CALLER"),
            called: Name::plain("CALLED"),
            verdict: text("VERDICT"),
            count: text("COUNT"),
            why: text("POLICY OR REASON"),
        }
    }

    fn is_wanted(&self, args: &TrafficArgs) -> bool {
        let in_namespace =
            |name: &String| [&self.caller, &self.called].iter().any(|it| it.namespace == *name);
        (args.namespaces.is_empty() || args.namespaces.iter().any(in_namespace))
            && (!args.refused || self.verdict != ALLOWED)
    }
}

fn print(row: &Row, out: &mut (dyn Write + Send)) -> Result<(), CliError> {
    let Row { time, caller, called, verdict, count, why } = row;
    let line =
        format!("{time:<10}{:<30}{:<30}{verdict:<9}{count:>6}  {why}", caller.text, called.text);
    writeln!(out, "{}", line.trim_end()).during("print")
}

/// What a report says of calls to its own pod; its calls to others are told by theirs.
fn rows(told: &WorkloadReport) -> Vec<Row> {
    let time =
        i64::try_from(told.report.time_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let time = time.map(|time| time.strftime("%H:%M:%S").to_string()).unwrap_or_default();
    let served =
        told.report.edges.iter().filter(|edge| edge.edge.reporter == Reporter::Destination);
    let decided = served.flat_map(|edge| decisions(edge, &time));
    let refused = told.report.handshakes.iter().map(|it| handshake(told, it, &time));
    decided.chain(refused).collect()
}

fn decisions(edge: &EdgeReport, time: &str) -> Vec<Row> {
    let enforced = edge.decisions.iter().filter(|it| it.mode == Mode::Enforced);
    enforced
        .map(|decision| Row {
            time: time.to_owned(),
            caller: Name::of(&edge.edge.source),
            called: Name::of(&edge.edge.destination),
            verdict: match decision.verdict {
                Verdict::Allow => ALLOWED.to_owned(),
                Verdict::Deny => "denied".to_owned(),
            },
            count: decision.count.to_string(),
            why: match (decision.policy.as_str(), decision.rule) {
                ("", _) => words(&decision.reason),
                (policy, None) => format!("{policy}.{}", decision.policy_namespace),
                (policy, Some(rule)) => {
                    format!("{policy}.{} rule {rule}", decision.policy_namespace)
                }
            },
        })
        .collect()
}

fn handshake(told: &WorkloadReport, refused: &RejectedHandshake, time: &str) -> Row {
    let (namespace, pod) = (&told.workload.namespace, &told.workload.pod);
    Row {
        time: time.to_owned(),
        caller: Name::plain(&refused.source.to_string()),
        called: Name { text: format!("{pod}.{namespace}"), namespace: namespace.clone() },
        verdict: "refused".to_owned(),
        count: refused.count.to_string(),
        why: words(&refused.reason),
    }
}

/// A reason as a person says it.
fn words(reason: &str) -> String {
    match reason {
        "no_allow_matched" => "no ALLOW rule matched".to_owned(),
        "plaintext" => "plaintext refused (STRICT)".to_owned(),
        _ => reason.replace('_', " ").replace("tls", "TLS"),
    }
}

const ALLOWED: &str = "allowed";

#[cfg(test)]
mod tests {
    use palisade_telemetry::{DecisionDelta, Edge, Report, ReportingWorkload, Security, Service};

    use super::*;

    fn told() -> String {
        let party = |name: &str| Party {
            workload: name.into(),
            namespace: "shop".into(),
            ..Party::unknown()
        };
        let edge = |reporter, source| Edge {
            reporter,
            source,
            destination: party("api"),
            service: Service { host: "api".into(), name: "api".into(), namespace: "shop".into() },
            security: Security::MutualTls,
        };
        let decision = |verdict, policy: &str, mode, count| DecisionDelta {
            verdict,
            mode,
            reason: "no_allow_matched".to_owned(),
            policy_namespace: "shop".to_owned(),
            policy: policy.to_owned(),
            rule: (!policy.is_empty()).then_some(0),
            count,
        };
        let report = |edge, decisions| EdgeReport {
            edge,
            requests: Vec::new(),
            connections: Vec::new(),
            decisions,
        };
        let web = vec![
            decision(Verdict::Allow, "open", Mode::Enforced, 5),
            decision(Verdict::Deny, "", Mode::Enforced, 2),
            decision(Verdict::Deny, "tried", Mode::DryRun, 7),
        ];
        let line = FeedLine::Report(Box::new(WorkloadReport {
            workload: ReportingWorkload { namespace: "shop".to_owned(), pod: "api-1".to_owned() },
            report: Report {
                time_ms: 1_800_000_000_000,
                edges: vec![
                    report(edge(Reporter::Destination, party("web")), web),
                    report(edge(Reporter::Source, party("api")), Vec::new()),
                ],
                handshakes: vec![RejectedHandshake {
                    time: String::new(),
                    source: [10, 244, 0, 9].into(),
                    destination: ([10, 244, 0, 5], 8080).into(),
                    reason: "foreign_tls".to_owned(),
                    count: 3,
                }],
                ..Report::default()
            },
        }));
        serde_json::to_string(&line).unwrap()
    }

    fn shown(args: &TrafficArgs) -> String {
        let mut out = Vec::new();
        show(&told(), args, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_kind_of_call_is_a_line() {
        insta::assert_snapshot!(shown(&TrafficArgs::default()));
    }

    #[test]
    fn only_what_was_asked_for_is_shown() {
        let refused = shown(&TrafficArgs { refused: true, ..TrafficArgs::default() });
        assert!(!refused.contains(ALLOWED) && refused.lines().count() == 2, "{refused}");
        let other = TrafficArgs { namespaces: vec!["web".to_owned()], ..TrafficArgs::default() };
        assert_eq!(shown(&other), "");
        let json = TrafficArgs { output: Format::Json, ..TrafficArgs::default() };
        assert_eq!(shown(&json).trim(), told());
    }
}
