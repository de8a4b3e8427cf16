//! The console: a web server for people who watch one mesh, its JSON API, and the pages built from `web/`.
//!
//! It asks for the mesh through one trait ([`MeshView`]) and keeps what sidecars report in memory
//! ([`Console::record`]); it talks to nobody else. It changes nothing, and nothing secret is in its answers.

mod api;
mod auth;
mod events;
mod guard;
mod mesh;
mod pages;
mod server;
#[cfg(test)]
mod tests;
mod view;

pub use auth::{Links, LoginLink};
pub use server::{Console, DEFAULT_PORT};
pub use view::{Answer, ConfigObject, MeshObjects, MeshView, Problem, Question, ViewError};
