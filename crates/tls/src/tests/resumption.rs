//! Sessions are resumed inside one generation, for one service and one name, and nowhere else.

use palisade_pki::certificates_from_pem;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::support::{Leaf, Mesh, SNI, id, round_trip, settings};
use crate::{CredentialStore, Generation, HandshakeReason, Offer, generation::check_peer_validity};

#[tokio::test]
async fn a_second_connection_resumes_and_still_knows_the_peer() {
    let mesh = Mesh::new("a");
    let (client, server) = (mesh.generation("frontend"), mesh.generation("backend"));
    let (first_to, first_from) = round_trip(&client, &server, &[id("backend")]).await;
    let (to, from) = round_trip(&client, &server, &[id("backend")]).await;
    assert!(!first_to.resumed && !first_from.resumed && to.resumed && from.resumed);
    assert_eq!(to.identities, first_to.identities);
    assert_eq!(from.identities, first_from.identities);
    assert_eq!(from.certificate_sha256, first_from.certificate_sha256);
}

#[tokio::test]
async fn nothing_is_resumed_for_other_identities() {
    let mesh = Mesh::new("a");
    let (client, server) = (mesh.generation("frontend"), mesh.generation("backend"));
    round_trip(&client, &server, &[id("backend")]).await;
    let (to, _) = round_trip(&client, &server, &[id("backend"), id("other")]).await;
    assert!(!to.resumed);
}

#[tokio::test]
async fn nothing_is_resumed_under_another_name() {
    let mesh = Mesh::new("a");
    let (client, server) = (mesh.generation("frontend"), mesh.generation("backend"));
    round_trip(&client, &server, &[id("backend")]).await;
    for sni in ["other.example", SNI] {
        let resumed = connect_as(&client, &server, sni).await;
        assert_eq!(resumed, sni == SNI, "{sni}");
    }
}

#[tokio::test]
async fn nothing_is_resumed_after_either_end_has_rotated() {
    let mesh = Mesh::new("a");
    let (client, server) = (mesh.generation("frontend"), mesh.generation("backend"));
    round_trip(&client, &server, &[id("backend")]).await;
    let new_server = mesh.generation("backend");
    let same_server = server.with_settings(settings()).unwrap();
    let new_client = mesh.generation("frontend");
    let same_client = client.with_settings(settings()).unwrap();
    for (client, server) in [
        (&client, &new_server),
        (&client, &same_server),
        (&new_client, &server),
        (&same_client, &server),
    ] {
        let (to, from) = round_trip(client, server, &[id("backend")]).await;
        assert!(!to.resumed && !from.resumed);
    }
}

#[test]
fn a_resumed_session_ends_with_its_certificate() {
    let mesh = Mesh::new("a");
    let uri = "spiffe://cluster.local/ns/a/sa/b";
    for (valid, expected) in [((-60, -1), Err(HandshakeReason::Expired)), ((-60, 60), Ok(()))] {
        let (pem, _) = mesh.sign(&Leaf { valid, ..Leaf::of(uri) });
        let certificate = certificates_from_pem(&pem).unwrap().remove(0);
        assert_eq!(check_peer_validity(&certificate).map_err(|error| error.reason), expected);
    }
}

#[tokio::test]
async fn a_store_hands_out_the_latest_generation_and_tells_of_changes() {
    let mesh = Mesh::new("a");
    let store = CredentialStore::new();
    let mut changes = store.changes();
    assert!(store.load().is_none());
    let first = std::sync::Arc::new(mesh.generation("frontend"));
    let (waited, ()) = tokio::join!(store.first(), async { store.publish(first.clone()) });
    assert_eq!(waited.svid(), first.svid());
    changes.changed().await.unwrap();
    let second = std::sync::Arc::new(mesh.generation("frontend"));
    store.publish(second.clone());
    changes.changed().await.unwrap();
    assert_eq!(store.load().unwrap().svid(), second.svid());
}

async fn connect_as(client: &Generation, server: &Generation, sni: &str) -> bool {
    let (near, far) = duplex(64 * 1024);
    let expected = [id("backend")];
    let (near, far) =
        tokio::join!(client.connect(near, sni, Offer::Http1, &expected), server.accept(far, &[]));
    let ((mut near, peer), (mut far, _)) = (near.unwrap(), far.unwrap());
    far.write_all(b"x").await.unwrap();
    near.read_exact(&mut [0]).await.unwrap();
    peer.resumed
}
