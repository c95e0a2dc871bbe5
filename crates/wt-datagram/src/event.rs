//! What a transport tells.

use std::{fmt, time::Duration};

/// Something that happened to the datagrams of a transport.
///
/// Told by [`DatagramTransport::events`](crate::DatagramTransport::events); made only while somebody listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DatagramEvent {
    /// A datagram was handed to QUIC.
    #[doc(alias = "DATAGRAM_SENT")]
    Sent {
        /// Its number among those sent, from 0 on.
        sequence: u64,
        /// Its payload in bytes.
        size: usize,
        /// How long it waited in the queue.
        waited: Duration,
    },
    /// The application took a datagram.
    #[doc(alias = "DATAGRAM_RECEIVED")]
    Received {
        /// Its number among those received, from 0 on.
        sequence: u64,
        /// Its payload in bytes.
        size: usize,
        /// How long it waited in the buffer; nothing where datagrams are not buffered.
        age: Duration,
    },
    /// Datagrams were not sent.
    SendDropped {
        /// Why not.
        reason: DropReason,
        /// How many.
        count: usize,
    },
    /// Received datagrams do not reach the application.
    ReceiveDropped {
        /// Why not.
        reason: DropReason,
        /// How many.
        count: usize,
    },
    /// The transport was closed.
    Closed,
}

/// Why a datagram was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// Older than its time to live or the maximum age.
    Expired,
    /// Pushed out of a full queue by a newer one.
    Evicted,
    /// Refused because the queue was full.
    Refused,
    /// Larger than the path carries.
    TooLarge,
    /// In the queue when it was cleared.
    Cleared,
    /// In the queue when the transport or the session ended.
    Ended,
}

impl DropReason {
    /// Returns the name in snake case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Evicted => "evicted",
            Self::Refused => "refused",
            Self::TooLarge => "too_large",
            Self::Cleared => "cleared",
            Self::Ended => "ended",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Expired => "expired",
            Self::Evicted => "evicted",
            Self::Refused => "refused",
            Self::TooLarge => "too large",
            Self::Cleared => "cleared",
            Self::Ended => "ended",
        })
    }
}

impl fmt::Display for DatagramEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent { sequence, size, .. } => {
                write!(f, "datagram {sequence} of {size} bytes was sent")
            }
            Self::Received { sequence, size, .. } => {
                write!(f, "datagram {sequence} of {size} bytes was received")
            }
            Self::SendDropped { reason, count } => {
                write!(f, "{count} datagrams were not sent: {reason}")
            }
            Self::ReceiveDropped { reason, count } => {
                write!(f, "{count} received datagrams were dropped: {reason}")
            }
            Self::Closed => f.write_str("the datagram transport was closed"),
        }
    }
}
