//! What openssl, as a real peer, says about the certificates.
