//! Frames of RPC on a stream.

use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use wt_core::RecvStream;

use super::{
    RpcEnd, RpcError, RpcErrorCode,
    message::{self, HEAD},
    shared::Answer,
};
use crate::frame::{self, Decoder};

/// Polls for the payload of the next frame.
pub(super) fn poll_payload(
    recv: &mut RecvStream,
    decoder: &mut Decoder<HEAD>,
    max: usize,
    cx: &mut Context<'_>,
) -> Poll<Result<Bytes, RpcEnd>> {
    loop {
        if !decoder.in_payload()
            && let Some(head) = decoder.head()
        {
            let size = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
            if size > max {
                return Poll::Ready(Err(RpcEnd::TooLarge { size, max }));
            }
            decoder.expect(size);
        }
        if let Some(payload) = decoder.payload() {
            return Poll::Ready(Ok(payload));
        }
        match ready!(frame::poll_chunk(recv, cx))? {
            Some(chunk) => decoder.push(chunk),
            None if decoder.at_boundary() => return Poll::Ready(Err(RpcEnd::Finished)),
            None => return Poll::Ready(Err(RpcEnd::EndedEarly)),
        }
    }
}

/// Writes an answer of at most `max` bytes; one that would be larger is replaced with an error.
pub(super) fn reply(out: &mut BytesMut, strict: bool, max: usize, id: &[u8], outcome: &Answer) {
    let start = out.len();
    message::response(out, strict, id, outcome);
    let size = out.len() - start;
    if size <= max {
        return;
    }
    let words = format!("The answer has {size} bytes, at most {max} are allowed.");
    let error = Err(RpcError::new(RpcErrorCode::INTERNAL_ERROR, words));
    // The id may be what takes so much.
    for id in [id, b"null"] {
        out.truncate(start);
        message::response(out, strict, id, &error);
        if out.len() - start <= max {
            return;
        }
    }
}

/// What an error in the place of an answer that is too large takes, in bytes.
const ERROR: usize = 256;

/// The answers to a batch, as they come.
#[derive(Debug)]
pub(super) struct BatchReply {
    out: BytesMut,
    left: usize,
    strict: bool,
    max: usize,
}

impl BatchReply {
    /// Begins, for that many answers.
    pub(super) fn new(left: usize, strict: bool, max: usize) -> Self {
        let out = BytesMut::from("[");
        Self {
            out,
            left,
            strict,
            max,
        }
    }

    /// Adds an answer; all of them when it was the last.
    pub(super) fn add(&mut self, id: &[u8], outcome: &Answer) -> Option<BytesMut> {
        if self.out.len() > 1 {
            self.out.extend_from_slice(b", ");
        }
        self.left = self.left.saturating_sub(1);
        // Room for the bracket at the end, and for errors in the place of all that do not fit.
        let kept = 1 + self.left * ERROR;
        let room = self.max.saturating_sub(self.out.len() + kept);
        reply(&mut self.out, self.strict, room, id, outcome);
        if self.left > 0 {
            return None;
        }
        self.out.extend_from_slice(b"]");
        let mut out = std::mem::take(&mut self.out);
        if out.len() > self.max {
            out.clear();
            let words = "The answers to the batch are larger than a message may be.";
            let error = Err(RpcError::new(RpcErrorCode::INTERNAL_ERROR, words));
            message::response(&mut out, self.strict, b"null", &error);
        }
        Some(out)
    }
}
