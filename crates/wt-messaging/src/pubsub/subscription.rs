//! Subscriptions: streams of messages.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;

use super::{Interest, Message, Pattern, PubSub, QueueStats, SubscriptionEnd, queue::Queue};

/// The messages of one topic or pattern: a [`Stream`] with a bounded queue.
///
/// Messages are kept from the moment of subscribing. The stream ends after the messages that were in
/// the queue when the subscription ended; [`Self::end`] tells why.
///
/// Dropping it unsubscribes. It keeps its [`PubSub`] open.
#[derive(Debug)]
pub struct Subscription {
    pattern: Pattern,
    queue: Arc<Queue>,
    source: Source,
}

/// Where the messages come from.
#[derive(Debug)]
enum Source {
    Client(PubSub),
    /// Dropping it ends the interest.
    Broker(#[allow(dead_code, reason = "held, not used")] Interest),
}

impl Subscription {
    pub(super) const fn of_client(pattern: Pattern, queue: Arc<Queue>, client: PubSub) -> Self {
        Self {
            pattern,
            queue,
            source: Source::Client(client),
        }
    }

    pub(super) const fn of_broker(pattern: Pattern, queue: Arc<Queue>, interest: Interest) -> Self {
        Self {
            pattern,
            queue,
            source: Source::Broker(interest),
        }
    }

    /// Returns what was subscribed to.
    #[must_use]
    #[doc(alias = "topic")]
    pub const fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// Waits for the next message; `None` at the end.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped before it is ready, no message is lost.
    pub async fn recv(&mut self) -> Option<Message> {
        self.queue.next().await
    }

    /// Returns why it ended, or `None` while it goes on. Messages may still be in the queue.
    #[must_use]
    pub fn end(&self) -> Option<SubscriptionEnd> {
        self.queue.end_reason()
    }

    /// Returns figures of its queue, such as how many messages were dropped.
    #[must_use]
    pub fn stats(&self) -> QueueStats {
        self.queue.stats()
    }

    /// Ends it, as dropping does.
    ///
    /// Other subscriptions to the same topic go on; [`PubSub::unsubscribe`] ends them all.
    pub fn unsubscribe(self) {
        drop(self);
    }
}

impl Stream for Subscription {
    type Item = Message;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.queue.poll_next(cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.queue.abandon();
        if let Source::Client(client) = &self.source {
            client.leave(&self.pattern, &self.queue);
        }
    }
}
