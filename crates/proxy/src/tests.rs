//! Sidecars in threads of this process, talking over loopback: a client's, a server's, and an application.

mod admin;
mod control;
mod custom;
mod endpoints;
mod floods;
mod framing;
mod http;
mod http2;
mod life;
mod limits;
mod opaque;
mod resilience;
mod revoked;
mod routes;
mod signature;
mod size;
pub(crate) mod support;
mod table;
mod token;
mod unknown;
