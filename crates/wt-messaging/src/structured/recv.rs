//! Receiving messages.

use std::{
    fmt,
    future::poll_fn,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use wt_core::{RecvStream, StreamId};

use super::{Codec, MAX_MESSAGE_SIZE, RecvError};
use crate::frame::{self, Decoder};

/// Receives messages on a stream: the receiving half of a
/// [`StructuredStream`](super::StructuredStream), or a unidirectional one of the peer.
///
/// It is also a [`Stream`], which ends with the stream or after an error that is [the
/// end](RecvError::is_end).
pub struct StructuredRecv<M, C> {
    stream: RecvStream,
    codec: C,
    decoder: Decoder<6>,
    /// The type of the payload that is awaited.
    type_id: u16,
    max: usize,
    /// An error after which nothing comes.
    failed: Option<RecvError>,
    messages: PhantomData<fn() -> M>,
}

impl<M, C: Codec<M>> StructuredRecv<M, C> {
    /// Receives on this stream.
    pub fn new(stream: RecvStream, codec: C) -> Self {
        Self {
            stream,
            codec,
            decoder: Decoder::default(),
            type_id: 0,
            max: MAX_MESSAGE_SIZE,
            failed: None,
            messages: PhantomData,
        }
    }

    /// Returns the QUIC stream id.
    #[must_use]
    pub fn id(&self) -> StreamId {
        self.stream.id()
    }

    /// Sets the size of the largest message that is taken, in bytes without the head;
    /// [`MAX_MESSAGE_SIZE`] by default.
    pub const fn set_max_message_size(&mut self, bytes: usize) {
        self.max = bytes;
    }

    /// Waits for the next message; `None` at the end of the stream.
    ///
    /// A message of a type that is not registered is an error once; its bytes are skipped, and the
    /// next call goes on behind it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what was read of a message is kept for the next call.
    ///
    /// # Errors
    ///
    /// See [`RecvError`]. One after which [nothing comes](RecvError::is_end) comes again with every call.
    #[doc(alias = "receive_obj")]
    pub async fn recv(&mut self) -> Result<Option<M>, RecvError> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<M>, RecvError>> {
        if let Some(error) = &self.failed {
            return Poll::Ready(Err(error.clone()));
        }
        loop {
            if let Some(result) = self.decode() {
                return Poll::Ready(result.map(Some).map_err(|error| self.fail(error)));
            }
            match ready!(frame::poll_chunk(&mut self.stream, cx)) {
                Ok(Some(chunk)) => self.decoder.push(chunk),
                Ok(None) if self.decoder.at_boundary() => return Poll::Ready(Ok(None)),
                Ok(None) => return Poll::Ready(Err(self.fail(RecvError::EndedEarly))),
                Err(error) => return Poll::Ready(Err(self.fail(error.into()))),
            }
        }
    }

    /// Takes the next message out of what has arrived.
    fn decode(&mut self) -> Option<Result<M, RecvError>> {
        if !self.decoder.in_payload() {
            let [id0, id1, len @ ..] = self.decoder.head()?;
            let type_id = u16::from_be_bytes([id0, id1]);
            let size = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
            if size > self.max {
                let max = self.max;
                return Some(Err(RecvError::TooLarge { type_id, size, max }));
            }
            if !self.codec.knows(type_id) {
                self.decoder.skip(size);
                return Some(Err(RecvError::UnknownType { type_id, size }));
            }
            self.type_id = type_id;
            self.decoder.expect(size);
        }
        let payload = self.decoder.payload()?;
        let type_id = self.type_id;
        let message = self.codec.decode(type_id, payload);
        Some(message.map_err(|source| RecvError::Decode { type_id, source }))
    }

    fn fail(&mut self, error: RecvError) -> RecvError {
        if error.is_end() {
            self.stream.stop(0);
            self.failed = Some(error.clone());
        }
        error
    }

    /// Asks the peer to send no more, with `code`, and gives up what was not received.
    pub fn stop(&mut self, code: u32) {
        self.stream.stop(code);
    }
}

impl<M, C: Codec<M>> Stream for StructuredRecv<M, C> {
    type Item = Result<M, RecvError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.failed.is_some() {
            return Poll::Ready(None);
        }
        this.poll_recv(cx).map(Result::transpose)
    }
}

/// Nothing in it is pinned.
impl<M, C> Unpin for StructuredRecv<M, C> {}

impl<M, C> fmt::Debug for StructuredRecv<M, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StructuredRecv")
            .field("stream", &self.stream)
            .field("max", &self.max)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}
