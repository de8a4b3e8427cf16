//! What the host's routing says about an address: the kernel knows every address that is its own.

use std::{io, net::Ipv4Addr, pin::pin};

use futures::TryStreamExt;
use rtnetlink::{RouteMessageBuilder, packet_route::route::RouteType};

/// Whether packets to `address` leave the host, by the routes of the calling thread's namespace.
pub(super) async fn leaves_host(address: Ipv4Addr) -> io::Result<bool> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let question = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(address, 32).build();
    let ask = async {
        let mut routes = pin!(handle.route().get(question).execute());
        routes.try_next().await.map_err(io::Error::other)
    };
    let (connection, ask) = (pin!(connection), pin!(ask));
    let route = tokio::select! {
        route = ask => route?,
        () = connection => None,
    };
    Ok(route.is_some_and(|route| route.header.kind == RouteType::Unicast))
}
