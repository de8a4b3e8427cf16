//! Asks a DNS server for the addresses of a name.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use hickory_proto::{
    op::{Message, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use tokio::time::timeout;

use super::server::PORT;
use crate::egress::{over_tcp, over_udp};

/// The IPv4 addresses of a name, as the server at port 53 of `server` knows them; none if there is
/// no such name.
///
/// # Errors
/// When it does not answer, or with an error.
pub async fn lookup(server: Ipv4Addr, name: &str) -> io::Result<Vec<Ipv4Addr>> {
    let name = Name::from_ascii(name).map_err(io::Error::other)?;
    let mut query = Message::query();
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(name, RecordType::A));
    let query = query.to_vec().map_err(io::Error::other)?;
    let server = SocketAddr::from((server, PORT));
    let mut answer = read(&timeout(PATIENCE, over_udp(server, &query)).await??)?;
    if answer.metadata.truncation {
        answer = read(&timeout(PATIENCE, over_tcp(server, &query)).await??)?;
    }
    match answer.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => Ok(addresses(&answer)),
        code => Err(io::Error::other(format!("the name server answers: {code}"))),
    }
}

fn read(message: &[u8]) -> io::Result<Message> {
    Message::from_vec(message).map_err(io::Error::other)
}

fn addresses(answer: &Message) -> Vec<Ipv4Addr> {
    let address = |data: &RData| if let RData::A(a) = data { Some(a.0) } else { None };
    answer.answers.iter().filter_map(|record| address(&record.data)).collect()
}

/// The host's name servers may take two seconds each.
const PATIENCE: Duration = Duration::from_secs(7);
