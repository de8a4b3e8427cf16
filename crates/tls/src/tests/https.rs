//! HTTPS servers and clients with each other.

use jiff::Timestamp;
use palisade_pki::{Authority, Credential, Subject};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::support::{DAY, Mesh};
use crate::{
    Alpn, Client, HandshakeReason as Reason, HttpsAcceptor, HttpsConnector, HttpsPeer, reason_of,
};

fn authority() -> Authority {
    Mesh::new("api").authority
}

fn server(authority: &Authority, name: &str) -> Credential {
    let addresses = ["127.0.0.1".parse().unwrap()];
    authority.server_credential(&[name], &addresses, DAY, Timestamp::now()).unwrap()
}

fn user(authority: &Authority, name: &str, group: &str) -> Credential {
    let subject =
        Subject { common_name: Some(name.to_owned()), organization: Some(group.to_owned()) };
    authority.client_credential(&subject, DAY, Timestamp::now()).unwrap()
}

fn connector(authority: &Authority, client: Option<&Credential>) -> HttpsConnector {
    let pair = client.map(|found| (found.certificate_pem.as_str(), found.key_pem.as_str()));
    HttpsConnector::new(&authority.root_pem(), pair, &["h2", "http/1.1"]).unwrap()
}

fn acceptor(authority: &Authority, credential: &Credential) -> HttpsAcceptor {
    let (certificate, key) = (&credential.certificate_pem, &credential.key_pem);
    let ca = authority.root_pem();
    HttpsAcceptor::new(certificate, key, Some(&ca), &["h2", "http/1.1"]).unwrap()
}

/// The server's view, and the client's.
async fn meet(
    acceptor: &HttpsAcceptor,
    connector: &HttpsConnector,
    name: &str,
) -> (Result<HttpsPeer, Reason>, Result<String, Reason>) {
    let (near, far) = duplex(64 * 1024);
    let accepting = async {
        let (mut stream, peer) = acceptor.accept(far).await.map_err(|error| error.reason)?;
        stream.write_all(b"hello").await.unwrap();
        stream.shutdown().await.unwrap();
        Ok(peer)
    };
    let connecting = async {
        let mut stream = connector.connect(near, name).await.map_err(|error| error.reason)?;
        let mut text = String::new();
        let read = stream.read_to_string(&mut text).await;
        read.map_err(|error| reason_of(&error).unwrap_or(Reason::Io))?;
        Ok(text)
    };
    tokio::join!(accepting, connecting)
}

#[tokio::test]
async fn a_client_is_known_by_its_certificate_or_not_at_all() {
    let authority = authority();
    let acceptor = acceptor(&authority, &server(&authority, "localhost"));
    let admin = user(&authority, "admin", "system:masters");
    let (peer, text) = meet(&acceptor, &connector(&authority, Some(&admin)), "127.0.0.1").await;
    assert_eq!(text.unwrap(), "hello");
    let client = Client {
        common_name: "admin".to_owned(),
        organizations: vec!["system:masters".to_owned()],
    };
    assert_eq!(peer, Ok(HttpsPeer { client: Some(client), alpn: Alpn::Http2, sni: None }));
    let (peer, text) = meet(&acceptor, &connector(&authority, None), "LocalHost").await;
    assert_eq!(text.unwrap(), "hello");
    let sni = Some("localhost".to_owned());
    assert_eq!(peer, Ok(HttpsPeer { client: None, alpn: Alpn::Http2, sni }));
}

#[tokio::test]
async fn a_wrong_client_certificate_is_worse_than_none() {
    let (authority, other) = (authority(), authority());
    let acceptor = acceptor(&authority, &server(&authority, "localhost"));
    let forged = user(&other, "admin", "system:masters");
    let client = connector(&authority, Some(&forged));
    let (peer, text) = meet(&acceptor, &client, "localhost").await;
    assert_eq!(peer, Err(Reason::UnknownAuthority));
    assert_eq!(text, Err(Reason::Refused));
    let nameless = server(&authority, "localhost");
    let client = connector(&authority, Some(&nameless));
    let (peer, _) = meet(&acceptor, &client, "localhost").await;
    assert_eq!(peer, Err(Reason::BadUsage), "a server's certificate is no user's");
}

#[tokio::test]
async fn a_client_checks_name_and_root_of_the_server() {
    let (authority, other) = (authority(), authority());
    let acceptor = acceptor(&authority, &server(&authority, "localhost"));
    for (roots, name, expected) in [
        (&authority, "localhost", None),
        (&authority, "127.0.0.1", None),
        (&authority, "other.example", Some(Reason::SecureNaming)),
        (&authority, "127.0.0.2", Some(Reason::SecureNaming)),
        (&other, "localhost", Some(Reason::UnknownAuthority)),
        (&authority, "no name", Some(Reason::Protocol)),
    ] {
        let (_, text) = meet(&acceptor, &connector(roots, None), name).await;
        assert_eq!(text.err(), expected, "{name}");
    }
}

#[tokio::test]
async fn a_reloaded_certificate_serves_from_the_next_connection_on() {
    let authority = authority();
    let acceptor = acceptor(&authority, &server(&authority, "old.example"));
    let client = connector(&authority, None);
    meet(&acceptor, &client, "old.example").await.1.unwrap();
    let new = server(&authority, "new.example");
    assert!(acceptor.reload(&new.certificate_pem, "no key").is_err());
    meet(&acceptor, &client, "old.example").await.1.unwrap();
    acceptor.reload(&new.certificate_pem, &new.key_pem).unwrap();
    meet(&acceptor, &client, "new.example").await.1.unwrap();
    assert!(meet(&acceptor, &client, "old.example").await.1.is_err());
}

#[test]
fn what_does_not_fit_together_is_refused_at_once() {
    let authority = authority();
    let (one, two) = (server(&authority, "a"), server(&authority, "b"));
    let root = authority.root_pem();
    assert!(HttpsAcceptor::new(&one.certificate_pem, &two.key_pem, None, &[]).is_err());
    assert!(HttpsAcceptor::new("", &one.key_pem, None, &[]).is_err());
    assert!(HttpsAcceptor::new(&one.certificate_pem, &one.key_pem, Some(""), &[]).is_err());
    let pair = (one.certificate_pem.as_str(), two.key_pem.as_str());
    assert!(HttpsConnector::new(&root, Some(pair), &[]).is_err());
    assert!(HttpsConnector::new(&one.certificate_pem, None, &[]).is_err(), "a leaf is no root");
}
