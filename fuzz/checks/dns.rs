//! What must hold for any message that a pod sends to its name server.

use std::net::Ipv4Addr;

use hickory_proto::op::{Message, MessageType};
use palisade_net::{
    dns::{Channel, DnsTable, Response, respond},
    egress::Egress,
};

/// An answer is one to this question, fits, and is never given to an answer; names of the mesh stay in it.
pub(crate) fn query(bytes: &[u8]) {
    let mut table = DnsTable::default();
    table.insert_service("shop", "web", vec![Ipv4Addr::new(10, 96, 0, 9)]);
    table.insert_service("shop", "db", (0..200).map(|it| Ipv4Addr::new(10, 244, 1, it)).collect());
    table.insert_pod("shop", "db", "db-0", Ipv4Addr::new(10, 244, 1, 0));
    let asked = Message::from_vec(bytes).ok();
    let is_answer = bytes.get(2).is_some_and(|flags| flags & 0x80 != 0);
    for (channel, most) in [(Channel::Udp, 1232), (Channel::Tcp, usize::from(u16::MAX))] {
        for egress in [Egress::Host, Egress::Refused] {
            match respond(&table, bytes, channel, egress) {
                Response::Nothing => {}
                Response::Forward => {
                    assert_eq!(egress, Egress::Host);
                    let asked = asked.as_ref().expect("only what was understood is passed on");
                    let name = asked.queries[0].name().to_ascii().to_ascii_lowercase();
                    assert!(!name.trim_end_matches('.').ends_with(".cluster.local"), "{name}");
                }
                Response::Answer(answer) => {
                    assert!(!is_answer, "an answer to an answer");
                    assert!(answer.len() <= most && answer[..2] == bytes[..2]);
                    let answer = Message::from_vec(&answer).expect("it can be read");
                    assert_eq!(answer.metadata.message_type, MessageType::Response);
                    if !answer.answers.is_empty() {
                        let asked = asked.as_ref().expect("only what was understood is answered");
                        assert_eq!(answer.queries, asked.queries);
                    }
                }
            }
        }
    }
}
