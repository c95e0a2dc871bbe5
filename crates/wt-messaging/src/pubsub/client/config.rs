//! Limits and figures of a client.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};

use crate::pubsub::{Overflow, QueueConfig};

/// Limits of a [`PubSub`](super::PubSub) client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PubSubConfig {
    /// The most subscriptions at a time. Default: 256.
    pub max_subscriptions: usize,
    /// The largest payload, in bytes: larger ones are not published, and dropped when they come.
    /// Default: 1 MiB.
    pub max_message_size: usize,
    /// How many bytes of what was published may wait to be sent. Default: 1 MiB.
    pub send_buffer: usize,
    /// How long closing waits until the broker has everything. Default: 5 s.
    pub close_timeout: Duration,
    /// Whether messages are to come as datagrams: without delay, and some not at all. Those that are
    /// too large for a datagram come on the stream. Only our broker can; the client then takes all
    /// datagrams of its session, so the application must not. Default: no.
    pub datagrams: bool,
}

impl Default for PubSubConfig {
    fn default() -> Self {
        Self {
            max_subscriptions: 256,
            max_message_size: 1 << 20,
            send_buffer: 1 << 20,
            close_timeout: Duration::from_secs(5),
            datagrams: false,
        }
    }
}

impl PubSubConfig {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`Self::max_subscriptions`].
    #[must_use]
    pub fn with_max_subscriptions(mut self, subscriptions: usize) -> Self {
        self.max_subscriptions = subscriptions;
        self
    }

    /// Sets [`Self::max_message_size`].
    #[must_use]
    pub fn with_max_message_size(mut self, bytes: usize) -> Self {
        self.max_message_size = bytes;
        self
    }

    /// Sets [`Self::send_buffer`].
    #[must_use]
    pub fn with_send_buffer(mut self, bytes: usize) -> Self {
        self.send_buffer = bytes;
        self
    }

    /// Sets [`Self::close_timeout`].
    #[must_use]
    pub fn with_close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// Sets [`Self::datagrams`].
    #[must_use]
    pub fn with_datagrams(mut self, wanted: bool) -> Self {
        self.datagrams = wanted;
        self
    }
}

/// How to subscribe.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscribeOptions {
    /// The queue of the subscription.
    ///
    /// While it is full nothing else is read from the broker for [`QueueConfig::patience`], so that
    /// the broker notices too; other subscriptions of the client wait that long with it.
    pub queue: QueueConfig,
    /// How long to wait for the broker's answer. Default: 10 s.
    pub timeout: Duration,
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self {
            queue: QueueConfig::default(),
            timeout: Duration::from_secs(10),
        }
    }
}

impl SubscribeOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`Self::queue`].
    #[must_use]
    pub fn with_queue(mut self, queue: QueueConfig) -> Self {
        self.queue = queue;
        self
    }

    /// Sets how many messages the queue holds.
    #[must_use]
    #[doc(alias = "max_queue_size")]
    pub fn with_capacity(mut self, messages: usize) -> Self {
        self.queue.capacity = messages;
        self
    }

    /// Sets what happens when the queue is full.
    #[must_use]
    pub fn with_overflow(mut self, overflow: Overflow) -> Self {
        self.queue.overflow = overflow;
        self
    }

    /// Sets [`Self::timeout`].
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// Figures of a [`PubSub`](super::PubSub) client.
///
/// Serialised, it has the keys of PyWebTransport's `to_dict`, and more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[doc(alias = "to_dict")]
pub struct PubSubStats {
    /// When the client was made; serialised as seconds since 1970.
    #[serde(serialize_with = "unix_seconds")]
    pub created_at: SystemTime,
    /// Topics and patterns that the broker has confirmed.
    pub topics_subscribed: usize,
    /// Subscriptions now; several may be to the same topic.
    pub subscriptions: usize,
    /// Messages that were published here.
    pub messages_published: u64,
    /// Messages that came and that a subscription wanted.
    pub messages_received: u64,
    /// Messages that were dropped: for a full queue, or too large.
    pub messages_dropped: u64,
    /// Attempts to subscribe that failed.
    pub subscription_errors: u64,
}

fn unix_seconds<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    serializer.serialize_f64(since.as_secs_f64())
}
