//! Handshakes between real ends: over memory, and against openssl.

mod closing;
mod handshakes;
mod https;
mod openssl;
mod resumption;
mod sniffing;
mod support;
