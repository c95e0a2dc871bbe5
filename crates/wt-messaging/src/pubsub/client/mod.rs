//! The client of a broker.

mod config;
mod outgoing;
mod run;
mod table;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use bytes::Bytes;
use tokio::sync::{oneshot, watch};
use wt_core::{BiStream, Session, SessionError};

pub use self::config::{PubSubConfig, PubSubStats, SubscribeOptions};
use self::{
    outgoing::Closed,
    table::{Added, Table},
};
use super::{
    Pattern, PubSubEnd, PubSubError, Subscription, SubscriptionEnd, Topic, queue::Queue, wire,
};

/// A client of a broker, on one bidirectional stream.
///
/// The broker is a [`PubSubService`](super::PubSubService), or a program that speaks the protocol of
/// PyWebTransport 0.8. Towards the latter subscribe to plain topics: only our broker knows
/// wildcards.
///
/// A cheap handle: clones and subscriptions speak of the same client. It ends with the stream, by
/// [`Self::close`], or when the last clone and the last [`Subscription`] are dropped; what was
/// published by then is still sent.
#[derive(Clone)]
#[doc(alias = "PubSubManager")]
pub struct PubSub(Arc<Handle>);

/// What the handles share; the last one closes the client.
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.begin_close();
    }
}

/// What the handles share with the task.
struct Shared {
    config: PubSubConfig,
    created: SystemTime,
    table: Mutex<Table>,
    outgoing: outgoing::Queue,
    closing: watch::Sender<bool>,
    end: watch::Sender<Option<PubSubEnd>>,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    published: Counter,
    received: Counter,
    dropped: Counter,
    errors: Counter,
}

#[derive(Default)]
struct Counter(AtomicU64);

impl Counter {
    fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl PubSub {
    /// Opens a stream to the broker at the other end of a session.
    ///
    /// # Errors
    ///
    /// [`SessionError`] when the session is over.
    ///
    /// # Panics
    ///
    /// When it is called outside of a tokio runtime.
    pub async fn open(session: &Session) -> Result<Self, SessionError> {
        Self::open_with(session, PubSubConfig::default()).await
    }

    /// Opens a stream, with other limits than the default; otherwise like [`Self::open`].
    ///
    /// # Errors
    ///
    /// [`SessionError`] when the session is over.
    ///
    /// # Panics
    ///
    /// When it is called outside of a tokio runtime.
    pub async fn open_with(session: &Session, config: PubSubConfig) -> Result<Self, SessionError> {
        let stream = session.open_bi().await?;
        Ok(Self::start(stream, Some(session.clone()), config))
    }

    /// Uses a stream that is there already, on either side of a session: the other end has to be a
    /// broker. [`PubSubConfig::datagrams`] has no effect here.
    ///
    /// # Panics
    ///
    /// When it is called outside of a tokio runtime.
    #[must_use]
    pub fn new(stream: BiStream, config: PubSubConfig) -> Self {
        let config = config.with_datagrams(false);
        Self::start(stream, None, config)
    }

    fn start(stream: BiStream, session: Option<Session>, config: PubSubConfig) -> Self {
        let shared = Arc::new(Shared {
            created: SystemTime::now(),
            table: Mutex::default(),
            outgoing: outgoing::Queue::new(config.send_buffer),
            closing: watch::Sender::new(false),
            end: watch::Sender::new(None),
            counters: Counters::default(),
            config,
        });
        // It ends with the stream, or within `close_timeout` after the last handle was dropped.
        tokio::spawn(run::run(shared.clone(), stream, session));
        Self(Arc::new(Handle(shared)))
    }

    fn shared(&self) -> &Shared {
        &self.0.0
    }

    /// Publishes text or bytes: `&'static str`, `String`, `Vec<u8>`, [`Bytes`].
    ///
    /// Waits while [`PubSubConfig::send_buffer`] is full. The broker does not confirm messages: one
    /// that it refuses is dropped there. [`Self::close`] waits until the broker has all of them.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped before it is ready, nothing was published.
    ///
    /// # Errors
    ///
    /// [`PubSubError::Topic`], [`PubSubError::TooLarge`], or [`PubSubError::Closed`] when the client
    /// is over.
    pub async fn publish<T: TryInto<Topic>>(
        &self,
        topic: T,
        data: impl Into<Bytes>,
    ) -> Result<(), PubSubError>
    where
        PubSubError: From<T::Error>,
    {
        let (topic, data) = (topic.try_into()?, data.into());
        let shared = self.shared();
        let (size, max) = (data.len(), shared.config.max_message_size);
        if size > max {
            return Err(PubSubError::TooLarge { size, max });
        }
        let line = wire::publish_line(&topic, size);
        let room = shared.outgoing.reserve(line.len() + size).await;
        let room = room.map_err(|Closed| shared.closed())?;
        shared.outgoing.push(line.into(), data, Some(room));
        shared.counters.published.add(1);
        Ok(())
    }

    /// Subscribes to a topic or a [`Pattern`] and waits for the broker to confirm.
    ///
    /// See [`Self::subscribe_with`].
    ///
    /// # Errors
    ///
    /// See [`PubSubError`].
    pub async fn subscribe<P: TryInto<Pattern>>(
        &self,
        pattern: P,
    ) -> Result<Subscription, PubSubError>
    where
        PubSubError: From<P::Error>,
    {
        self.subscribe_with(pattern, SubscribeOptions::default())
            .await
    }

    /// Subscribes with a queue and a time limit of choice.
    ///
    /// Each subscription gets all messages; the broker hears of the first one to a topic and of the
    /// end of the last one. Its history, if it keeps one, comes to the first.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped before it is ready, there is no subscription.
    ///
    /// # Errors
    ///
    /// [`PubSubError::Refused`] with the broker's words, [`PubSubError::TimedOut`],
    /// [`PubSubError::TooManySubscriptions`], [`PubSubError::Topic`], or [`PubSubError::Closed`] when
    /// the client is over or ends meanwhile.
    pub async fn subscribe_with<P: TryInto<Pattern>>(
        &self,
        pattern: P,
        options: SubscribeOptions,
    ) -> Result<Subscription, PubSubError>
    where
        PubSubError: From<P::Error>,
    {
        let pattern = pattern.try_into()?;
        let asked = self.ask(pattern, options).await;
        if asked.is_err() {
            self.shared().counters.errors.add(1);
        }
        asked
    }

    async fn ask(
        &self,
        pattern: Pattern,
        options: SubscribeOptions,
    ) -> Result<Subscription, PubSubError> {
        let shared = self.shared();
        let deadline = tokio::time::sleep(options.timeout);
        tokio::pin!(deadline);
        let timed_out = |pattern| PubSubError::TimedOut {
            pattern,
            after: options.timeout,
        };
        let line = wire::subscribe_line(&pattern, shared.config.datagrams);
        let room = tokio::select! {
            room = shared.outgoing.reserve(line.len()) => room.map_err(|Closed| shared.closed())?,
            () = &mut deadline => return Err(timed_out(pattern)),
        };
        let queue = Arc::new(Queue::new(options.queue));
        let (tell, answer) = oneshot::channel();
        {
            let mut table = shared.table();
            if let Some(end) = &table.end {
                return Err(PubSubError::Closed(end.clone()));
            }
            let max = shared.config.max_subscriptions;
            if table.count() >= max {
                return Err(PubSubError::TooManySubscriptions(max));
            }
            // Under the lock, so that SUB and UNSUB go out in the order of what they speak of.
            match table.add(&pattern, queue.clone(), tell) {
                Added::First => shared.outgoing.push(line, Bytes::new(), Some(room)),
                Added::Waiting => drop(room),
                Added::Confirmed => {
                    drop(table);
                    return Ok(Subscription::of_client(pattern, queue, self.clone()));
                }
            }
        }
        // From here on dropping it cleans up.
        let subscription = Subscription::of_client(pattern.clone(), queue, self.clone());
        tokio::select! {
            biased;
            answer = answer => match answer {
                Ok(Ok(())) => Ok(subscription),
                Ok(Err(reason)) => Err(PubSubError::Refused { pattern, reason }),
                Err(_) => match subscription.end() {
                    Some(SubscriptionEnd::Closed(end)) => Err(PubSubError::Closed(end)),
                    _ => Err(PubSubError::NotSubscribed(pattern)),
                },
            },
            () = deadline => Err(timed_out(pattern)),
        }
    }

    /// Ends all subscriptions of this client to a topic or pattern: they give what is in their queues,
    /// then end.
    ///
    /// # Errors
    ///
    /// [`PubSubError::NotSubscribed`] when there is none, [`PubSubError::Topic`], or
    /// [`PubSubError::Closed`] when the client is over.
    pub fn unsubscribe<P: TryInto<Pattern>>(&self, pattern: P) -> Result<(), PubSubError>
    where
        PubSubError: From<P::Error>,
    {
        let pattern = pattern.try_into()?;
        let shared = self.shared();
        let mut table = shared.table();
        if let Some(end) = &table.end {
            return Err(PubSubError::Closed(end.clone()));
        }
        if !table.end_all(pattern.as_str(), &SubscriptionEnd::Unsubscribed) {
            return Err(PubSubError::NotSubscribed(pattern));
        }
        let line = wire::unsubscribe_line(&pattern);
        shared.outgoing.push(line, Bytes::new(), None);
        Ok(())
    }

    /// A subscription was dropped.
    pub(super) fn leave(&self, pattern: &Pattern, queue: &Arc<Queue>) {
        let shared = self.shared();
        let mut table = shared.table();
        if table.leave(pattern, queue) {
            let line = wire::unsubscribe_line(pattern);
            shared.outgoing.push(line, Bytes::new(), None);
        }
    }

    /// Returns figures.
    #[must_use]
    pub fn stats(&self) -> PubSubStats {
        let shared = self.shared();
        let table = shared.table();
        PubSubStats {
            created_at: shared.created,
            topics_subscribed: table.topics(),
            subscriptions: table.count(),
            messages_published: shared.counters.published.get(),
            messages_received: shared.counters.received.get(),
            messages_dropped: shared.counters.dropped.get(),
            subscription_errors: shared.counters.errors.get(),
        }
    }

    /// Returns how the client ended, or `None` while it goes on.
    #[must_use]
    pub fn end(&self) -> Option<PubSubEnd> {
        self.shared().end.borrow().clone()
    }

    /// Waits until the client is over.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn closed(&self) -> PubSubEnd {
        let mut end = self.shared().end.subscribe();
        match end.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(end)) => end.clone(),
            _ => PubSubEnd::Closed,
        }
    }

    /// Closes the client: ends the subscriptions, waits until the broker has all that was published,
    /// at most for [`PubSubConfig::close_timeout`], and ends the stream.
    ///
    /// Subscribing and publishing that wait fail. Closing again waits for the same end.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it goes on in the background.
    ///
    /// # Errors
    ///
    /// [`PubSubError::Closed`] with another end than [`PubSubEnd::Closed`]: it had ended before, or
    /// not all could be sent.
    pub async fn close(&self) -> Result<(), PubSubError> {
        self.shared().begin_close();
        match self.closed().await {
            PubSubEnd::Closed => Ok(()),
            end => Err(PubSubError::Closed(end)),
        }
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    fn begin_close(&self) {
        self.outgoing.close();
        self.table().close(&PubSubEnd::Closed);
        self.closing.send_replace(true);
    }

    fn finish(&self, end: &PubSubEnd) {
        self.outgoing.close();
        self.table().close(end);
        self.end.send_replace(Some(end.clone()));
    }

    fn closed(&self) -> PubSubError {
        let end = self.table().end.clone();
        PubSubError::Closed(end.unwrap_or(PubSubEnd::Closed))
    }
}

impl fmt::Debug for PubSub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PubSub")
            .field("stats", &self.stats())
            .field("end", &self.end())
            .finish_non_exhaustive()
    }
}
