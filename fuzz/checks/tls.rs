//! What must hold for any bytes that a connection begins with.

use std::io::Cursor;

use palisade_tls::{SNIFF_LIMIT, Sniffed, sniff};
use rustls::server::Acceptor;

/// More bytes change nothing that was told, at the limit all is told, and what a TLS server takes for a
/// ClientHello is one with the same names.
pub(crate) fn client_hello(bytes: &[u8]) {
    let told = sniff(bytes);
    assert!(told != Sniffed::NeedMore || bytes.len() < SNIFF_LIMIT);
    for end in (0..bytes.len()).rev().take(200) {
        let before = sniff(&bytes[..end]);
        assert!(before == Sniffed::NeedMore || before == told, "{end}: {before:?} {told:?}");
    }
    let mut acceptor = Acceptor::default();
    let mut rest = Cursor::new(bytes);
    let accepted = loop {
        match acceptor.read_tls(&mut rest) {
            Ok(1..) => {}
            Ok(0) | Err(_) => break None,
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => break Some(accepted),
            Ok(None) => {}
            Err(_) => break None,
        }
    };
    let Some(accepted) = accepted else { return };
    let hello = accepted.client_hello();
    let Sniffed::Tls(told) = told else { panic!("a TLS server goes on with this: {told:?}") };
    let names: Vec<&[u8]> = told.alpn().collect();
    assert_eq!(names, hello.alpn().into_iter().flatten().collect::<Vec<_>>());
    let name = hello.server_name().map(str::to_ascii_lowercase);
    assert!(name.is_none() || told.sni() == name.as_deref(), "{:?} {name:?}", told.sni());
}
