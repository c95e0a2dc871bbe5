//! How a transport queues.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::OpenError;

/// What happens to a datagram for which a queue has no room.
///
/// Datagrams that are too old make room first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DropPolicy {
    /// The one that has waited longest goes, whatever its priority.
    Oldest,
    /// The new one is refused.
    Newest,
    /// The one that has waited longest in the lowest lane goes. The new one is refused when all others are more
    /// urgent.
    ///
    /// For a queue of received datagrams the same as [`Self::Oldest`]: priorities are not sent.
    LowestPriority,
    /// Nothing goes: [`send`](crate::DatagramTransport::send) waits, and
    /// [`try_send`](crate::DatagramTransport::try_send) fails. Received datagrams stay in QUIC's buffer, which drops
    /// its oldest in turn.
    Wait,
}

/// How a [`DatagramTransport`](crate::DatagramTransport) queues.
///
/// Queues are used only when they are needed: to send, when QUIC has no room at once or when datagrams with priority
/// or time to live wait; to receive, with [`buffer_incoming`](Self::buffer_incoming) or a maximum age.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DatagramConfig {
    /// Datagrams that wait to be sent. Default: 100.
    #[doc(alias = "high_water_mark")]
    #[doc(alias = "outgoing_high_water_mark")]
    pub outgoing_queue: usize,
    /// What happens beyond it. Default: [`DropPolicy::Wait`].
    pub outgoing_policy: DropPolicy,
    /// How long any datagram may wait to be sent; a shorter time to live of its own comes first. Default: `None`, as
    /// long as it takes.
    pub outgoing_max_age: Option<Duration>,
    /// Bytes that are handed to QUIC ahead of time once priorities, times to live or a maximum age are in use.
    ///
    /// What QUIC has is not overtaken and does not expire. Less makes priorities sharper, more keeps a fast network
    /// busy, and so there is more on one, see [`send_ahead_time`](Self::send_ahead_time). Default: 32 KiB.
    pub send_ahead: usize,
    /// What QUIC sends within this time may be handed to it ahead of time, where that is more than
    /// [`send_ahead`](Self::send_ahead): up to half of QUIC's own buffer as it is by default, 128 KiB. So something
    /// urgent waits at most about so long for what is before it. Default: 0.5 ms; with zero it is always `send_ahead`.
    pub send_ahead_time: Duration,
    /// Whether datagrams are taken from QUIC as they arrive, in a task of its own, which gives each a time of arrival.
    ///
    /// Otherwise they stay in QUIC's buffer until they are asked for, which is faster. Default: off; a maximum age
    /// turns it on.
    pub buffer_incoming: bool,
    /// Received datagrams that wait to be taken, where they are buffered. Default: 100.
    pub incoming_queue: usize,
    /// What happens beyond it. Default: [`DropPolicy::Oldest`].
    pub incoming_policy: DropPolicy,
    /// How old a received datagram may be when it is taken. Default: `None`, any age.
    pub incoming_max_age: Option<Duration>,
}

impl Default for DatagramConfig {
    fn default() -> Self {
        Self {
            outgoing_queue: 100,
            outgoing_policy: DropPolicy::Wait,
            outgoing_max_age: None,
            send_ahead: 32 * 1024,
            send_ahead_time: Duration::from_micros(500),
            buffer_incoming: false,
            incoming_queue: 100,
            incoming_policy: DropPolicy::Oldest,
            incoming_max_age: None,
        }
    }
}

impl DatagramConfig {
    /// The largest number that a queue may be allowed to hold.
    const MOST: usize = 1 << 20;

    /// Returns the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how many datagrams may wait to be sent, and what happens beyond that.
    #[must_use]
    pub fn with_outgoing(mut self, queue: usize, policy: DropPolicy) -> Self {
        self.outgoing_queue = queue;
        self.outgoing_policy = policy;
        self
    }

    /// Buffers received datagrams: how many, and what happens beyond that.
    #[must_use]
    pub fn with_incoming(mut self, queue: usize, policy: DropPolicy) -> Self {
        self.buffer_incoming = true;
        self.incoming_queue = queue;
        self.incoming_policy = policy;
        self
    }

    /// Returns an error that names the first field whose value cannot work.
    ///
    /// # Errors
    ///
    /// [`OpenError::Config`].
    pub fn validate(&self) -> Result<(), OpenError> {
        let range = 1..=Self::MOST;
        for (key, value) in [
            ("outgoing_queue", self.outgoing_queue),
            ("incoming_queue", self.incoming_queue),
        ] {
            if !range.contains(&value) {
                let value = value.to_string();
                let reason = "must be between 1 and 1048576 datagrams";
                return Err(OpenError::Config { key, value, reason });
            }
        }
        for (key, value) in [
            ("outgoing_max_age", self.outgoing_max_age),
            ("incoming_max_age", self.incoming_max_age),
        ] {
            if value.is_some_and(|age| age.is_zero()) {
                let value = "0 s".to_owned();
                let reason = "nothing would ever be young enough; leave it out instead";
                return Err(OpenError::Config { key, value, reason });
            }
        }
        Ok(())
    }
}
