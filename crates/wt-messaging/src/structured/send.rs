//! Sending messages.

use std::{
    fmt,
    future::poll_fn,
    marker::PhantomData,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use futures_util::Sink;
use wt_core::{SendStream, StreamId, WriteError};

use super::{Codec, MAX_MESSAGE_SIZE, MessageError, SendError};
use crate::frame;

/// From how many waiting bytes on no further message is taken.
const HIGH_WATER: usize = 64 * 1024;

/// The head of a message: the number of its type and its length.
const HEAD: usize = 6;

/// Sends messages on a stream: the sending half of a
/// [`StructuredStream`](super::StructuredStream), or a unidirectional one.
///
/// It is also a [`Sink`]; with `feed` small messages leave together.
///
/// Dropping it before [`Self::finish`] resets the stream.
pub struct StructuredSend<M, C> {
    stream: SendStream,
    codec: C,
    /// Messages that are being written: of the first, a part may be.
    leaving: Bytes,
    /// Whole messages that are accepted and come behind those.
    out: BytesMut,
    max: usize,
    /// The size of the last message with its head: the next one may be as large.
    last: usize,
    messages: PhantomData<fn(M)>,
}

impl<M, C: Codec<M>> StructuredSend<M, C> {
    /// Sends on this stream.
    pub fn new(stream: SendStream, codec: C) -> Self {
        Self {
            stream,
            codec,
            leaving: Bytes::new(),
            out: BytesMut::new(),
            max: MAX_MESSAGE_SIZE,
            last: 0,
            messages: PhantomData,
        }
    }

    /// Returns the QUIC stream id.
    #[must_use]
    pub fn id(&self) -> StreamId {
        self.stream.id()
    }

    /// Sets the size of the largest message that is sent, in bytes without the head;
    /// [`MAX_MESSAGE_SIZE`] by default.
    pub const fn set_max_message_size(&mut self, bytes: usize) {
        self.max = bytes;
    }

    /// Sends a message, and waits until the stream has taken it.
    ///
    /// # Cancel safety
    ///
    /// Keeps in step: if the future is dropped, the message was either not accepted at all or it is
    /// sent whole, by the next call of any method that sends.
    ///
    /// # Errors
    ///
    /// See [`SendError`]. After [`SendError::Message`] nothing was sent and the stream goes on.
    #[doc(alias = "send_obj")]
    pub async fn send(&mut self, message: impl Into<M>) -> Result<(), SendError> {
        let message = message.into();
        self.send_ref(&message).await
    }

    /// Like [`Self::send`], for a message that is kept.
    ///
    /// # Cancel safety
    ///
    /// As [`Self::send`].
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub async fn send_ref(&mut self, message: &M) -> Result<(), SendError> {
        poll_fn(|cx| self.poll_room(cx)).await?;
        self.push(message)?;
        self.flush().await?;
        Ok(())
    }

    /// Waits until the stream has taken all accepted messages.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// See [`WriteError`].
    pub async fn flush(&mut self) -> Result<(), WriteError> {
        poll_fn(|cx| self.poll_write(cx)).await
    }

    /// Ends the stream behind all accepted messages.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, the stream has not ended.
    ///
    /// # Errors
    ///
    /// See [`WriteError`].
    #[doc(alias = "close")]
    pub async fn finish(&mut self) -> Result<(), WriteError> {
        self.flush().await?;
        self.stream.finish()
    }

    /// Gives the stream up: the peer gets `code`, and what was not delivered yet is lost.
    pub fn reset(&mut self, code: u32) {
        self.leaving.clear();
        self.out.clear();
        self.stream.reset(code);
    }

    /// Waits until the peer has all of a finished stream; see [`SendStream::closed`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// Says why not everything was delivered.
    pub async fn closed(&mut self) -> Result<(), WriteError> {
        self.stream.closed().await
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        loop {
            ready!(frame::poll_write_chunk(
                &mut self.stream,
                &mut self.leaving,
                cx
            ))?;
            // Streams that are idle keep no buffer, not even one without a message in it.
            let out = mem::take(&mut self.out);
            if out.is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.leaving = out.freeze();
        }
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        if self.leaving.len() + self.out.len() < HIGH_WATER {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_write(cx))?;
        // Who has filled a buffer is about to fill another one.
        self.out.reserve(HIGH_WATER + self.last.min(HIGH_WATER));
        Poll::Ready(Ok(()))
    }

    /// Accepts a message: all of it, or nothing.
    fn push(&mut self, message: &M) -> Result<(), MessageError> {
        let start = self.out.len();
        if start == 0 {
            self.out.reserve(self.last.min(HIGH_WATER));
        }
        let result = self.encode(message, start);
        if result.is_err() {
            self.out.truncate(start);
        } else {
            self.last = self.out.len() - start;
        }
        result
    }

    fn encode(&mut self, message: &M, start: usize) -> Result<(), MessageError> {
        let type_id = self.codec.type_id(message)?;
        let [id0, id1] = type_id.to_be_bytes();
        self.out.extend_from_slice(&[id0, id1, 0, 0, 0, 0]);
        let encoded = self.codec.encode_to(message, &mut self.out);
        encoded.map_err(|source| MessageError::Encode { type_id, source })?;
        let size = self.out.len() - start - HEAD;
        match u32::try_from(size) {
            Ok(len) if size <= self.max => {
                self.out[start + 2..start + HEAD].copy_from_slice(&len.to_be_bytes());
                Ok(())
            }
            _ => {
                let max = self.max;
                Err(MessageError::TooLarge { type_id, size, max })
            }
        }
    }
}

impl<M, C: Codec<M>> Sink<M> for StructuredSend<M, C> {
    type Error = SendError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.get_mut().poll_room(cx).map_err(Into::into)
    }

    fn start_send(self: Pin<&mut Self>, message: M) -> Result<(), SendError> {
        Ok(self.get_mut().push(&message)?)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.get_mut().poll_write(cx).map_err(Into::into)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let this = self.get_mut();
        ready!(this.poll_write(cx))?;
        Poll::Ready(this.stream.finish().map_err(Into::into))
    }
}

/// Nothing in it is pinned.
impl<M, C> Unpin for StructuredSend<M, C> {}

impl<M, C> fmt::Debug for StructuredSend<M, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StructuredSend")
            .field("stream", &self.stream)
            .field("waiting", &(self.leaving.len() + self.out.len()))
            .field("max", &self.max)
            .finish_non_exhaustive()
    }
}
