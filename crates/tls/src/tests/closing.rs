//! How connections end.

use std::io::ErrorKind;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::support::{Mesh, SNI, handshake, id};
use crate::{Offer, TlsStream};

async fn pair() -> (TlsStream<DuplexStream>, TlsStream<DuplexStream>) {
    let mesh = Mesh::new("a");
    let (client, server) = (mesh.generation("frontend"), mesh.generation("backend"));
    let (near, far) = handshake(&client, &server, Offer::Tcp, &[id("backend")]).await;
    (near.unwrap().0, far.unwrap().0)
}

#[tokio::test]
async fn an_end_that_shut_down_still_reads() {
    let (mut near, mut far) = pair().await;
    near.write_all(b"question").await.unwrap();
    near.shutdown().await.unwrap();
    let mut got = String::new();
    far.read_to_string(&mut got).await.unwrap();
    assert_eq!(got, "question");
    far.write_all(b"answer").await.unwrap();
    far.shutdown().await.unwrap();
    let mut got = String::new();
    near.read_to_string(&mut got).await.unwrap();
    assert_eq!(got, "answer");
}

#[tokio::test]
async fn a_cut_connection_is_no_end_of_stream() {
    let (near, mut far) = pair().await;
    drop(near);
    let error = far.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_megabyte_arrives_whole_through_small_buffers() {
    let mesh = Mesh::new("a");
    let (client, server) = (mesh.generation("frontend"), mesh.generation("backend"));
    let (near, far) = duplex(1000);
    let expected = [id("backend")];
    let (near, far) =
        tokio::join!(client.connect(near, SNI, Offer::Tcp, &expected), server.accept(far, &[]));
    let ((mut near, _), (mut far, _)) = (near.unwrap(), far.unwrap());
    let sent: Vec<u8> = (0..1_u32 << 20).map(|n| n.to_le_bytes()[1]).collect();
    let mut got = Vec::new();
    let (written, read) = tokio::join!(
        async {
            near.write_all(&sent).await?;
            near.shutdown().await
        },
        far.read_to_end(&mut got)
    );
    written.unwrap();
    assert_eq!(read.unwrap(), 1 << 20);
    assert!(sent == got);
}
