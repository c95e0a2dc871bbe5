//! What of a stream has arrived.

use std::{
    collections::VecDeque,
    pin::pin,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Bytes, BytesMut};
use tokio::io::ReadBuf;
use wt_proto::ErrorCode;

use super::code_of;

/// Chunks below this size are copied together: as they are, each would keep a whole packet alive.
const SMALL: usize = 512;

/// How much room small chunks are given at a time.
const ROOM: usize = 4096;

/// Chunks that are taken from QUIC at a time, for a reader that takes them one by one.
const AT_A_TIME: usize = 8;

/// Chunks that are taken at a time from a stream that had fewer the last time: one more than most small messages have,
/// so that QUIC sees the end behind them.
const AT_FIRST: usize = 2;

/// How a stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// More may come.
    Open,
    /// All has arrived.
    Finished,
    /// The peer reset it.
    Reset(ErrorCode),
    /// This endpoint stopped it.
    Stopped,
}

/// The receiving side of a stream: QUIC's, and what was taken from it ahead of the reader.
#[derive(Debug)]
pub(super) struct Inbound {
    /// `None` as soon as nothing more can come.
    pub(super) quic: Option<quinn::RecvStream>,
    pub(super) end: End,
    /// What is read next of what was taken. Mostly there is no more than that, and no queue.
    first: Bytes,
    /// What stands behind it.
    ahead: VecDeque<Bytes>,
    /// Small chunks, which stand behind all in `ahead`.
    small: BytesMut,
    /// QUIC had [`AT_FIRST`] chunks or more the last time.
    many: bool,
}

impl Inbound {
    /// Takes a stream of QUIC, after `body`.
    pub(super) fn new(quic: Option<quinn::RecvStream>, [first, more]: [Bytes; 2]) -> Self {
        Self {
            quic,
            end: End::Open,
            first,
            ahead: (!more.is_empty()).then_some(more).into_iter().collect(),
            small: BytesMut::new(),
            many: false,
        }
    }

    /// Keeps a chunk for the reader.
    pub(super) fn push(&mut self, chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        if self.first.is_empty() && self.ahead.is_empty() && self.small.is_empty() {
            self.first = chunk;
        } else if chunk.len() < SMALL {
            if self.small.len() + chunk.len() > ROOM {
                self.seal();
            }
            if self.small.is_empty() {
                self.small.reserve(ROOM);
            }
            self.small.extend_from_slice(&chunk);
        } else {
            self.seal();
            self.ahead.push_back(chunk);
        }
    }

    fn seal(&mut self) {
        if !self.small.is_empty() {
            self.ahead.push_back(self.small.split().freeze());
        }
    }

    /// Takes up to `max` bytes of what is kept.
    pub(super) fn take(&mut self, max: usize) -> Option<Bytes> {
        let len = self.front()?.len();
        Some(self.first.split_to(len.min(max)))
    }

    /// Shows the first chunk of what is kept.
    pub(super) fn front(&mut self) -> Option<&Bytes> {
        if self.first.is_empty() {
            if self.ahead.is_empty() {
                self.seal();
            }
            self.first = self.ahead.pop_front()?;
            if self.ahead.is_empty() {
                // Streams that are idle keep no queue.
                self.ahead = VecDeque::new();
            }
        }
        Some(&self.first)
    }

    /// Returns how many bytes are kept.
    pub(super) fn kept(&self) -> usize {
        let ahead: usize = self.ahead.iter().map(Bytes::len).sum();
        self.first.len() + ahead + self.small.len()
    }

    /// Returns whether the stream has ended and all of it was read.
    pub(super) fn is_read(&self) -> bool {
        self.end == End::Finished && self.kept() == 0
    }

    /// Drops what is kept and returns how many bytes it was.
    pub(super) fn clear(&mut self) -> usize {
        let kept = self.kept();
        self.first = Bytes::new();
        self.ahead = VecDeque::new();
        self.small = BytesMut::new();
        kept
    }

    /// Reads the next chunk from QUIC; `None` and errors as at the end when QUIC is done.
    pub(super) fn poll_quic(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
    ) -> Poll<Result<Option<Bytes>, quinn::ReadError>> {
        let Some(quic) = &mut self.quic else {
            return Poll::Ready(Err(quinn::ReadError::ClosedStream));
        };
        let polled = pin!(quic.read_chunk(max, true)).poll(cx);
        polled.map(|result| self.settle(result.map(|chunk| chunk.map(|chunk| chunk.bytes))))
    }

    /// Takes some chunks from QUIC, when nothing is kept, and keeps them; returns how many bytes, and `None` and errors as
    /// at the end when QUIC is done.
    ///
    /// To take each alone would cost more than to read it.
    pub(super) fn poll_some(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<usize>, quinn::ReadError>> {
        if self.many {
            self.poll_chunks::<AT_A_TIME>(cx)
        } else {
            self.poll_chunks::<AT_FIRST>(cx)
        }
    }

    fn poll_chunks<const MAX: usize>(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<usize>, quinn::ReadError>> {
        let Some(quic) = &mut self.quic else {
            return Poll::Ready(Err(quinn::ReadError::ClosedStream));
        };
        let mut chunks = [const { Bytes::new() }; MAX];
        let polled = ready!(pin!(quic.read_chunks(&mut chunks)).poll(cx));
        Poll::Ready(self.settle(polled).map(|count| {
            let count = count?;
            self.many = count >= AT_FIRST;
            let mut bytes = 0;
            for chunk in chunks.iter_mut().take(count) {
                bytes += chunk.len();
                self.push(std::mem::take(chunk));
            }
            Some(bytes)
        }))
    }

    /// Takes note of the end of the stream if it comes next; `true` when it is a reset.
    pub(super) fn look_for_end(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        // Reads nothing but the end.
        let polled = self.poll_quic(&mut cx, 0);
        matches!(polled, Poll::Ready(Err(quinn::ReadError::Reset(_))))
    }

    /// Reads from QUIC into `buf`; nothing at the end.
    pub(super) fn poll_quic_buf(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), quinn::ReadError>> {
        let Some(quic) = &mut self.quic else {
            return Poll::Ready(Err(quinn::ReadError::ClosedStream));
        };
        let before = buf.filled().len();
        let polled = quic.poll_read_buf(cx, buf);
        let read = buf.filled().len() > before;
        polled.map(|result| self.settle(result.map(|()| read.then_some(()))).map(|_| ()))
    }

    /// Takes note of how the stream ended, if that is what `result` says.
    fn settle<T>(
        &mut self,
        result: Result<Option<T>, quinn::ReadError>,
    ) -> Result<Option<T>, quinn::ReadError> {
        match &result {
            Ok(Some(_)) | Err(quinn::ReadError::ConnectionLost(_)) => return result,
            Ok(None) => self.end = End::Finished,
            Err(quinn::ReadError::Reset(code)) => self.end = End::Reset(code_of(*code)),
            Err(_) => {}
        }
        self.quic = None;
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_chunks_are_copied_together_and_order_is_kept() {
        let mut inbound = Inbound::new(None, [const { Bytes::new() }; 2]);
        let mut sent = Vec::new();
        for n in 0..3000_usize {
            let len = if n % 100 == 0 { 600 } else { 1 + n % 7 };
            let chunk = vec![n as u8; len];
            sent.extend_from_slice(&chunk);
            inbound.push(chunk.into());
        }
        assert_eq!(inbound.kept(), sent.len());
        assert!(inbound.ahead.len() < 100, "{} chunks", inbound.ahead.len());
        let mut got = Vec::new();
        while let Some(chunk) = inbound.take(1000) {
            assert!(!chunk.is_empty() && chunk.len() <= 1000);
            got.extend_from_slice(&chunk);
        }
        assert_eq!(got, sent);
        assert_eq!(inbound.kept(), 0);
    }

    #[test]
    fn what_is_cleared_is_counted() {
        let mut inbound = Inbound::new(None, [const { Bytes::new() }; 2]);
        inbound.push(Bytes::from_static(&[1; 700]));
        inbound.push(Bytes::from_static(&[2; 3]));
        assert_eq!(inbound.clear(), 703);
        assert_eq!(inbound.take(10), None);
    }
}
