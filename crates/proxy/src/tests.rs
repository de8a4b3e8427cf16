//! Sidecars in threads of this process, talking over loopback: a client's, a server's, and an application.

mod control;
mod http;
mod life;
mod opaque;
mod support;
mod table;
