//! The real kubectl against a server of its own on loopback.

mod kubectl {
    pub(crate) mod server;

    mod access;
    mod objects;
    mod reading;
}
