//! DNS for pods: answers for `NAME.NAMESPACE.svc.cluster.local` from a table.
//!
//! [`respond`] is pure. Names outside the zone do not exist where there is no way out of the mesh
//! that an address could be used for; else the host's name servers are asked. Nothing is cached.

mod lookup;
mod server;

use std::{collections::BTreeMap, net::Ipv4Addr};

use hickory_proto::{
    op::{Edns, Message, OpCode, Query, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, SOA},
    },
};

use crate::egress::Egress;

pub use lookup::lookup;
pub use server::DnsServer;

/// What names stand for. Built anew when services change.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DnsTable {
    addresses: BTreeMap<String, Vec<Ipv4Addr>>,
}

/// How a query came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Channel {
    /// As a datagram, which limits the answer.
    Udp,
    /// Over a connection.
    Tcp,
}

/// What becomes of a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Response {
    /// It is answered with these bytes.
    Answer(Vec<u8>),
    /// The host's name servers are asked.
    Forward,
    /// It is not a query, and gets no answer.
    Nothing,
}

impl DnsTable {
    /// Adds a service: its ClusterIP, or of a headless one the addresses of its pods.
    pub fn insert_service(&mut self, namespace: &str, name: &str, addresses: Vec<Ipv4Addr>) {
        self.addresses.insert(service_name(namespace, name), addresses);
    }

    /// Adds a pod of a headless service by its hostname.
    pub fn insert_pod(&mut self, namespace: &str, service: &str, host: &str, address: Ipv4Addr) {
        let name = format!("{host}.{}", service_name(namespace, service));
        self.addresses.entry(name.to_ascii_lowercase()).or_default().push(address);
    }

    /// Addresses of a name without its final dot, in lower case; `None` when there is no such
    /// name, no address when there is one with names below it only.
    fn lookup(&self, name: &str) -> Option<&[Ipv4Addr]> {
        if let Some(addresses) = self.addresses.get(name) {
            return Some(addresses);
        }
        let below = format!(".{name}");
        let above = name == ZONE || self.addresses.keys().any(|known| known.ends_with(&below));
        above.then_some(&[])
    }
}

/// What becomes of a message from a pod.
#[must_use]
pub fn respond(table: &DnsTable, request: &[u8], channel: Channel, egress: Egress) -> Response {
    // Whoever answers an answer can be made to talk to another name server for ever.
    if request.get(2).is_none_or(|flags| flags & RESPONSE != 0) {
        return Response::Nothing;
    }
    let Ok(message) = Message::from_vec(request) else {
        return failure(request, ResponseCode::FormErr).map_or(Response::Nothing, Response::Answer);
    };
    if egress == Egress::Host && is_for_outside(table, &message) {
        return Response::Forward;
    }
    encode(&message, answer(table, &message, egress), channel)
        .map_or(Response::Nothing, Response::Answer)
}

/// An answer that says no more than a code.
pub(crate) fn failure(request: &[u8], code: ResponseCode) -> Option<Vec<u8>> {
    let id = u16::from_be_bytes([*request.first()?, *request.get(1)?]);
    Message::error_msg(id, OpCode::Query, code).to_vec().ok()
}

/// Whether the host's name servers know the answer: what is not in our zone. IPv6 addresses of
/// names outside are not asked for, since pods have no IPv6.
fn is_for_outside(table: &DnsTable, request: &Message) -> bool {
    let [query] = request.queries.as_slice() else { return false };
    let name = text(query);
    request.metadata.op_code == OpCode::Query
        && query.query_type() != RecordType::AAAA
        && !in_zone(&name)
        && table.lookup(&name).is_none()
}

fn encode(request: &Message, mut response: Message, channel: Channel) -> Option<Vec<u8>> {
    response.metadata.recursion_desired = request.metadata.recursion_desired;
    let mut limit = usize::from(u16::MAX);
    if channel == Channel::Udp {
        limit = usize::from(request.max_payload()).clamp(512, MAX_DATAGRAM);
    }
    if request.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(MAX_DATAGRAM_SIZE);
        response.set_edns(edns);
    }
    let bytes = response.to_vec().ok()?;
    if bytes.len() <= limit { Some(bytes) } else { response.truncate().to_vec().ok() }
}

fn answer(table: &DnsTable, request: &Message, egress: Egress) -> Message {
    let metadata = &request.metadata;
    let refuse = |code| Message::error_msg(metadata.id, metadata.op_code, code);
    if metadata.op_code != OpCode::Query {
        return refuse(ResponseCode::NotImp);
    }
    let [query] = request.queries.as_slice() else {
        return refuse(ResponseCode::FormErr);
    };
    let mut response = Message::response(metadata.id, OpCode::Query);
    response.metadata.authoritative = true;
    response.metadata.recursion_available = true;
    response.add_query(query.clone());
    let name = text(query);
    let in_zone = in_zone(&name);
    match table.lookup(&name) {
        Some(addresses) => response.add_answers(records(query, addresses)),
        // It may exist, with addresses that pods can't use.
        None if egress == Egress::Host && !in_zone => &mut response,
        None => {
            response.metadata.response_code = ResponseCode::NXDomain;
            &mut response
        }
    };
    if response.answers.is_empty()
        && let Some(soa) = start_of_authority(in_zone)
    {
        response.add_authority(soa);
    }
    response
}

fn records(query: &Query, addresses: &[Ipv4Addr]) -> Vec<Record> {
    if !matches!(query.query_type(), RecordType::A | RecordType::ANY) {
        return Vec::new();
    }
    let record =
        |&ip: &Ipv4Addr| Record::from_rdata(query.name().clone(), TTL, RData::A(A::from(ip)));
    addresses.iter().map(record).collect()
}

/// The name that is asked for, in lower case and without its final dot.
fn text(query: &Query) -> String {
    let mut name = query.name().to_ascii().to_ascii_lowercase();
    if name.ends_with('.') {
        name.pop();
    }
    name
}

fn in_zone(name: &str) -> bool {
    name.strip_suffix(ZONE).is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

/// Tells resolvers how long a name's absence holds.
fn start_of_authority(in_zone: bool) -> Option<Record> {
    let zone = if in_zone { Name::from_ascii(format!("{ZONE}.")).ok()? } else { Name::root() };
    let server = Name::from_ascii(format!("ns.dns.{ZONE}.")).ok()?;
    let mailbox = Name::from_ascii(format!("hostmaster.{ZONE}.")).ok()?;
    let soa = SOA::new(server, mailbox, 1, 7200, 1800, 86400, TTL);
    Some(Record::from_rdata(zone, TTL, RData::SOA(soa)))
}

fn service_name(namespace: &str, name: &str) -> String {
    format!("{name}.{namespace}.svc.{ZONE}").to_ascii_lowercase()
}

/// The bit of a message's third byte that makes it an answer (RFC 1035, 4.1.1).
const RESPONSE: u8 = 0x80;

const ZONE: &str = "cluster.local";

/// As CoreDNS has it for Kubernetes.
const TTL: u32 = 5;

const MAX_DATAGRAM_SIZE: u16 = 1232;
const MAX_DATAGRAM: usize = MAX_DATAGRAM_SIZE as usize;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table() -> DnsTable {
        let mut table = DnsTable::default();
        table.insert_service("poc-mesh", "backend", vec![[10, 96, 0, 20].into()]);
        let pods = (2..200).map(|n| [10, 244, 0, n].into()).collect();
        table.insert_service("poc-mesh", "many", pods);
        table.insert_service("poc-mesh", "none", Vec::new());
        table.insert_pod("poc-mesh", "many", "pod-0", [10, 244, 0, 2].into());
        table
    }

    fn query(name: &str, kind: RecordType) -> Message {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        message
    }

    fn ask(name: &str, kind: RecordType, channel: Channel) -> Message {
        match respond(&table(), &query(name, kind).to_vec().unwrap(), channel, Egress::Refused) {
            Response::Answer(bytes) => Message::from_vec(&bytes).unwrap(),
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn with_a_way_out_other_names_are_the_hosts_to_answer() {
        for (name, kind, forwarded) in [
            ("example.org.", RecordType::A, true),
            ("example.org.", RecordType::TXT, true),
            ("example.org.", RecordType::AAAA, false),
            ("cluster.local.example.org.", RecordType::A, true),
            ("notcluster.local.", RecordType::A, true),
            ("backend.poc-mesh.svc.cluster.local.", RecordType::A, false),
            ("backend.other.svc.cluster.local.", RecordType::A, false),
            ("CLUSTER.local.", RecordType::A, false),
        ] {
            let bytes = query(name, kind).to_vec().unwrap();
            let response = respond(&table(), &bytes, Channel::Udp, Egress::Host);
            assert_eq!(response == Response::Forward, forwarded, "{name} {kind}: {response:?}");
        }
        let bytes = query("example.org.", RecordType::AAAA).to_vec().unwrap();
        let Response::Answer(answer) = respond(&table(), &bytes, Channel::Udp, Egress::Host) else {
            panic!("no answer")
        };
        let answer = Message::from_vec(&answer).unwrap();
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError, "it may have an A");
        assert!(answer.answers.is_empty());
    }

    #[test]
    fn answers_are_not_answered_even_if_they_are_broken() {
        let mut answer = query("backend.poc-mesh.svc.cluster.local.", RecordType::A);
        answer.metadata.message_type = hickory_proto::op::MessageType::Response;
        let whole = answer.to_vec().unwrap();
        for bytes in [&whole[..], &whole[..13], &[0, 1]] {
            let response = respond(&table(), bytes, Channel::Udp, Egress::Host);
            assert_eq!(response, Response::Nothing, "{bytes:?}");
        }
    }

    #[test]
    fn names_of_services_and_nothing_else_are_answered() {
        let ok = ResponseCode::NoError;
        let absent = ResponseCode::NXDomain;
        for (name, kind, code, answers) in [
            ("backend.poc-mesh.svc.cluster.local.", RecordType::A, ok, 1),
            ("BACKEND.Poc-Mesh.svc.cluster.local.", RecordType::A, ok, 1),
            ("backend.poc-mesh.svc.cluster.local.", RecordType::AAAA, ok, 0),
            ("none.poc-mesh.svc.cluster.local.", RecordType::A, ok, 0),
            ("pod-0.many.poc-mesh.svc.cluster.local.", RecordType::A, ok, 1),
            ("poc-mesh.svc.cluster.local.", RecordType::A, ok, 0),
            ("cluster.local.", RecordType::SOA, ok, 0),
            ("backend.other.svc.cluster.local.", RecordType::A, absent, 0),
            ("backend.poc-mesh.svc.cluster.local.svc.cluster.local.", RecordType::A, absent, 0),
            ("example.org.", RecordType::A, absent, 0),
        ] {
            let answer = ask(name, kind, Channel::Udp);
            assert_eq!(answer.metadata.response_code, code, "{name}");
            assert_eq!(answer.answers.len(), answers, "{name} {kind}");
            assert_eq!(answer.authorities.len(), usize::from(answers == 0), "{name} {kind}");
        }
    }

    #[test]
    fn what_does_not_fit_a_datagram_is_asked_again_over_tcp() {
        let name = "many.poc-mesh.svc.cluster.local.";
        let short = ask(name, RecordType::A, Channel::Udp);
        assert!(short.metadata.truncation && short.answers.is_empty());
        assert_eq!(ask(name, RecordType::A, Channel::Tcp).answers.len(), 198);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_answer_at_length(
            bytes in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            for egress in [Egress::Refused, Egress::Host] {
                if let Response::Answer(answer) = respond(&table(), &bytes, Channel::Udp, egress) {
                    prop_assert!(answer.len() <= MAX_DATAGRAM);
                }
            }
        }
    }
}
