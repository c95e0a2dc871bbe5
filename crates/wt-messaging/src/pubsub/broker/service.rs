//! Serves the sessions of a server from a broker.

use std::{fmt, sync::Arc};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use wt_core::{BiStream, Session, SessionError};

use super::{Broker, MemoryBroker, ServiceStats, link, stats::Counter};
use crate::pubsub::{Pattern, QueueConfig, Topic};

/// Limits of a [`PubSubService`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceConfig {
    /// The most streams, that is, clients, that are served for one session at a time; further ones
    /// wait. Default: 16.
    pub max_streams: usize,
    /// The most topics and patterns that one stream is subscribed to. Default: 256.
    pub max_subscriptions: usize,
    /// The largest payload that is taken from clients, in bytes. Default: 1 MiB.
    pub max_message_size: usize,
    /// What is kept for one client that does not read, and what happens beyond it. All its
    /// subscriptions share this queue, so that it gets messages in the order in which they were
    /// published; a client that chose datagrams has a second one for these. [`Overflow::End`](crate::pubsub::Overflow::End) resets its stream with
    /// [`PubSubService::TOO_SLOW`].
    pub queue: QueueConfig,
    /// Whether clients may choose datagrams. Default: yes.
    pub datagrams: bool,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self {
            max_streams: 16,
            max_subscriptions: 256,
            max_message_size: 1 << 20,
            queue: QueueConfig::default(),
            datagrams: true,
        }
    }
}

impl ServiceConfig {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`Self::max_streams`].
    #[must_use]
    pub fn with_max_streams(mut self, streams: usize) -> Self {
        self.max_streams = streams;
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

    /// Sets [`Self::queue`].
    #[must_use]
    pub fn with_queue(mut self, queue: QueueConfig) -> Self {
        self.queue = queue;
        self
    }

    /// Sets [`Self::datagrams`].
    #[must_use]
    pub fn with_datagrams(mut self, allowed: bool) -> Self {
        self.datagrams = allowed;
        self
    }
}

/// What a client wants to do, for the hook of [`PubSubService::with_authorize`] to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access<'a> {
    /// Publish to this topic.
    Publish(&'a Topic),
    /// Subscribe to this topic or pattern. A pattern such as `#` asks for all that it matches.
    Subscribe(&'a Pattern),
}

/// Why a client may not do it; for a subscription the client gets these words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Denied(String);

impl Denied {
    /// Refuses, with a reason for the client.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

pub(super) type Authorize = dyn Fn(&Session, Access<'_>) -> Result<(), Denied> + Send + Sync;

/// Serves sessions from a [`Broker`]: the protocol of PyWebTransport 0.8, with limits and a hook
/// that authorises.
///
/// One service serves any number of sessions; all their clients meet at its broker. It runs no task
/// of its own: [`Self::serve`] does the work for one session where it is awaited.
///
/// A cheap handle: clones speak of the same service.
pub struct PubSubService<B = MemoryBroker>(Arc<Shared<B>>);

pub(super) struct Shared<B> {
    pub(super) broker: Arc<B>,
    pub(super) config: ServiceConfig,
    pub(super) authorize: Option<Arc<Authorize>>,
    pub(super) counters: Arc<Counters>,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) clients: Counter,
    pub(super) clients_total: Counter,
    pub(super) published: Counter,
    pub(super) sent: Counter,
    pub(super) sent_datagrams: Counter,
    pub(super) refused: Counter,
    pub(super) rejected: Counter,
    pub(super) too_slow: Counter,
    pub(super) violations: Counter,
}

impl<B: Broker> PubSubService<B> {
    /// The application's code with which the stream of a client that does not keep up is reset, when
    /// the policy is [`Overflow::End`](crate::pubsub::Overflow::End).
    pub const TOO_SLOW: u32 = 1;

    /// Makes a service with the default limits, in which every client may do everything.
    pub fn new(broker: B) -> Self {
        Self::with_config(broker, ServiceConfig::default())
    }

    /// Makes a service in which every client may do everything.
    pub fn with_config(broker: B, config: ServiceConfig) -> Self {
        Self(Arc::new(Shared {
            broker: Arc::new(broker),
            config,
            authorize: None,
            counters: Arc::default(),
        }))
    }

    /// Has `authorize` decide about each message and each subscription.
    ///
    /// It is called often and has to be quick: what needs a database belongs to the moment when the
    /// session is accepted. A refused subscription is answered with the reason; a refused message is
    /// dropped and counted, since the protocol has no answer to it.
    #[must_use]
    pub fn with_authorize(
        self,
        authorize: impl Fn(&Session, Access<'_>) -> Result<(), Denied> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Shared {
            broker: self.0.broker.clone(),
            config: self.0.config.clone(),
            authorize: Some(Arc::new(authorize)),
            counters: self.0.counters.clone(),
        }))
    }

    /// Returns the broker, to publish and to subscribe from within the process.
    #[must_use]
    pub fn broker(&self) -> &B {
        &self.0.broker
    }

    /// Returns the limits.
    #[must_use]
    pub fn config(&self) -> &ServiceConfig {
        &self.0.config
    }

    /// Returns figures.
    #[must_use]
    pub fn stats(&self) -> ServiceStats {
        let counters = &self.0.counters;
        ServiceStats {
            clients: counters.clients.get(),
            clients_total: counters.clients_total.get(),
            published: counters.published.get(),
            sent: counters.sent.get(),
            sent_datagrams: counters.sent_datagrams.get(),
            refused: counters.refused.get(),
            rejected: counters.rejected.get(),
            too_slow: counters.too_slow.get(),
            violations: counters.violations.get(),
        }
    }

    /// Serves all bidirectional streams of a session until it ends; returns how it ended.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the streams are reset with code 0 and their subscriptions end.
    pub async fn serve(&self, session: &Session) -> SessionError {
        let mut links = FuturesUnordered::new();
        loop {
            tokio::select! {
                stream = session.accept_bi(), if links.len() < self.0.config.max_streams.max(1) => {
                    match stream {
                        Ok(stream) => links.push(self.serve_stream(session, stream)),
                        Err(end) => return end,
                    }
                }
                Some(()) = links.next() => {}
                end = session.closed() => return end,
            }
        }
    }

    /// Serves one stream that a client opened, until either side ends it.
    ///
    /// For servers that use other streams of the session for something else; otherwise see
    /// [`Self::serve`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the stream is reset with code 0 and its subscriptions end.
    pub async fn serve_stream(&self, session: &Session, stream: BiStream) {
        let counters = &self.0.counters;
        counters.clients_total.one();
        counters.clients.one();
        let _served = Served(counters);
        link::serve(&self.0, session, stream).await;
    }
}

/// A client that is served.
struct Served<'a>(&'a Counters);

impl Drop for Served<'_> {
    fn drop(&mut self) {
        self.0.clients.less();
    }
}

impl<B> Clone for PubSubService<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<B: fmt::Debug> fmt::Debug for PubSubService<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PubSubService")
            .field("broker", &self.0.broker)
            .field("config", &self.0.config)
            .finish_non_exhaustive()
    }
}
