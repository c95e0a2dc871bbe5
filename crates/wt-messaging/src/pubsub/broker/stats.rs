//! Figures of brokers and services.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Figures of a [`MemoryBroker`](super::MemoryBroker).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerStats {
    /// Messages that were published.
    pub published: u64,
    /// Messages that were put into queues: one for each subscriber.
    pub delivered: u64,
    /// Messages that were dropped because the queue of a subscriber was full.
    pub dropped: u64,
    /// Subscribers that were ended because they did not keep up.
    pub ended: u64,
    /// How often a publisher waited for a subscriber.
    pub waits: u64,
    /// Topics and patterns with subscribers now.
    pub topics: usize,
    /// Subscriptions now.
    pub subscriptions: usize,
    /// Messages in the history now.
    pub history: usize,
    /// What they take, in bytes.
    pub history_bytes: usize,
}

/// Figures of a [`PubSubService`](super::PubSubService).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceStats {
    /// Clients, that is, streams, that are served now.
    pub clients: u64,
    /// Clients that were served, those of now among them.
    pub clients_total: u64,
    /// Messages that clients published.
    pub published: u64,
    /// Messages that were sent on streams.
    pub sent: u64,
    /// Messages that were sent as datagrams.
    pub sent_datagrams: u64,
    /// Subscriptions that were refused: by the hook, for a limit, for a topic that is none.
    pub refused: u64,
    /// Published messages that were dropped: refused by the hook, too large, or under a topic that
    /// is none. The protocol has no word to tell the publisher.
    pub rejected: u64,
    /// Clients that were ended because they did not keep up.
    pub too_slow: u64,
    /// Clients that were ended because they broke the protocol.
    pub violations: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    pub(super) fn one(&self) {
        self.add(1);
    }

    pub(super) fn less(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
