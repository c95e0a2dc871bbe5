//! The broker within one process.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use super::{
    Broker, BrokerError, BrokerStats, Feed, Interest, history::History, stats::Counter, tree::Tree,
};
use crate::pubsub::{
    Message, Pattern, PubSubError, QueueConfig, Subscription, SubscriptionEnd, Topic,
    queue::{Pushed, Queue},
};

/// Limits of a [`MemoryBroker`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerConfig {
    /// The most topics and patterns that have subscribers; and, apart from that, the most topics in
    /// the history. Default: 10,000.
    pub max_topics: usize,
    /// The most subscriptions. Default: 100,000.
    pub max_subscriptions: usize,
    /// The largest payload, in bytes. Default: 1 MiB.
    pub max_message_size: usize,
    /// How many of the last messages of a topic new subscribers get. Default: 0.
    pub history: usize,
    /// The most bytes in the history of all topics: payloads, topics and 128 for each message. The
    /// oldest of all go first. Default: 16 MiB.
    pub history_bytes: usize,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            max_topics: 10_000,
            max_subscriptions: 100_000,
            max_message_size: 1 << 20,
            history: 0,
            history_bytes: 16 << 20,
        }
    }
}

impl BrokerConfig {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`Self::max_topics`].
    #[must_use]
    pub fn with_max_topics(mut self, topics: usize) -> Self {
        self.max_topics = topics;
        self
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

    /// Sets [`Self::history`].
    #[must_use]
    pub fn with_history(mut self, messages: usize) -> Self {
        self.history = messages;
        self
    }

    /// Sets [`Self::history_bytes`].
    #[must_use]
    pub fn with_history_bytes(mut self, bytes: usize) -> Self {
        self.history_bytes = bytes;
        self
    }
}

/// The broker within one process.
///
/// All subscribers get the messages of a topic in the same order. A message is shared, not copied,
/// however many there are.
///
/// A cheap handle: clones speak of the same broker. It runs no task.
///
/// ```
/// use wt_messaging::pubsub::MemoryBroker;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = MemoryBroker::new();
/// let mut all = broker.subscribe("rooms/#", Default::default())?;
/// assert_eq!(broker.publish("rooms/7", "hello").await?, 1);
/// assert_eq!(all.recv().await.unwrap().text(), Some("hello"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MemoryBroker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: BrokerConfig,
    table: Mutex<Table>,
    closed: AtomicBool,
    ids: AtomicU64,
    published: Counter,
    delivered: Counter,
    dropped: Counter,
    ended: Counter,
    waits: Counter,
}

#[derive(Debug)]
struct Table {
    feeds: Tree<Feed>,
    subscriptions: usize,
    history: History,
}

impl Default for MemoryBroker {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryBroker {
    /// Makes a broker with the default limits and without history.
    #[must_use]
    pub fn new() -> Self {
        Self::with_config(BrokerConfig::default())
    }

    /// Makes a broker.
    #[must_use]
    pub fn with_config(config: BrokerConfig) -> Self {
        let history = History::new(config.history, config.max_topics, config.history_bytes);
        Self(Arc::new(Inner {
            config,
            table: Mutex::new(Table {
                feeds: Tree::default(),
                subscriptions: 0,
                history,
            }),
            closed: AtomicBool::new(false),
            ids: AtomicU64::new(0),
            published: Counter::default(),
            delivered: Counter::default(),
            dropped: Counter::default(),
            ended: Counter::default(),
            waits: Counter::default(),
        }))
    }

    /// Returns its limits.
    #[must_use]
    pub fn config(&self) -> &BrokerConfig {
        &self.0.config
    }

    /// Returns figures.
    #[must_use]
    pub fn stats(&self) -> BrokerStats {
        let inner = &self.0;
        let table = inner.table();
        BrokerStats {
            published: inner.published.get(),
            delivered: inner.delivered.get(),
            dropped: inner.dropped.get(),
            ended: inner.ended.get(),
            waits: inner.waits.get(),
            topics: table.feeds.patterns(),
            subscriptions: table.subscriptions,
            history: table.history.len(),
            history_bytes: table.history.bytes(),
        }
    }

    /// Publishes from within the process; returns how many subscribers got the message.
    ///
    /// Waits for subscribers that are full ([`QueueConfig::patience`]).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped before it is ready, nothing was published.
    ///
    /// # Errors
    ///
    /// [`PubSubError::Topic`], [`PubSubError::TooLarge`], or [`PubSubError::Broker`] when the broker
    /// was closed.
    pub async fn publish<T: TryInto<Topic>>(
        &self,
        topic: T,
        payload: impl Into<bytes::Bytes>,
    ) -> Result<usize, PubSubError>
    where
        PubSubError: From<T::Error>,
    {
        let message = Message::new(topic.try_into()?, payload);
        Ok(self.publish_message(&message).await?)
    }

    /// Subscribes from within the process.
    ///
    /// # Errors
    ///
    /// [`PubSubError::Topic`], or [`PubSubError::Broker`] when a limit is reached or the broker was
    /// closed.
    pub fn subscribe<P: TryInto<Pattern>>(
        &self,
        pattern: P,
        queue: QueueConfig,
    ) -> Result<Subscription, PubSubError>
    where
        PubSubError: From<P::Error>,
    {
        let pattern = pattern.try_into()?;
        let queue = Arc::new(Queue::new(queue));
        let interest = self.add(&pattern, Feed(queue.clone()))?;
        Ok(Subscription::of_broker(pattern, queue, interest))
    }

    /// Ends all subscriptions and takes nothing any more.
    pub fn close(&self) {
        self.0.closed.store(true, Relaxed);
        let table = std::mem::take(&mut self.0.table().feeds);
        table.for_each(&mut |feed| {
            feed.0.end(SubscriptionEnd::BrokerClosed);
        });
    }

    async fn publish_message(&self, message: &Message) -> Result<usize, BrokerError> {
        let inner = &self.0;
        let (size, max) = (message.payload().len(), inner.config.max_message_size);
        if size > max {
            return Err(BrokerError::TooLarge { size, max });
        }
        loop {
            match inner.try_publish(message)? {
                Ok(count) => return Ok(count),
                Err(full) => {
                    inner.waits.one();
                    full.ready(message).await;
                }
            }
        }
    }

    fn add(&self, pattern: &Pattern, feed: Feed) -> Result<Interest, BrokerError> {
        let inner = &self.0;
        let id = inner.ids.fetch_add(1, Relaxed);
        let mut table = inner.table();
        inner.check_open()?;
        let config = &inner.config;
        if table.subscriptions >= config.max_subscriptions {
            return Err(BrokerError::TooManySubscriptions(config.max_subscriptions));
        }
        if table.feeds.patterns() >= config.max_topics && !table.feeds.contains(pattern) {
            return Err(BrokerError::TooManyTopics(config.max_topics));
        }
        for message in table.history.of(pattern) {
            inner.push(&feed, &message);
        }
        table.feeds.insert(pattern, id, feed);
        table.subscriptions += 1;
        drop(table);
        let (inner, pattern) = (Arc::downgrade(&self.0), pattern.clone());
        Ok(Interest::new(move || {
            if let Some(inner) = inner.upgrade() {
                let mut table = inner.table();
                table.feeds.remove(&pattern, id);
                table.subscriptions -= 1;
            }
        }))
    }
}

impl Inner {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_open(&self) -> Result<(), BrokerError> {
        if self.closed.load(Relaxed) {
            return Err(BrokerError::Unavailable("it was closed".to_owned()));
        }
        Ok(())
    }

    /// Hands the message to all who want it, or gives one of them that has to be waited for.
    ///
    /// All of it under one lock: everybody sees the same order.
    fn try_publish(&self, message: &Message) -> Result<Result<usize, Feed>, BrokerError> {
        let mut table = self.table();
        self.check_open()?;
        let mut feeds: Vec<&Feed> = Vec::new();
        let mut patterns = 0;
        table.feeds.matching(message.topic(), &mut |values| {
            patterns += 1;
            feeds.extend(values);
        });
        // One that came by one pattern only cannot be there twice, unless it subscribed twice.
        if patterns > 1 {
            feeds.sort_unstable_by_key(|feed| feed.id());
            feeds.dedup_by_key(|feed| feed.id());
        }
        let size = message.size();
        if let Some(full) = feeds.iter().find(|feed| feed.0.must_wait(size).is_some()) {
            return Ok(Err((*full).clone()));
        }
        let kept = feeds.iter().filter(|feed| self.push(feed, message)).count();
        drop(feeds);
        table.history.add(message);
        drop(table);
        self.published.one();
        Ok(Ok(kept))
    }

    fn push(&self, feed: &Feed, message: &Message) -> bool {
        match feed.0.push(message.clone()) {
            Pushed::Kept { dropped } => {
                self.delivered.one();
                self.dropped.add(dropped);
                return true;
            }
            Pushed::Dropped => self.dropped.one(),
            Pushed::EndedIt => self.ended.one(),
            Pushed::Over => {}
        }
        false
    }
}

impl Broker for MemoryBroker {
    async fn publish(&self, message: Message) -> Result<usize, BrokerError> {
        self.publish_message(&message).await
    }

    async fn subscribe(&self, pattern: Pattern, feed: Feed) -> Result<Interest, BrokerError> {
        self.add(&pattern, feed)
    }
}
