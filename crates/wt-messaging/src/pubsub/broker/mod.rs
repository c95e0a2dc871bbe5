//! The broker: what takes messages and hands them to those who subscribed.

mod history;
mod link;
mod memory;
mod service;
mod stats;
mod tree;

use std::{fmt, future::Future, sync::Arc};

pub use self::{
    memory::{BrokerConfig, MemoryBroker},
    service::{Access, Denied, PubSubService, ServiceConfig},
    stats::{BrokerStats, ServiceStats},
};
use super::{
    BrokerError, Message, Pattern, QueueStats,
    queue::{Pushed, Queue},
};

/// What takes messages and hands them to those who subscribed.
///
/// [`MemoryBroker`] does it within one process. Implement this for an engine that spans several; what
/// [`PubSubService`] offers its clients stays the same.
pub trait Broker: Send + Sync + 'static {
    /// Takes a message and hands it to the feeds of all patterns that its topic matches, to each
    /// feed once. Returns how many feeds of this process got it.
    ///
    /// May wait for feeds that are full ([`Feed::ready`]). If the future is dropped, the message was
    /// handed to all or to none.
    ///
    /// # Errors
    ///
    /// [`BrokerError`] when the message was not taken.
    fn publish(&self, message: Message) -> impl Future<Output = Result<usize, BrokerError>> + Send;

    /// Has the messages of a topic or pattern pushed to `feed` until the returned [`Interest`] is
    /// dropped.
    ///
    /// # Errors
    ///
    /// [`BrokerError`] when a limit is reached. Subscribers get its words.
    fn subscribe(
        &self,
        pattern: Pattern,
        feed: Feed,
    ) -> impl Future<Output = Result<Interest, BrokerError>> + Send;
}

/// The writing end of a bounded queue: where a [`Broker`] puts the messages for one subscriber.
#[derive(Clone, Debug)]
pub struct Feed(pub(super) Arc<Queue>);

impl Feed {
    /// Returns a number that only the clones of this feed have.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.0.id()
    }

    /// Waits until there is room for the message, or no use in waiting for its subscriber.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn ready(&self, message: &Message) {
        self.0.ready(message.size()).await;
    }

    /// Puts a message into the queue, without waiting; when it is full, its policy decides.
    ///
    /// Returns whether this message is in the queue now.
    pub fn push(&self, message: &Message) -> bool {
        matches!(self.0.push(message.clone()), Pushed::Kept { .. })
    }

    /// Returns figures of the queue.
    #[must_use]
    pub fn stats(&self) -> QueueStats {
        self.0.stats()
    }
}

/// Keeps a subscription at a [`Broker`] alive; dropping it ends the subscription.
#[must_use = "dropping it ends the subscription"]
pub struct Interest(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Interest {
    /// Makes one that calls `end` when it is dropped.
    pub fn new(end: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(end)))
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interest")
    }
}
