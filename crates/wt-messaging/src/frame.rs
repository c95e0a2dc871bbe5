//! Frames on a stream: a head of fixed size, with a length in it, and that many bytes.

use std::{
    pin::pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use wt_core::{ReadError, RecvStream, SendStream, WriteError};

/// How many bytes are asked of a stream at a time.
const CHUNK: usize = 64 * 1024;

/// What is reserved at once for a payload of which the first bytes are there: a little, and small ones need no more.
const AT_ONCE: usize = 1024;

/// Takes frames out of the bytes of a stream, however they are cut.
///
/// Payloads that arrive in one piece are not copied. Memory grows with what has arrived, not with
/// what is announced.
#[derive(Debug)]
pub(crate) struct Decoder<const HEAD: usize> {
    input: Bytes,
    state: State<HEAD>,
    /// What has arrived of a payload that comes in pieces.
    parts: BytesMut,
}

#[derive(Clone, Copy, Debug)]
enum State<const HEAD: usize> {
    Head([u8; HEAD], usize),
    /// A head that was handed out; the bytes after it are asked for by what comes next.
    Payload(usize),
    Skip(usize),
}

impl<const HEAD: usize> Default for Decoder<HEAD> {
    fn default() -> Self {
        Self {
            input: Bytes::new(),
            state: State::Head([0; HEAD], 0),
            parts: BytesMut::new(),
        }
    }
}

impl<const HEAD: usize> Decoder<HEAD> {
    /// Adds bytes. The ones before are used up: `head` or `payload` gave nothing.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        debug_assert!(self.input.is_empty(), "bytes are asked for one by one");
        self.input = chunk;
    }

    /// Returns the next head once it is whole. After that comes [`Self::expect`] or [`Self::skip`].
    #[inline]
    pub(crate) fn head(&mut self) -> Option<[u8; HEAD]> {
        // Mostly it is there in one piece.
        if let State::Head(_, 0) = self.state
            && let Some(&head) = self.input.first_chunk()
        {
            self.input.advance(HEAD);
            self.state = State::Head(head, HEAD);
            return Some(head);
        }
        self.head_in_pieces()
    }

    fn head_in_pieces(&mut self) -> Option<[u8; HEAD]> {
        if let State::Skip(left) = &mut self.state {
            let skipped = self.input.len().min(*left);
            self.input.advance(skipped);
            *left -= skipped;
            if *left > 0 {
                return None;
            }
            self.state = State::Head([0; HEAD], 0);
        }
        let State::Head(head, filled) = &mut self.state else {
            return None;
        };
        let part = self.input.len().min(HEAD - *filled);
        self.input.copy_to_slice(&mut head[*filled..*filled + part]);
        *filled += part;
        (*filled == HEAD).then_some(*head)
    }

    /// Takes the payload of the head that was handed out to be this long.
    pub(crate) const fn expect(&mut self, len: usize) {
        self.state = State::Payload(len);
    }

    /// Has the payload of the head that was handed out thrown away as it arrives.
    pub(crate) const fn skip(&mut self, len: usize) {
        self.state = State::Skip(len);
    }

    /// Returns the payload once it is whole.
    #[inline]
    pub(crate) fn payload(&mut self) -> Option<Bytes> {
        let State::Payload(len) = self.state else {
            return None;
        };
        let payload = if self.parts.is_empty() && self.input.len() >= len {
            self.input.split_to(len)
        } else {
            self.payload_in_pieces(len)?
        };
        self.state = State::Head([0; HEAD], 0);
        Some(payload)
    }

    fn payload_in_pieces(&mut self, len: usize) -> Option<Bytes> {
        let part = self.input.len().min(len - self.parts.len());
        if part > 0 && self.parts.is_empty() {
            self.parts.reserve(len.min(AT_ONCE));
        }
        self.parts.extend_from_slice(&self.input.split_to(part));
        (self.parts.len() == len).then(|| std::mem::take(&mut self.parts).freeze())
    }

    /// Returns whether a payload is awaited.
    pub(crate) const fn in_payload(&self) -> bool {
        matches!(self.state, State::Payload(_))
    }

    /// Returns whether the end of the stream is in order here: between two frames.
    pub(crate) const fn at_boundary(&self) -> bool {
        matches!(self.state, State::Head(_, 0) | State::Skip(0))
    }
}

/// Polls for the next bytes of a stream, without copying them.
pub(crate) fn poll_chunk(
    stream: &mut RecvStream,
    cx: &mut Context<'_>,
) -> Poll<Result<Option<Bytes>, ReadError>> {
    // Reading is cancel safe: a future that is dropped has read nothing, and its waker stays.
    pin!(stream.read_chunk(CHUNK)).poll(cx)
}

/// Writes what is in `out`, as far as the stream takes it; what is left stays there.
pub(crate) fn poll_write(
    stream: &mut SendStream,
    out: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<Result<(), WriteError>> {
    while !out.is_empty() {
        // Writing is cancel safe likewise.
        let written = ready!(pin!(stream.write(out)).poll(cx))?;
        out.advance(written);
    }
    // Streams that are idle keep no buffer.
    *out = BytesMut::new();
    Poll::Ready(Ok(()))
}

/// Writes a chunk without copying it, as far as the stream takes it; what is left stays there.
pub(crate) fn poll_write_chunk(
    stream: &mut SendStream,
    chunk: &mut Bytes,
    cx: &mut Context<'_>,
) -> Poll<Result<(), WriteError>> {
    while !chunk.is_empty() {
        ready!(pin!(stream.write_buf(chunk)).poll(cx))?;
    }
    Poll::Ready(Ok(()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(frames: &[(u8, Vec<u8>)]) -> Bytes {
        let mut out = Vec::new();
        for (kind, payload) in frames {
            out.extend([*kind, u8::try_from(payload.len()).unwrap()]);
            out.extend(payload);
        }
        out.into()
    }

    /// Takes all frames out of pieces; frames of kind 0 are skipped.
    fn decode(pieces: impl IntoIterator<Item = Bytes>) -> (Vec<(u8, Vec<u8>)>, bool) {
        let mut decoder = Decoder::<2>::default();
        let mut kind = 0;
        let mut frames = Vec::new();
        for piece in pieces {
            decoder.push(piece);
            loop {
                if decoder.in_payload() {
                    let Some(payload) = decoder.payload() else {
                        break;
                    };
                    frames.push((kind, payload.to_vec()));
                }
                let Some([next, len]) = decoder.head() else {
                    break;
                };
                kind = next;
                if kind == 0 {
                    decoder.skip(len.into());
                } else {
                    decoder.expect(len.into());
                }
            }
        }
        // What was announced as empty is skipped by asking for the next.
        let _ = decoder.head();
        (frames, decoder.at_boundary())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn frames_come_out_however_they_are_cut(
            frames: Vec<(u8, Vec<u8>)>,
            cuts in prop::collection::vec(0..300_usize, 0..20),
        ) {
            let mut left = encode(&frames);
            let mut pieces = Vec::new();
            for cut in cuts {
                pieces.push(left.split_to(cut.min(left.len())));
            }
            pieces.push(left);
            let known: Vec<_> = frames.into_iter().filter(|(kind, _)| *kind != 0).collect();
            prop_assert_eq!(decode(pieces), (known, true));
        }

        #[test]
        fn every_truncation_is_noticed(frames in prop::collection::vec(any::<(u8, Vec<u8>)>(), 1..4)) {
            let bytes = encode(&frames);
            let mut ends = vec![0];
            for (_, payload) in &frames {
                ends.push(ends.last().unwrap() + 2 + payload.len());
            }
            for len in 0..bytes.len() {
                let (decoded, whole) = decode([bytes.slice(..len)]);
                prop_assert_eq!(whole, ends.contains(&len), "{} of {:?}", len, ends);
                let known = frames.iter().filter(|(kind, _)| *kind != 0);
                prop_assert!(decoded.iter().zip(known).all(|(decoded, sent)| decoded == sent));
            }
        }
    }
}
