//! What a sender says about a datagram.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How urgent a datagram is, compared with others of the same transport.
///
/// It is not sent: the peer does not learn of it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Priority {
    /// Waits for all others; 0 in PyWebTransport.
    #[default]
    Low = 0,
    /// Overtakes low ones; 1 in PyWebTransport.
    Normal = 1,
    /// Overtakes all others; 2 in PyWebTransport.
    High = 2,
}

impl Priority {
    /// All priorities, the lowest first.
    pub const ALL: [Self; 3] = [Self::Low, Self::Normal, Self::High];

    /// Returns the priority for a number; larger ones than 2 are [`Self::High`].
    #[must_use]
    pub const fn clamped(number: u8) -> Self {
        match number {
            0 => Self::Low,
            1 => Self::Normal,
            _ => Self::High,
        }
    }
}

/// How a datagram is sent: its priority and how long it is of use.
///
/// The default is [`Priority::Low`] without a time to live, which costs nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SendOptions {
    /// How urgent it is.
    pub priority: Priority,
    /// For how long it may wait to be sent; it is dropped and counted then. `None`: as long as it takes.
    pub ttl: Option<Duration>,
}

impl SendOptions {
    /// Returns the default: [`Priority::Low`] and no time to live.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            priority: Priority::Low,
            ttl: None,
        }
    }

    /// Sets the priority.
    #[must_use]
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets the time to live.
    #[must_use]
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.priority == Priority::Low && self.ttl.is_none()
    }
}

impl From<Priority> for SendOptions {
    fn from(priority: Priority) -> Self {
        Self::new().priority(priority)
    }
}
