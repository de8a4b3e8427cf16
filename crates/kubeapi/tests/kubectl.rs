//! The real kubectl against a server of its own on loopback.

#[cfg(test)]
mod kubectl {
    pub(crate) mod backend;
    pub(crate) mod server;

    mod access;
    mod admission;
    mod objects;
    mod reading;
    mod streams;
    mod watching;
}
