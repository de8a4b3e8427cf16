//! The console: a web server for people who watch one mesh, its JSON API, and the pages built from `web/`.
//!
//! It asks for the mesh through one trait ([`MeshView`]) and keeps what sidecars report in memory
//! ([`Console::feed`]); about what lies further back it asks a Prometheus ([`LongHistory`]) if there is one. It talks to
//! nobody else. It changes Istio's objects if somebody who is logged in asks for it,
//! unless it is read-only, and nothing secret is in its answers.

mod access;
mod api;
mod auth;
mod calls;
mod edit;
mod events;
mod guard;
mod logs;
mod mesh;
mod pages;
mod recall;
mod replay;
mod server;
mod stream;
#[cfg(test)]
mod tests;
mod view;
mod workload;

pub use auth::{Links, LoginLink};
pub use server::{Changes, Console, DEFAULT_PORT};
pub use view::{
    Answer, Applied, ConfigObject, ControlPlane, Draft, Line, LogsOf, LongHistory, MeshObjects,
    MeshView, Problem, Question, SampleSeries, Steps, ViewError,
};
