//! What first bytes are taken for.

use std::{io::Write, sync::Arc};

use proptest::prelude::{ProptestConfig, any, proptest};
use rustls::{ClientConnection, pki_types::ServerName};

use super::support::careless_client;
use crate::{ClientHello, SNIFF_LIMIT, Sniffed, sniff};

fn hello(alpn: &[&str], name: &'static str) -> Vec<u8> {
    let mut config = careless_client(None);
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(name).unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes as &mut dyn Write).unwrap();
    bytes
}

fn told(bytes: &[u8]) -> ClientHello {
    match sniff(bytes) {
        Sniffed::Tls(hello) => hello,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_hello_tells_its_offer_and_its_name() {
    let told = told(&hello(&["istio-http/1.1", "istio", "http/1.1"], "BackEnd.Example"));
    let names: Vec<&[u8]> = told.alpn().collect();
    assert_eq!(names, [b"istio-http/1.1".as_slice(), b"istio", b"http/1.1"]);
    assert_eq!(told.sni(), Some("backend.example"));
    assert!(told.is_mesh());
}

#[test]
fn only_istios_names_are_the_mesh() {
    for (alpn, expected) in [
        (vec![], false),
        (vec!["http/1.1"], false),
        (vec!["h2", "http/1.1"], false),
        (vec!["istio2"], false),
        (vec!["istio"], true),
        (vec!["h2", "istio-peer-exchange"], true),
        (vec!["istio-h2"], true),
        (vec!["istio-http/1.0"], true),
        (vec!["istio-http/1.1"], true),
    ] {
        assert_eq!(told(&hello(&alpn, "a.example")).is_mesh(), expected, "{alpn:?}");
    }
    assert_eq!(told(&hello(&[], "10.0.0.1")).sni(), None);
}

#[test]
fn every_cut_of_a_hello_needs_more() {
    let whole = hello(&["istio"], "a.example");
    for length in 0..whole.len() {
        assert_eq!(sniff(&whole[..length]), Sniffed::NeedMore, "{length}");
    }
    let mut longer = whole.clone();
    longer.extend(b"more");
    assert_eq!(sniff(&longer), sniff(&whole));
}

#[test]
fn a_hello_in_many_records_is_the_same_hello() {
    let whole = hello(&["istio"], "a.example");
    for size in [1, 2, 3, 7, 64, whole.len()] {
        let split: Vec<u8> = whole[5..]
            .chunks(size)
            .flat_map(|part| {
                let length = u16::try_from(part.len()).unwrap().to_be_bytes();
                [&[22, 3, 1], length.as_slice(), part].concat()
            })
            .collect();
        assert_eq!(sniff(&split), sniff(&whole), "{size}");
        assert_eq!(sniff(&split[..split.len() - 1]), Sniffed::NeedMore, "{size}");
    }
}

#[test]
fn everything_else_is_plaintext_at_the_first_byte_that_shows_it() {
    for bytes in [
        b"G".as_slice(),
        b"\x15",
        b"\x16\x02",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\x00\x05\x02",
        b"\x16\x03\x01\x00\x04\x01\xff\xff\xff",
        b"PRI * HTTP/2.0\r\n",
    ] {
        assert_eq!(sniff(bytes), Sniffed::Plaintext, "{bytes:?}");
    }
    assert_eq!(sniff(b""), Sniffed::NeedMore);
}

#[test]
fn at_the_limit_there_is_always_an_answer() {
    let mut endless = Vec::new();
    while endless.len() < SNIFF_LIMIT {
        endless.extend([22, 3, 1, 0, 1, 1]);
    }
    assert_ne!(sniff(&endless), Sniffed::NeedMore);
    let mut slow = vec![22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xff];
    slow.resize(SNIFF_LIMIT, 0);
    assert_ne!(sniff(&slow), Sniffed::NeedMore);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
        let _ = sniff(&bytes);
        let _ = sniff(&[b"\x16\x03\x01\x00\xf0\x01\x00\x00\x40".as_slice(), &bytes].concat());
    }

    #[test]
    fn no_changed_hello_makes_it_panic(at in any::<usize>(), byte in any::<u8>(), cut in any::<usize>()) {
        let mut bytes = hello(&["istio", "h2"], "a.example");
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = sniff(&bytes);
        let _ = sniff(&bytes[..cut % bytes.len()]);
    }
}
