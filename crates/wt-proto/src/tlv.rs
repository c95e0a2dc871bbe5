//! The part frames and capsules share: a type, a length and a value, arriving in pieces.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use crate::{VarInt, coding::Decode, coding::Encode};

/// Appends type and length.
pub(crate) fn encode_head(kind: u64, len: usize, out: &mut impl BufMut) {
    for number in [kind, len as u64] {
        VarInt::new(number).unwrap_or(VarInt::MAX).encode(out);
    }
}

/// The bytes of a stream on their way to a reader.
///
/// What is taken out piece by piece is not copied. Of what has to be kept for later, only the bytes themselves are, not
/// the buffers they arrived in.
#[derive(Debug, Default)]
pub(crate) struct Input {
    /// Arrived, not looked at.
    chunks: VecDeque<Bytes>,
    /// Type and length of the current item, as far as they arrived.
    head: [u8; 16],
    head_len: usize,
    /// The value of the current item as far as it arrived, if it is to be had whole.
    body: BytesMut,
}

impl Input {
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.chunks.push_back(bytes);
        }
    }

    /// Reads on in type and length and returns what is known of them; both stay until [`clear_head`](Self::clear_head).
    pub(crate) fn head(&mut self) -> (Option<u64>, Option<u64>) {
        loop {
            let mut read = self.head.get(..self.head_len).unwrap_or_default();
            let kind = VarInt::decode(&mut read).ok();
            let len = kind.and_then(|_| VarInt::decode(&mut read).ok());
            if len.is_some() || !self.read_head_byte() {
                return (kind.map(VarInt::get), len.map(VarInt::get));
            }
        }
    }

    fn read_head_byte(&mut self) -> bool {
        let Some(slot) = self.head.get_mut(self.head_len) else {
            return false;
        };
        let Some(byte) = self.chunks.front().and_then(|chunk| chunk.first()) else {
            return false;
        };
        *slot = *byte;
        self.head_len += 1;
        self.take_piece(1);
        true
    }

    pub(crate) fn clear_head(&mut self) {
        self.head_len = 0;
    }

    /// Takes up to `max` bytes, as many as lie together.
    pub(crate) fn take_piece(&mut self, max: u64) -> Option<Bytes> {
        let front = self.chunks.front_mut()?;
        if front.len() as u64 > max {
            return Some(front.split_to(max as usize));
        }
        let piece = self.chunks.pop_front();
        if self.chunks.is_empty() {
            // Seldom does anything come on these streams, and each is there as long as its session.
            self.chunks = VecDeque::new();
        }
        piece
    }

    /// Drops up to `left` bytes and lowers it by as many.
    pub(crate) fn skip(&mut self, left: &mut u64) {
        while *left > 0
            && let Some(piece) = self.take_piece(*left)
        {
            *left -= piece.len() as u64;
        }
    }

    /// Takes a value of `len` bytes once all of it is there.
    pub(crate) fn take_whole(&mut self, len: usize) -> Option<Bytes> {
        if self.body.is_empty()
            && let Some(front) = self.chunks.front()
            && front.len() >= len
        {
            return self.take_piece(len as u64);
        }
        while self.body.len() < len {
            let piece = self.take_piece((len - self.body.len()) as u64)?;
            self.body.extend_from_slice(&piece);
        }
        Some(std::mem::take(&mut self.body).freeze())
    }

    /// Tells whether no item has begun and every byte that arrived was looked at.
    pub(crate) fn is_empty(&self) -> bool {
        self.head_len == 0 && self.body.is_empty() && self.chunks.is_empty()
    }

    /// Tells whether every byte that arrived was looked at.
    pub(crate) fn is_drained(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Returns how many bytes are kept.
    pub(crate) fn len(&self) -> usize {
        self.head_len + self.body.len() + self.chunks.iter().map(Bytes::len).sum::<usize>()
    }

    /// Returns everything that is kept, in order.
    pub(crate) fn into_rest(mut self) -> Bytes {
        if self.head_len == 0 && self.body.is_empty() && self.chunks.len() <= 1 {
            return self.chunks.pop_front().unwrap_or_default();
        }
        let mut rest = BytesMut::with_capacity(self.len());
        rest.extend_from_slice(self.head.get(..self.head_len).unwrap_or_default());
        rest.extend_from_slice(&self.body);
        for chunk in &self.chunks {
            rest.extend_from_slice(chunk);
        }
        rest.freeze()
    }
}
