//! The vocabulary of Palisade: identities, workloads, matchers, spans and diagnostics.
//!
//! Everything here is a plain value: no IO, no clock, no runtime. Strings from outside become
//! these types at the border, so that the rest of the code never sees an unchecked name.

mod diagnostic;
mod identity;
mod ip_block;
mod mesh;
mod path_template;
mod pattern;
mod provider;
mod retry;
mod tracing;
mod workload;

pub use diagnostic::{Diagnostic, Label, Severity, Span};
pub use identity::{IdentityError, Principal, SpiffeId, TrustDomain};
pub use ip_block::{IpBlock, IpBlockError};
pub use mesh::{Mesh, MtlsMode, OutboundTrafficPolicy, PathNormalization, Protocol};
pub use path_template::PathTemplate;
pub use pattern::StringPattern;
pub use provider::{
    BodyForm, BodySeen, ExtensionProvider, HttpProvider, LongerBody, OnError, ProviderProtocol,
    takes_field,
};
pub use retry::{RetryCondition, RetryOn, RetryPolicy};
pub use tracing::{
    CustomTag, ExportProtocol, MeshTracing, Sampling, TagSource, TracingProvider,
    TracingServiceName,
};
pub use workload::WorkloadRef;
