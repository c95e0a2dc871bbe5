//! Datagrams that tell when they leave.

use bytes::Bytes;

use super::{SendDatagramError, Session};

/// A datagram with its prefix, and what is dropped with it.
struct Ticketed<T> {
    datagram: Bytes,
    _ticket: T,
}

impl<T> AsRef<[u8]> for Ticketed<T> {
    fn as_ref(&self) -> &[u8] {
        &self.datagram
    }
}

impl Session {
    /// Sends a datagram like [`Self::send_datagram_wait`], and drops `ticket` when it leaves the send buffer.
    ///
    /// A datagram leaves when it is written into a packet, or when it is given up: because
    /// [`Self::send_datagram`] needed its room, because it became too large for the path, or because the connection
    /// ended. So a layer above can keep the buffer short, in which nothing overtakes, and send what is most urgent as
    /// late as possible.
    ///
    /// The ticket is dropped while the connection is locked: its `Drop` must not use the session or its connection.
    /// Counting and waking a task are fine.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, nothing was sent, and the ticket is dropped.
    ///
    /// # Errors
    ///
    /// See [`SendDatagramError`]. The ticket is dropped.
    pub async fn send_datagram_with_ticket<T: Send + 'static>(
        &self,
        payload: impl AsRef<[u8]>,
        ticket: T,
    ) -> Result<(), SendDatagramError> {
        let len = payload.as_ref().len();
        let datagram = Bytes::from_owner(Ticketed {
            datagram: self.datagram(payload.as_ref())?,
            _ticket: ticket,
        });
        self.send_framed(datagram, len).await
    }
}
