//! The embedded Kubernetes API of one machine.
//!
//! It serves the kinds that Palisade works with, as a Kubernetes API server does: kubectl, kube-rs
//! and client-go can't tell the difference. It runs no controller and no container; those are its
//! clients, as on a cluster.

mod admission;
mod api;
mod auth;
mod authority;
mod body;
mod bootstrap;
mod convert;
#[cfg(test)]
mod corpora;
mod delete;
mod discovery;
mod endpoints;
mod expiry;
mod http_io;
mod ids;
mod names;
mod object;
mod openapi;
mod options;
mod patch;
mod proto;
mod proxy;
mod read;
mod render;
mod request;
mod resource;
mod reviews;
mod router;
mod rules;
mod scale;
mod schema;
mod selector;
mod server;
mod services;
#[cfg(test)]
#[path = "../../../fuzz/smoke.rs"]
mod smoke;
mod status;
mod store;
mod table;
mod tokens;
mod watch;
mod write;

pub use options::{ApiOptions, ApiUser, Ids};
pub use server::{ApiServer, ApiServerError};
