//! Messages both ways on a bidirectional stream.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use futures_util::Sink;
use wt_core::{BiStream, Session, SessionError, StreamId, WriteError};

use super::{Codec, RecvError, SendError, StructuredRecv, StructuredSend};
use crate::serializer::Json;

/// A bidirectional stream of messages: `M` is what it carries and `C` writes it.
///
/// On the wire, as in PyWebTransport, every message is the number of its type (16 bits), its length
/// (32 bits), both big-endian, and its bytes.
///
/// Its halves live independently of each other: take them apart with [`Self::split`] to use them in
/// two tasks. It is a [`Stream`] of what comes and a [`Sink`] for what goes.
#[non_exhaustive]
pub struct StructuredStream<M, C = Json> {
    /// The sending half.
    pub send: StructuredSend<M, C>,
    /// The receiving half.
    pub recv: StructuredRecv<M, C>,
}

impl<M, C: Codec<M>> StructuredStream<M, C> {
    /// Speaks in messages on this stream.
    ///
    /// `codec` is a serializer, or a registry in an `Arc`, which many streams share.
    pub fn new(stream: BiStream, codec: C) -> Self
    where
        C: Clone,
    {
        let (send, recv) = stream.split();
        Self {
            send: StructuredSend::new(send, codec.clone()),
            recv: StructuredRecv::new(recv, codec),
        }
    }

    /// Opens a bidirectional stream for messages.
    ///
    /// The peer learns of it with the first message.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, no stream was opened.
    ///
    /// # Errors
    ///
    /// [`SessionError`] when the session is over.
    #[doc(alias = "create_structured_stream")]
    pub async fn open(session: &Session, codec: C) -> Result<Self, SessionError>
    where
        C: Clone,
    {
        Ok(Self::new(session.open_bi().await?, codec))
    }

    /// Waits for the next bidirectional stream of the peer, which has messages on it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, no stream is lost.
    ///
    /// # Errors
    ///
    /// [`SessionError`] when the session is over.
    pub async fn accept(session: &Session, codec: C) -> Result<Self, SessionError>
    where
        C: Clone,
    {
        Ok(Self::new(session.accept_bi().await?, codec))
    }

    /// Returns the QUIC stream id.
    #[must_use]
    pub fn id(&self) -> StreamId {
        self.send.id()
    }

    /// Sets the size of the largest message that is sent or taken, in bytes without the head;
    /// [`MAX_MESSAGE_SIZE`](super::MAX_MESSAGE_SIZE) by default.
    #[must_use]
    pub const fn max_message_size(mut self, bytes: usize) -> Self {
        self.send.set_max_message_size(bytes);
        self.recv.set_max_message_size(bytes);
        self
    }

    /// Sends a message; see [`StructuredSend::send`].
    ///
    /// # Cancel safety
    ///
    /// As there.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    #[doc(alias = "send_obj")]
    pub async fn send(&mut self, message: impl Into<M>) -> Result<(), SendError> {
        self.send.send(message).await
    }

    /// Waits for the next message; see [`StructuredRecv::recv`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what was read of a message is kept for the next call.
    ///
    /// # Errors
    ///
    /// See [`RecvError`].
    #[doc(alias = "receive_obj")]
    pub async fn recv(&mut self) -> Result<Option<M>, RecvError> {
        let message = self.recv.recv().await;
        if matches!(message, Err(RecvError::TooLarge { .. })) {
            self.send.reset(0);
        }
        message
    }

    /// Ends the sending half behind all accepted messages; see [`StructuredSend::finish`].
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
        self.send.finish().await
    }

    /// Takes the stream apart.
    #[must_use]
    pub fn split(self) -> (StructuredSend<M, C>, StructuredRecv<M, C>) {
        (self.send, self.recv)
    }

    /// Resets the sending half and stops the receiving half with `code`.
    pub fn abort(&mut self, code: u32) {
        self.send.reset(code);
        self.recv.stop(code);
    }
}

impl<M, C: Codec<M>> Stream for StructuredStream<M, C> {
    type Item = Result<M, RecvError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.recv).poll_next(cx);
        if matches!(polled, Poll::Ready(Some(Err(RecvError::TooLarge { .. })))) {
            this.send.reset(0);
        }
        polled
    }
}

impl<M, C: Codec<M>> Sink<M> for StructuredStream<M, C> {
    type Error = SendError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Pin::new(&mut self.get_mut().send).poll_ready(cx)
    }

    fn start_send(self: Pin<&mut Self>, message: M) -> Result<(), SendError> {
        Pin::new(&mut self.get_mut().send).start_send(message)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Pin::new(&mut self.get_mut().send).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Pin::new(&mut self.get_mut().send).poll_close(cx)
    }
}

impl<M, C> fmt::Debug for StructuredStream<M, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StructuredStream")
            .field("send", &self.send)
            .field("recv", &self.recv)
            .finish()
    }
}
