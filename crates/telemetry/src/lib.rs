//! What a sidecar tells about itself: metrics under Istio's names, the access log in Istio's format, records of
//! authorization decisions, and reports of all this to the control plane.
//!
//! Telling must cost a request next to nothing and must never make it wait: metric handles are resolved
//! once per edge ([`Shard::edge`]) and add to the worker's own atomics; log lines and decision records go into
//! bounded buffers that count what they lose. The clock and random seeds are the caller's.

mod access_log;
mod cells;
mod clock;
mod decisions;
mod digits;
mod edge;
mod exposition;
mod handshakes;
pub mod history;
mod labels;
mod metrics;
mod process;
mod recall;
mod report;
mod reports;
mod request_id;
mod scrape;
mod split_mix;
mod timeouts;
mod totals;

pub use access_log::{AccessLogEntry, AccessLogSender, AccessLogWriter};
pub use clock::UnixMillis;
pub use decisions::{
    Decided, DecisionDestination, DecisionLog, DecisionRecord, DecisionSender, DecisionSource,
    Direction,
};
pub use edge::{DecisionLabels, EdgeMetrics, Mode, RequestSize, Verdict};
pub use exposition::{CONTENT_TYPE, Exposition, Kind, Labels};
pub use handshakes::RefusedCaller;
pub use labels::{
    Edge, Outcome, Party, Reporter, RequestProtocol, ResponseFlags, Security, Service, UNKNOWN,
    UnknownFlag,
};
pub use metrics::{Dropped, MetricLimits, Metrics, Shard};
pub use process::write_process;
pub use recall::{Recall, Recalled, SampleLabels};
pub use report::{
    CertificateState, ConnectionDelta, DURATION_BOUNDS_US, DecisionDelta, EdgeReport, FeedLine,
    Lost, RejectedHandshake, Report, ReportingWorkload, RequestDelta, WorkloadReport,
};
pub use reports::{InForce, Reports};
pub use request_id::{RequestId, RequestIds};
pub use split_mix::SplitMix64;
pub use timeouts::Timeout;
