//! What a request in flight needs beside its buffer, lent for its duration only.

use std::cell::RefCell;

use palisade_http::{RequestHead, ResponseHead};

use crate::buffer::SIZE;

/// Kept for reuse; more is given back to the allocator.
const KEPT: usize = 256;

/// Room for one request in flight.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// The request's head.
    pub(crate) request: RequestHead,
    /// The response's head.
    pub(crate) response: ResponseHead,
    /// Bytes for the upstream.
    pub(crate) up: Vec<u8>,
    /// Bytes for the client.
    pub(crate) down: Vec<u8>,
    /// Fields that the response gets.
    pub(crate) added: Vec<(String, Vec<u8>)>,
}

/// The rooms of one worker.
#[derive(Debug, Default)]
pub(crate) struct Scratches {
    #[expect(clippy::vec_box, reason = "they move between here and connections by pointer")]
    free: RefCell<Vec<Box<Scratch>>>,
}

impl Scratches {
    /// An empty room.
    pub(crate) fn take(&self) -> Box<Scratch> {
        self.free.borrow_mut().pop().unwrap_or_default()
    }

    /// Gives a room back.
    pub(crate) fn give(&self, mut scratch: Box<Scratch>) {
        scratch.request.clear();
        scratch.response.clear();
        scratch.added.clear();
        for bytes in [&mut scratch.up, &mut scratch.down] {
            bytes.clear();
            bytes.shrink_to(2 * SIZE);
        }
        let mut free = self.free.borrow_mut();
        if free.len() < KEPT {
            free.push(scratch);
        }
    }
}
