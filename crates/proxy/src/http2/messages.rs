//! Counts the messages of a gRPC stream as they pass: each is a flag, four bytes of length and its payload.

/// Messages that have begun.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Messages {
    begun: u64,
    /// Bytes of the current prefix that have passed.
    prefix: usize,
    /// Bytes of the current payload that are still to come.
    left: u32,
}

impl Messages {
    /// How many have begun.
    pub(super) fn begun(self) -> u64 {
        self.begun
    }

    /// Looks at the next bytes of the stream.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.prefix < PREFIX {
                // The first byte is shifted out by the four that follow it.
                self.left = self.left << 8 | u32::from(*first);
                self.prefix += 1;
                bytes = rest;
                if self.prefix == PREFIX {
                    self.begun += 1;
                }
            } else {
                let count =
                    usize::try_from(self.left).map_or(bytes.len(), |it| it.min(bytes.len()));
                bytes = bytes.get(count..).unwrap_or_default();
                self.left -= u32::try_from(count).unwrap_or(self.left);
            }
            if self.prefix == PREFIX && self.left == 0 {
                self.prefix = 0;
            }
        }
    }
}

const PREFIX: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::smoke;

    #[test]
    fn messages_are_counted_wherever_they_are_cut() {
        let stream: Vec<u8> = [
            &[0, 0, 0, 0, 3][..],
            b"abc",
            &[1, 0, 0, 0, 0],
            &[0, 0, 0, 1, 0],
            &[7; 256],
            &[0, 0, 0, 0, 1],
        ]
        .concat();
        for cut in 0..=stream.len() {
            let (first, second) = stream.split_at(cut);
            let mut messages = Messages::default();
            messages.pass(first);
            messages.pass(second);
            assert_eq!(messages.begun(), 4, "{cut}");
        }
        let mut bytewise = Messages::default();
        stream.iter().for_each(|byte| bytewise.pass(&[*byte]));
        assert_eq!(bytewise.begun(), 4);
    }

    /// A reader that has all of it before it.
    fn naive(mut stream: &[u8]) -> u64 {
        let mut count = 0;
        while let [_, a, b, c, d, rest @ ..] = stream {
            let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            stream = rest.get(length..).unwrap_or_default();
            count += 1;
        }
        count
    }

    #[test]
    fn the_corpus_holds() {
        smoke("grpc_messages", 5_000, |bytes| {
            for size in [1, 3, 4096] {
                let mut messages = Messages::default();
                bytes.chunks(size).for_each(|part| messages.pass(part));
                assert_eq!(messages.begun(), naive(bytes), "{size}");
            }
        });
    }
}
