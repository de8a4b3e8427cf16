//! Handshakes between real ends, over memory and against openssl.
