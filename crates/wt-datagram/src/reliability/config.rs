//! How a reliability layer works.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::OpenError;

/// How a [`ReliabilityLayer`](super::ReliabilityLayer) works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ReliabilityConfig {
    /// The first sequence number. Default: 0, as in PyWebTransport.
    ///
    /// After the largest number comes 0 again. With [`ordered`](Self::ordered) both sides need the same.
    pub first_sequence: u32,
    /// How often a message is sent again before it is given up. Default: 10.
    ///
    /// With the default times that takes about 10 seconds, as long as PyWebTransport takes for its 5.
    pub max_retries: u32,
    /// The shortest time to wait for an acknowledgement, however short the round trip is. Default: 20 ms.
    pub min_ack_timeout: Duration,
    /// The longest time to wait for an acknowledgement, however often it was late. Default: 2 s.
    #[doc(alias = "ack_timeout")]
    pub max_ack_timeout: Duration,
    /// Messages under way at a time, from the oldest without an acknowledgement on; at most 1024, which is what a
    /// receiver remembers. `send` waits beyond it. Default: 256.
    pub window: usize,
    /// Messages that were received and not taken. Beyond it they are not acknowledged, so that the peer sends them
    /// again later. Default: 256.
    pub receive_queue: usize,
    /// Whether messages are handed out in the order in which they were sent. Default: no.
    ///
    /// PyWebTransport never orders. It is a matter of the receiver alone.
    pub ordered: bool,
    /// How long messages wait for one that is missing, where they are ordered; longer than the sender tries. Then the
    /// missing one is left out. Default: 15 s.
    pub gap_timeout: Duration,
}

impl Default for ReliabilityConfig {
    fn default() -> Self {
        Self {
            first_sequence: 0,
            max_retries: 10,
            min_ack_timeout: Duration::from_millis(20),
            max_ack_timeout: Duration::from_secs(2),
            window: 256,
            receive_queue: 256,
            ordered: false,
            gap_timeout: Duration::from_secs(15),
        }
    }
}

impl ReliabilityConfig {
    /// The longest that anybody may want to wait for an acknowledgement.
    const LONGEST: Duration = Duration::from_secs(3600);

    /// Returns the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether messages are handed out in the order in which they were sent.
    #[must_use]
    pub const fn with_ordered(mut self, ordered: bool) -> Self {
        self.ordered = ordered;
        self
    }

    /// Sets how often a message is sent again, and the shortest and longest time to wait for its acknowledgement.
    #[must_use]
    pub const fn with_retries(mut self, max: u32, shortest: Duration, longest: Duration) -> Self {
        self.max_retries = max;
        self.min_ack_timeout = shortest;
        self.max_ack_timeout = longest;
        self
    }

    /// Returns an error that names the first field whose value cannot work.
    ///
    /// # Errors
    ///
    /// [`OpenError::Config`].
    pub fn validate(&self) -> Result<(), OpenError> {
        let wrong = |key, value: String, reason| Err(OpenError::Config { key, value, reason });
        if !(1..=super::REMEMBERED).contains(&self.window) {
            let reason = "must be between 1 and 1024, what a receiver remembers";
            return wrong("window", self.window.to_string(), reason);
        }
        if !(1..=1 << 20).contains(&self.receive_queue) {
            let reason = "must be between 1 and 1048576 messages";
            return wrong("receive_queue", self.receive_queue.to_string(), reason);
        }
        if self.min_ack_timeout < Duration::from_millis(1) {
            let value = format!("{:?}", self.min_ack_timeout);
            return wrong("min_ack_timeout", value, "must be at least 1 ms");
        }
        if !(self.min_ack_timeout..=Self::LONGEST).contains(&self.max_ack_timeout) {
            let value = format!("{:?}", self.max_ack_timeout);
            let reason = "must be between min_ack_timeout and 1 hour";
            return wrong("max_ack_timeout", value, reason);
        }
        Ok(())
    }
}
