//! What a connection costs before it carries anything.

use std::{net::Ipv4Addr, rc::Rc, sync::Arc};

use tokio::net::{TcpListener, TcpStream};

use crate::{Listen, OriginalDestination, inbound, outbound, shared::Shared, worker::Worker};

#[tokio::test]
async fn a_connection_costs_at_most_four_kibibytes_and_its_buffers() {
    let shared = Arc::new(Shared::new(1, Listen::default(), OriginalDestination::Redirect));
    let decisions = shared.decisions.senders().remove(0);
    let worker = Rc::new(Worker::new(shared, decisions));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let connect = async || TcpStream::connect(address).await.unwrap();
    let inbound = inbound::serve(Rc::clone(&worker), connect().await, address);
    let outbound = outbound::serve(Rc::clone(&worker), connect().await, address);
    for (name, size) in [("inbound", size_of_val(&inbound)), ("outbound", size_of_val(&outbound))] {
        assert!(size <= 4096, "{name}: {size} bytes");
    }
}
