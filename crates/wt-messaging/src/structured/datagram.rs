//! Messages in datagrams.

use std::{fmt, future::Future, marker::PhantomData};

use bytes::{BufMut, Bytes, BytesMut};
use futures_core::Stream;
use futures_util::{Sink, sink, stream};
use wt_core::{SendDatagramError, Session, SessionError};
use wt_datagram::{DatagramTransport, ReceiveError, SendOptions};

use super::{Codec, DatagramRecvError, DatagramSendError, MessageError};

/// The head of a message: the number of its type.
const HEAD: usize = 2;

/// The largest datagram of QUIC, without the head of a message: nothing larger can come.
const LARGEST: usize = 65_535 - HEAD;

/// What carries datagrams: a [`Session`], or a [`DatagramTransport`] with priorities and times to live.
pub trait Datagrams: Send + Sync {
    /// What can be said of a datagram besides its bytes, such as a priority.
    type Options: Default + Send;
    /// Why a datagram could not be sent.
    type SendError: std::error::Error + Clone + Send + Sync + 'static;
    /// Why no datagram comes any more.
    type RecvError: std::error::Error + Clone + Send + Sync + 'static;

    /// Returns the largest payload of a datagram now, in bytes; `None` when the peer takes none.
    fn max_size(&self) -> Option<usize>;

    /// Sends a datagram, waiting for room.
    ///
    /// # Errors
    ///
    /// When it could not be sent.
    fn send(
        &self,
        payload: Bytes,
        options: Self::Options,
    ) -> impl Future<Output = Result<(), Self::SendError>> + Send;

    /// Sends a datagram without waiting.
    ///
    /// # Errors
    ///
    /// When it could not be sent.
    fn try_send(&self, payload: Bytes, options: Self::Options) -> Result<(), Self::SendError>;

    /// Waits for the next datagram. Has to be cancel safe.
    ///
    /// # Errors
    ///
    /// When none comes any more.
    fn recv(&self) -> impl Future<Output = Result<Bytes, Self::RecvError>> + Send;
}

impl Datagrams for Session {
    type Options = ();
    type SendError = SendDatagramError;
    type RecvError = SessionError;

    fn max_size(&self) -> Option<usize> {
        self.max_datagram_size()
    }

    async fn send(&self, payload: Bytes, (): ()) -> Result<(), SendDatagramError> {
        self.send_datagram_wait(payload).await
    }

    fn try_send(&self, payload: Bytes, (): ()) -> Result<(), SendDatagramError> {
        self.send_datagram(payload)
    }

    async fn recv(&self) -> Result<Bytes, SessionError> {
        self.recv_datagram().await
    }
}

impl Datagrams for DatagramTransport {
    type Options = SendOptions;
    type SendError = wt_datagram::SendError;
    type RecvError = ReceiveError;

    fn max_size(&self) -> Option<usize> {
        self.max_datagram_size()
    }

    async fn send(&self, payload: Bytes, options: SendOptions) -> Result<(), Self::SendError> {
        self.send_with(payload, options).await
    }

    fn try_send(&self, payload: Bytes, options: SendOptions) -> Result<(), Self::SendError> {
        self.try_send_with(payload, options)
    }

    async fn recv(&self) -> Result<Bytes, ReceiveError> {
        self.receive().await
    }
}

/// Sends and receives messages in datagrams: `M` is what they are, `C` writes them, and `D` carries
/// them.
///
/// On the wire, as in PyWebTransport, every datagram is the number of the message's type (16 bits,
/// big-endian) and its bytes.
///
/// All methods take it by reference: share it by `Arc` to send and receive in several tasks.
pub struct StructuredDatagramTransport<M, C, D = Session> {
    datagrams: D,
    codec: C,
    max: usize,
    messages: PhantomData<fn(M) -> M>,
}

impl<M, C: Codec<M>, D: Datagrams> StructuredDatagramTransport<M, C, D> {
    /// Speaks in messages in the datagrams of a [`Session`] or a [`DatagramTransport`].
    ///
    /// Takes all datagrams of it: what else receives from it gets others.
    pub fn new(datagrams: D, codec: C) -> Self {
        Self {
            datagrams,
            codec,
            max: LARGEST,
            messages: PhantomData,
        }
    }

    /// Sets the size of the largest message that is sent or taken, in bytes without the head.
    ///
    /// By default it is what a datagram can carry at all, 65,533 bytes. What the path carries is less,
    /// mostly some 1200 bytes: [`Self::max_size`] says how much it is now.
    #[must_use]
    pub const fn max_message_size(mut self, bytes: usize) -> Self {
        self.max = bytes;
        self
    }

    /// Returns the size of the largest message that can be sent now, in bytes without the head;
    /// `None` when the peer takes no datagrams.
    #[must_use]
    pub fn max_size(&self) -> Option<usize> {
        let carried = self.datagrams.max_size()?.checked_sub(HEAD)?;
        Some(carried.min(self.max))
    }

    /// Returns what carries the datagrams.
    #[must_use]
    pub const fn get_ref(&self) -> &D {
        &self.datagrams
    }

    /// Sends a message, waiting for room in the send buffer.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, nothing was sent.
    ///
    /// # Errors
    ///
    /// See [`DatagramSendError`].
    #[doc(alias = "send_obj")]
    pub async fn send(&self, message: impl Into<M>) -> Result<(), DatagramSendError<D::SendError>> {
        self.send_with(message, D::Options::default()).await
    }

    /// Sends a message with options for the layer that carries it, such as a priority.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, nothing was sent.
    ///
    /// # Errors
    ///
    /// See [`DatagramSendError`].
    pub async fn send_with(
        &self,
        message: impl Into<M>,
        options: D::Options,
    ) -> Result<(), DatagramSendError<D::SendError>> {
        let payload = self.encode(&message.into())?;
        let sent = self.datagrams.send(payload, options).await;
        sent.map_err(DatagramSendError::Datagram)
    }

    /// Sends a message without waiting. On a [`Session`] the oldest that waits makes room.
    ///
    /// # Errors
    ///
    /// See [`DatagramSendError`].
    pub fn try_send(&self, message: impl Into<M>) -> Result<(), DatagramSendError<D::SendError>> {
        let payload = self.encode(&message.into())?;
        let sent = self.datagrams.try_send(payload, D::Options::default());
        sent.map_err(DatagramSendError::Datagram)
    }

    /// Waits for the next message.
    ///
    /// A datagram that is no message is an error; the next call goes on behind it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, no message is lost.
    ///
    /// # Errors
    ///
    /// See [`DatagramRecvError`].
    #[doc(alias = "receive_obj")]
    pub async fn recv(&self) -> Result<M, DatagramRecvError<D::RecvError>> {
        let datagram = self.datagrams.recv().await;
        self.decode(datagram.map_err(DatagramRecvError::Datagram)?)
    }

    /// Returns the messages that come, until no datagram comes any more.
    pub fn incoming(
        &self,
    ) -> impl Stream<Item = Result<M, DatagramRecvError<D::RecvError>>> + Send + use<'_, M, C, D>
    {
        stream::unfold(self, |this| async move {
            match this.recv().await {
                Err(error) if error.is_end() => None,
                message => Some((message, this)),
            }
        })
    }

    /// Returns a sink that sends messages, waiting for room.
    pub fn outgoing(
        &self,
    ) -> impl Sink<M, Error = DatagramSendError<D::SendError>> + Send + use<'_, M, C, D>
    where
        M: Send,
    {
        sink::unfold(self, |this, message: M| async move {
            this.send(message).await?;
            Ok(this)
        })
    }

    fn encode(&self, message: &M) -> Result<Bytes, MessageError> {
        let type_id = self.codec.type_id(message)?;
        let mut out = BytesMut::new();
        out.put_u16(type_id);
        let encoded = self.codec.encode_to(message, &mut out);
        encoded.map_err(|source| MessageError::Encode { type_id, source })?;
        let (size, max) = (out.len() - HEAD, self.max);
        if size > max {
            return Err(MessageError::TooLarge { type_id, size, max });
        }
        Ok(out.freeze())
    }

    fn decode(&self, mut datagram: Bytes) -> Result<M, DatagramRecvError<D::RecvError>> {
        let Some(&head) = datagram.first_chunk::<HEAD>() else {
            return Err(DatagramRecvError::TooShort(datagram.len()));
        };
        let payload = datagram.split_off(HEAD);
        let type_id = u16::from_be_bytes(head);
        let (size, max) = (payload.len(), self.max);
        if size > max {
            return Err(DatagramRecvError::TooLarge { type_id, size, max });
        }
        if !self.codec.knows(type_id) {
            return Err(DatagramRecvError::UnknownType { type_id, size });
        }
        let message = self.codec.decode(type_id, payload);
        message.map_err(|source| DatagramRecvError::Decode { type_id, source })
    }
}

impl<M, C, D: fmt::Debug> fmt::Debug for StructuredDatagramTransport<M, C, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StructuredDatagramTransport")
            .field("datagrams", &self.datagrams)
            .field("max", &self.max)
            .finish_non_exhaustive()
    }
}
