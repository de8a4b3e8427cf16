//! openssl as the other end.

use std::{path::Path, process::Stdio};

use palisade_types::TrustDomain;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
};

use super::support::{Leaf, Mesh, SNI, id};
use crate::{Alpn, HandshakeReason as Reason, Offer, Peer, Settings};

const CLIENT: &str = "spiffe://cluster.local/ns/poc/sa/frontend";

#[tokio::test]
async fn openssl_is_served_over_both_versions() {
    for (version, tls13) in [("-tls1_3", true), ("-tls1_2", false)] {
        for (alpn, expected) in [
            ("istio-http/1.1,istio,http/1.1", Alpn::Http1),
            ("istio", Alpn::None),
            ("", Alpn::None),
        ] {
            let mut arguments = vec![version, "-servername", SNI];
            if !alpn.is_empty() {
                arguments.extend(["-alpn", alpn]);
            }
            let (peer, output) = serve(&arguments, true).await;
            let peer = peer.unwrap_or_else(|reason| panic!("{version} {alpn}: {reason}\n{output}"));
            assert_eq!(peer.identities, [CLIENT]);
            assert_eq!((peer.tls13, peer.alpn), (tls13, expected), "{version} {alpn}");
            assert_eq!(peer.sni.as_deref(), Some(SNI));
            assert!(output.contains("pong"), "{output}");
            assert!(output.contains("Verify return code: 0 (ok)"), "{output}");
        }
    }
}

#[tokio::test]
async fn openssl_without_certificate_is_refused_over_both_versions() {
    for version in ["-tls1_3", "-tls1_2"] {
        let (peer, output) = serve(&[version, "-alpn", "istio"], false).await;
        assert_eq!(peer, Err(Reason::NoCertificate), "{version}");
        assert!(!output.contains("pong"), "{output}");
    }
}

#[tokio::test]
async fn openssl_gets_no_further_with_weak_versions_and_ciphers() {
    for arguments in [
        ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
        ["-tls1_2", "-cipher", "AES256-GCM-SHA384"],
        ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA384"],
    ] {
        let (peer, output) = serve(&arguments, true).await;
        assert!(matches!(peer, Err(Reason::Protocol | Reason::Refused | Reason::Io)), "{output}");
    }
}

#[tokio::test]
async fn istios_tls12_ciphers_are_taken() {
    for cipher in ["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256"] {
        let (peer, output) = serve(&["-tls1_2", "-cipher", cipher], true).await;
        assert!(peer.is_ok(), "{output}");
        assert!(output.contains(cipher), "{output}");
    }
}

#[tokio::test]
async fn openssl_serves_us_over_both_versions() {
    for (version, tls13) in [("-tls1_3", true), ("-tls1_2", false)] {
        let mesh = Mesh::new("a");
        let files = files(&mesh, "spiffe://cluster.local/ns/poc/sa/backend");
        let client = mesh.generation("frontend");
        let mut arguments = vec!["s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-rev"];
        arguments.extend([version, "-cert", "leaf.pem", "-key", "key.pem", "-CAfile", "root.pem"]);
        arguments.extend(["-Verify", "1", "-verify_return_error", "-alpn", "http/1.1"]);
        let mut server = openssl(files.path(), &arguments);
        let address = accepting(&mut server).await;
        let io = TcpStream::connect(&address).await.unwrap();
        let (mut stream, peer) =
            client.connect(io, SNI, Offer::Http1, &[id("backend")]).await.unwrap();
        assert_eq!((peer.tls13, peer.alpn), (tls13, Alpn::Http1), "{version}");
        stream.write_all(b"ping\n").await.unwrap();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"gnip\n");
        server.kill().await.unwrap();
    }
}

/// Serves one connection of `openssl s_client`: what the server made of it, and what openssl printed.
async fn serve(arguments: &[&str], with_certificate: bool) -> (Result<Peer, Reason>, String) {
    let mesh = Mesh::new("a");
    let files = files(&mesh, CLIENT);
    let settings = Settings::new(vec![TrustDomain::default()]);
    let server = mesh.generation_with("backend", settings);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut command = vec!["s_client", "-connect", &address, "-CAfile", "root.pem"];
    if with_certificate {
        command.extend(["-cert", "leaf.pem", "-key", "key.pem"]);
    }
    command.extend(arguments);
    let client = openssl(files.path(), &command);
    let (io, _) = listener.accept().await.unwrap();
    let peer = match server.accept(io, &[]).await {
        Err(error) => Err(error.reason),
        Ok((mut stream, peer)) => {
            stream.write_all(b"pong").await.unwrap();
            stream.shutdown().await.unwrap();
            Ok(peer)
        }
    };
    let output = client.wait_with_output().await.unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (peer, text)
}

fn files(mesh: &Mesh, uri: &'static str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (leaf, key) = mesh.sign(&Leaf::of(uri));
    for (name, text) in
        [("leaf.pem", leaf), ("key.pem", key), ("root.pem", mesh.authority.root_pem())]
    {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn openssl(folder: &Path, arguments: &[&str]) -> Child {
    Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("openssl is installed")
}

/// The address that `openssl s_server` says it accepts on.
async fn accepting(server: &mut Child) -> String {
    let output = server.stdout.as_mut().unwrap();
    let mut text = String::new();
    loop {
        text.push(char::from(output.read_u8().await.unwrap()));
        if let Some((_, rest)) = text.split_once("ACCEPT ")
            && let Some((address, _)) = rest.split_once('\n')
        {
            return address.to_owned();
        }
    }
}
