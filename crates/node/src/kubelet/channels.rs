//! The protocol `v5.channel.k8s.io`: several streams over one WebSocket, told apart by the first
//! byte of each message. Version 4 is the same without half-closing.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

/// A message from the client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Incoming {
    /// Bytes for standard input.
    Input(Bytes),
    /// Standard input ends.
    EndOfInput,
    /// The client's terminal has this many columns and rows.
    Resize(u16, u16),
    /// Something that has no effect.
    Nothing,
}

/// Streams towards the client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Channel {
    /// Standard output.
    Out = 1,
    /// Standard error.
    Err = 2,
    /// How it ended.
    Status = 3,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    width: u16,
    height: u16,
}

/// Reads a message.
pub(crate) fn decode(message: &Bytes) -> Incoming {
    match message.split_first() {
        Some((0, _)) => Incoming::Input(message.slice(1..)),
        Some((4, size)) => serde_json::from_slice(size)
            .map_or(Incoming::Nothing, |Size { width, height }| Incoming::Resize(width, height)),
        Some((255, [0])) => Incoming::EndOfInput,
        _ => Incoming::Nothing,
    }
}

/// Writes a message.
pub(crate) fn encode(channel: Channel, bytes: &[u8]) -> Bytes {
    let mut message = Vec::with_capacity(bytes.len() + 1);
    message.push(channel as u8);
    message.extend_from_slice(bytes);
    message.into()
}

/// The protocol to speak, of those that the client offers.
pub(crate) fn choose(offered: &str) -> Option<&'static str> {
    let offered: Vec<_> = offered.split(',').map(str::trim).collect();
    ["v5.channel.k8s.io", "v4.channel.k8s.io"].into_iter().find(|known| offered.contains(known))
}

/// The status that tells a client an exit code.
pub(crate) fn exit_status(code: i32) -> Value {
    if code == 0 {
        return json!({ "metadata": {}, "status": "Success" });
    }
    json!({
        "metadata": {},
        "status": "Failure",
        "message": format!("command terminated with non-zero exit code: exit status {code}"),
        "reason": "NonZeroExitCode",
        "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart_by_their_first_byte() {
        for (message, expected) in [
            (&b"\0ls\n"[..], Incoming::Input(Bytes::from_static(b"ls\n"))),
            (b"\0", Incoming::Input(Bytes::new())),
            (b"\xff\0", Incoming::EndOfInput),
            (b"\xff\x01", Incoming::Nothing),
            (b"\x04{\"Width\":80,\"Height\":24}", Incoming::Resize(80, 24)),
            (b"\x04{\"Width\":-1}", Incoming::Nothing),
            (b"\x01x", Incoming::Nothing),
            (b"", Incoming::Nothing),
        ] {
            assert_eq!(decode(&Bytes::from_static(message)), expected, "{message:?}");
        }
        assert_eq!(encode(Channel::Err, b"oh"), &b"\x02oh"[..]);
        assert_eq!(choose("v4.channel.k8s.io, v5.channel.k8s.io"), Some("v5.channel.k8s.io"));
        assert_eq!(choose("channel.k8s.io"), None);
    }
}
