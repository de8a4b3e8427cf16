//! Who is let in, who is not, and which reason is given.

use std::{sync::Arc, time::Duration};

use palisade_types::TrustDomain;
use rcgen::ExtendedKeyUsagePurpose;
use rustls::{
    ClientConfig,
    pki_types::ServerName,
    version::{TLS12, TLS13},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::support::{
    Leaf, Mesh, SNI, careless_client, careless_client_of, careless_server, handshake, id,
    round_trip, settings,
};
use crate::{
    Alpn, Generation, HandshakeReason as Reason, KeyExchange, Offer, PendingError, PendingIdentity,
    Settings, reason_of,
};

const GOOD: &str = "spiffe://cluster.local/ns/poc/sa/frontend";

#[tokio::test]
async fn both_ends_learn_each_others_identity() {
    let mesh = Mesh::new("a");
    let (client, server) = (mesh.generation("frontend"), mesh.generation("backend"));
    let (to, from) = round_trip(&client, &server, &[id("other"), id("backend")]).await;
    assert_eq!(to.identities, [id("backend").to_string()]);
    assert_eq!(from.identities, [GOOD]);
    assert_eq!((to.alpn, from.alpn), (Alpn::Http1, Alpn::Http1));
    assert_eq!((to.sni, from.sni.as_deref()), (None, Some(SNI)));
    assert!(to.tls13 && from.tls13 && !to.resumed && !from.resumed);
    let own = |generation: &Generation| generation.svid().facts.serial.clone();
    assert_ne!(own(&client), own(&server));
    assert_ne!(to.certificate_sha256, from.certificate_sha256);
}

#[tokio::test]
async fn every_choice_of_key_exchange_meets_every_other() {
    let mesh = Mesh::new("a");
    let with = |account, key_exchange| {
        mesh.generation_with(account, Settings { key_exchange, ..settings() })
    };
    for near in [KeyExchange::Hybrid, KeyExchange::Classic] {
        for far in [KeyExchange::Hybrid, KeyExchange::Classic] {
            let (client, server) = (with("frontend", near), with("backend", far));
            let (to, from) = round_trip(&client, &server, &[id("backend")]).await;
            assert!(to.tls13 && from.tls13, "{near} {far}");
        }
    }
    assert_eq!("mlkem".parse(), Ok(KeyExchange::Hybrid));
    assert_eq!("x25519".parse(), Ok(KeyExchange::Classic));
    assert!("".parse::<KeyExchange>().is_err());
}

#[tokio::test]
async fn a_server_selects_http_or_nothing_and_never_a_name_of_istio() {
    let mesh = Mesh::new("a");
    let client = mesh.generation("frontend");
    let server = mesh.generation("backend");
    for (offer, expected) in
        [(Offer::Http1, Alpn::Http1), (Offer::Http2, Alpn::Http2), (Offer::Tcp, Alpn::None)]
    {
        let (near, far) = handshake(&client, &server, offer, &[id("backend")]).await;
        let (near, far) = (near.unwrap().1, far.unwrap().1);
        assert_eq!((near.alpn, far.alpn), (expected, expected), "{offer:?}");
    }
}

#[tokio::test]
async fn a_server_refuses_every_bad_client_and_says_why() {
    let (mesh, same_name, stranger) = (Mesh::new("a"), Mesh::new("a"), Mesh::new("b"));
    let server = mesh.generation("backend");
    let good = Leaf::of(GOOD);
    let usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    for (name, certificate, expected) in [
        ("good", Some(mesh.sign(&good)), None),
        ("rsa", Some(mesh.sign_rsa(&good)), None),
        ("none", None, Some(Reason::NoCertificate)),
        ("same name", Some(same_name.sign(&good)), Some(Reason::UnknownAuthority)),
        ("stranger", Some(stranger.sign(&good)), Some(Reason::UnknownAuthority)),
        (
            "expired",
            Some(mesh.sign(&Leaf { valid: (-60, -1), ..good.clone() })),
            Some(Reason::Expired),
        ),
        (
            "early",
            Some(mesh.sign(&Leaf { valid: (60, 90), ..good.clone() })),
            Some(Reason::NotYetValid),
        ),
        (
            "foreign",
            Some(mesh.sign(&Leaf::of("spiffe://td2/ns/a/sa/b"))),
            Some(Reason::ForeignTrustDomain),
        ),
        (
            "two",
            Some(mesh.sign(&Leaf { uris: vec![GOOD, "spiffe://td2/ns/a/sa/b"], ..good.clone() })),
            Some(Reason::SeveralIdentities),
        ),
        (
            "same twice",
            Some(mesh.sign(&Leaf { uris: vec![GOOD, GOOD], ..good.clone() })),
            Some(Reason::SeveralIdentities),
        ),
        (
            "no uri",
            Some(mesh.sign(&Leaf { uris: vec![], ..good.clone() })),
            Some(Reason::NoIdentity),
        ),
        (
            "no spiffe",
            Some(mesh.sign(&Leaf::of("https://cluster.local/a"))),
            Some(Reason::NoIdentity),
        ),
        ("no path", Some(mesh.sign(&Leaf::of("spiffe://cluster.local"))), Some(Reason::NoIdentity)),
        ("usage", Some(mesh.sign(&Leaf { usages, ..good.clone() })), Some(Reason::BadUsage)),
    ] {
        let client = careless_client(certificate.as_ref());
        let (accepted, _) = meet(&server, client).await;
        assert_eq!(accepted.err(), expected, "{name}");
    }
}

#[tokio::test]
async fn a_refused_client_hears_it() {
    let mesh = Mesh::new("a");
    let server = mesh.generation("backend");
    for version in [&TLS13, &TLS12] {
        let client = careless_client_of(&[version], None);
        let (accepted, heard) = meet(&server, client).await;
        assert_eq!(accepted, Err(Reason::NoCertificate));
        assert_eq!(heard, Some(Reason::Refused), "{version:?}");
    }
}

#[tokio::test]
async fn an_rsa_server_is_as_good_as_any() {
    let mesh = Mesh::new("a");
    let (certificate, key) = mesh.sign_rsa(&Leaf::of("spiffe://cluster.local/ns/poc/sa/backend"));
    let root = mesh.authority.root_pem();
    let server = Generation::from_pem(&certificate, &key, &root, settings()).unwrap();
    let (to, _) = round_trip(&mesh.generation("frontend"), &server, &[id("backend")]).await;
    assert_eq!(to.identities, [id("backend").to_string()]);
}

#[tokio::test]
async fn an_alias_of_the_trust_domain_counts_as_the_mesh() {
    let mesh = Mesh::new("a");
    let domains: Vec<TrustDomain> = vec!["cluster.local".parse().unwrap(), "td2".parse().unwrap()];
    let server = mesh.generation("backend").with_settings(Settings::new(domains)).unwrap();
    let certificate = mesh.sign(&Leaf::of("spiffe://td2/ns/a/sa/b"));
    let (accepted, _) = meet(&server, careless_client(Some(&certificate))).await;
    assert_eq!(accepted.unwrap(), ["spiffe://td2/ns/a/sa/b"]);
}

#[tokio::test]
async fn a_client_refuses_every_bad_server_and_says_why() {
    let (mesh, same_name, stranger) = (Mesh::new("a"), Mesh::new("a"), Mesh::new("b"));
    let client = mesh.generation("frontend");
    let backend = "spiffe://cluster.local/ns/poc/sa/backend";
    let good = Leaf::of(backend);
    let usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    for (name, certificate, expected) in [
        ("good", mesh.sign(&good), None),
        ("same name", same_name.sign(&good), Some(Reason::UnknownAuthority)),
        ("stranger", stranger.sign(&good), Some(Reason::UnknownAuthority)),
        ("expired", mesh.sign(&Leaf { valid: (-60, -1), ..good.clone() }), Some(Reason::Expired)),
        ("early", mesh.sign(&Leaf { valid: (60, 90), ..good.clone() }), Some(Reason::NotYetValid)),
        ("other", mesh.sign(&Leaf::of(GOOD)), Some(Reason::SecureNaming)),
        (
            "prefix",
            mesh.sign(&Leaf::of("spiffe://cluster.local/ns/poc/sa/backend2")),
            Some(Reason::SecureNaming),
        ),
        (
            "foreign",
            mesh.sign(&Leaf::of("spiffe://td2/ns/poc/sa/backend")),
            Some(Reason::ForeignTrustDomain),
        ),
        (
            "two",
            mesh.sign(&Leaf { uris: vec![backend, GOOD], ..good.clone() }),
            Some(Reason::SeveralIdentities),
        ),
        ("no uri", mesh.sign(&Leaf { uris: vec![], ..good.clone() }), Some(Reason::NoIdentity)),
        ("usage", mesh.sign(&Leaf { usages, ..good.clone() }), Some(Reason::BadUsage)),
    ] {
        let (near, far) = duplex(64 * 1024);
        let server = TlsAcceptor::from(Arc::new(careless_server(&certificate)));
        let expecting = [id("backend")];
        let (connected, _) =
            tokio::join!(client.connect(near, SNI, Offer::Http1, &expecting), server.accept(far));
        assert_eq!(connected.err().map(|error| error.reason), expected, "{name}");
    }
}

#[tokio::test]
async fn nobody_is_connected_to_when_nobody_may_serve() {
    let client = Mesh::new("a").generation("frontend");
    let (near, mut far) = duplex(1024);
    let error = client.connect(near, SNI, Offer::Http1, &[]).await.unwrap_err();
    assert_eq!(error.reason, Reason::SecureNaming);
    let mut sent = Vec::new();
    far.read_to_end(&mut sent).await.unwrap();
    assert!(sent.is_empty(), "not even a hello was sent");
}

#[tokio::test]
async fn a_name_that_is_none_is_refused() {
    let client = Mesh::new("a").generation("frontend");
    for name in ["", "a b", "a..b", "ä"] {
        let error = client.connector(name, Offer::Tcp, &[id("backend")]).unwrap_err();
        assert_eq!(error.reason, Reason::Protocol, "{name}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_tls_and_early_ends_have_their_reasons() {
    let server = Mesh::new("a").generation("backend");
    for (bytes, expected) in [
        (b"GET / HTTP/1.1\r\n\r\n".as_slice(), Reason::Protocol),
        (b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00", Reason::Protocol),
        (b"\x16\x03", Reason::Io),
        (b"", Reason::Io),
    ] {
        for already_read in [0, bytes.len()] {
            let (mut near, far) = duplex(1024);
            near.write_all(&bytes[already_read..]).await.unwrap();
            near.shutdown().await.unwrap();
            let error = server.accept(far, &bytes[..already_read]).await.unwrap_err();
            assert_eq!(error.reason, expected, "{bytes:?}");
        }
    }
}

#[tokio::test]
async fn a_silent_peer_is_given_up() {
    let handshake_timeout = Duration::from_millis(20);
    let generation =
        Mesh::new("a").generation_with("backend", Settings { handshake_timeout, ..settings() });
    let (_near, far) = duplex(1024);
    let error = generation.accept(far, &[]).await.unwrap_err();
    assert_eq!(error.reason, Reason::Timeout);
    let (near, _far) = duplex(64 * 1024);
    let error = generation.connect(near, SNI, Offer::Tcp, &[id("a")]).await.unwrap_err();
    assert_eq!(error.reason, Reason::Timeout);
}

#[tokio::test]
async fn a_hello_may_have_been_read_before_up_to_any_byte() {
    let mesh = Mesh::new("a");
    let server = mesh.generation("backend");
    let client = mesh.generation("frontend");
    let mut cut = 0;
    loop {
        let (near, mut far) = duplex(64 * 1024);
        let expected = [id("backend")];
        let connecting = client.connect(near, SNI, Offer::Http1, &expected);
        let accepting = async {
            let mut hello = vec![0; 4096];
            let length = far.read(&mut hello[..cut.max(1)]).await.unwrap();
            server.accept(far, &hello[..length]).await.map(|(_, peer)| (peer, length))
        };
        let (connected, accepted) = tokio::join!(connecting, accepting);
        connected.unwrap();
        let (peer, length) = accepted.unwrap();
        assert_eq!(peer.identities, [GOOD]);
        if length < cut {
            return;
        }
        cut += 1 + cut / 8;
    }
}

#[test]
fn an_answer_of_the_authority_has_to_fit_the_question() {
    let (mesh, other) = (Mesh::new("a"), Mesh::new("b"));
    let ask = || PendingIdentity::generate(&id("frontend")).unwrap();
    let pending = ask();
    let answer = mesh.chain(&pending, "backend");
    assert!(matches!(
        pending.complete(&answer, settings()),
        Err(PendingError::OtherIdentity { .. })
    ));
    let answer = mesh.chain(&ask(), "frontend");
    assert!(matches!(ask().complete(&answer, settings()), Err(PendingError::Generation(_))));
    let pending = ask();
    let mut answer = mesh.chain(&pending, "frontend");
    answer[1] = other.authority.root_pem();
    assert!(matches!(pending.complete(&answer, settings()), Err(PendingError::Generation(_))));
    let pending = ask();
    let answer = mesh.chain(&pending, "frontend");
    assert!(matches!(pending.complete(&answer[..1], settings()), Err(PendingError::Short(1))));
    let foreign = Settings::new(vec!["td2".parse().unwrap()]);
    let generation = mesh.generation("frontend");
    assert!(generation.with_settings(foreign).is_err(), "our own trust domain has to be known");
}

#[test]
fn an_expired_certificate_makes_no_generation() {
    let mesh = Mesh::new("a");
    let (certificate, key) = mesh.sign(&Leaf { valid: (-60, -1), ..Leaf::of(GOOD) });
    let root = mesh.authority.root_pem();
    assert!(Generation::from_pem(&certificate, &key, &root, settings()).is_err());
    let (certificate, key) = mesh.sign(&Leaf::of(GOOD));
    let generation = Generation::from_pem(&certificate, &key, &root, settings()).unwrap();
    assert_eq!(generation.svid().id, id("frontend"));
    assert_eq!(generation.bundle().roots().len(), 1);
}

/// What a server says of a client, and what the client hears of it.
async fn meet(
    server: &Generation,
    client: ClientConfig,
) -> (Result<Vec<String>, Reason>, Option<Reason>) {
    let (near, far) = duplex(64 * 1024);
    let connecting = async {
        let name = ServerName::try_from("a.example").unwrap();
        match TlsConnector::from(Arc::new(client)).connect(name, near).await {
            Ok(mut stream) => stream.read(&mut [0]).await.err().and_then(|error| reason_of(&error)),
            Err(error) => reason_of(&error),
        }
    };
    let accepting = async {
        server.accept(far, &[]).await.map(|(_, peer)| peer.identities).map_err(|error| error.reason)
    };
    tokio::join!(accepting, connecting)
}
