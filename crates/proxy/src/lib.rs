//! The sidecar: the process beside every workload that carries its traffic.
//!
//! It captures the workload's connections, speaks mTLS to other sidecars, decides each request with
//! `palisade-policy` and records what it did. Where it is told what to do, by a stream from the
//! control plane or by a file, makes no difference after loading.
//!
//! The request path is `inbound.rs` and, mirrored, `outbound.rs`; everything else is what they call.

mod active;
mod admin;
mod answer;
mod attempts;
mod bootstrap;
mod buffer;
mod calls;
mod control;
mod denials;
mod detect;
mod edges;
mod forward;
mod gateway;
mod http1;
mod http2;
mod inbound;
mod io;
mod log;
mod options;
mod outbound;
mod patience;
mod pool;
mod probe;
mod reply;
mod report;
mod session;
mod shared;
mod sidecar;
mod signal;
mod signature;
#[cfg(test)]
#[path = "../../../fuzz/smoke.rs"]
mod smoke;
mod socket;
mod spans;
mod stall;
mod tcp;
mod timer;
mod tunnel;
mod upstream;
mod worker;

pub use bootstrap::{Bootstrap, BootstrapError, IdentityFiles};
pub use options::{
    AppProbe, ControlPlane, HttpGet, HttpHeader, Listen, OptionsError, OriginalDestination,
    SidecarOptions, Source, TcpSocket,
};
pub use sidecar::{SidecarError, run_sidecar};

#[cfg(test)]
mod tests;
