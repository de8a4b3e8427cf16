//! What Istio's security policies mean: one engine for enforcing, testing and explaining.
//!
//! Policies are compiled once per workload into [`CompiledPolicies`]; a request or a connection is
//! decided by [`CompiledPolicies::decide`]. No IO, no clock.

mod attributes;
mod client_address;
mod compiled;
mod decision;
pub mod explain;
#[cfg(any(test, feature = "generators"))]
pub mod generators;
pub mod inbound;
pub mod mtls;
mod policy_ref;
mod scope;
mod token;
mod words;

pub use attributes::{Attributes, HeaderFields, Http};
pub use client_address::{Forwarding, client_address};
pub use compiled::{Applied, Before, CompiledPolicies, Custom, Enforcement, is_dry_run};
pub use decision::{Decision, Reason, RuleName, Shadow, Verdict};
pub use mtls::EffectiveMtls;
pub use palisade_jwt::KeySet;
pub use policy_ref::PolicyRef;
pub use scope::{Scope, selects_labels};
pub use token::{AcceptedToken, TokenRules, TokenVerdict, token_refusal};
pub use words::words;
