//! Publish-subscribe: a client, and the broker for it.
//!
//! Messages are published under a [`Topic`]; who subscribed to it, or to a [`Pattern`] that it
//! matches, gets them. Between client and broker the protocol of PyWebTransport 0.8 is spoken on one
//! bidirectional stream, so that either end can be one of its programs.
//!
//! | Type | Is |
//! |---|---|
//! | [`PubSub`] | the client: publishes and subscribes |
//! | [`Subscription`] | a stream of messages with a bounded queue |
//! | [`PubSubService`] | serves the sessions of a server, with limits and an authorisation hook |
//! | [`MemoryBroker`] | the broker within this process; [`Broker`] is the trait for others |
//!
//! ```no_run
//! use futures_util::StreamExt as _;
//! use wt_core::Session;
//! use wt_messaging::pubsub::{MemoryBroker, PubSub, PubSubService};
//!
//! // The server: one service for all its sessions.
//! let service = PubSubService::new(MemoryBroker::new());
//! # let serve = |session: Session| async move {
//! service.serve(&session).await;
//! # };
//!
//! # async fn client(session: Session) -> Result<(), Box<dyn std::error::Error>> {
//! // The client.
//! let pubsub = PubSub::open(&session).await?;
//! let mut rooms = pubsub.subscribe("rooms/#").await?;
//! pubsub.publish("rooms/7", "hello").await?;
//! if let Some(message) = rooms.next().await {
//!     println!("{}: {:?}", message.topic(), message.text());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Who does not keep up
//!
//! Every queue is bounded ([`QueueConfig`]). Nothing is lost while a subscriber reads: publishers
//! wait for it. One that stalls is waited for once, for [`QueueConfig::patience`]; then its policy
//! ([`Overflow`]) decides about its messages, and the others go on at full speed.

#[doc(hidden)]
pub mod __fuzz;
mod broker;
mod client;
mod error;
mod fault;
mod message;
mod queue;
mod subscription;
mod topic;
mod wire;

pub use self::{
    broker::{
        Access, Broker, BrokerConfig, BrokerStats, Denied, Feed, Interest, MemoryBroker,
        PubSubService, ServiceConfig, ServiceStats,
    },
    client::{PubSub, PubSubConfig, PubSubStats, SubscribeOptions},
    error::{BrokerError, PubSubEnd, PubSubError, SubscriptionEnd},
    message::Message,
    queue::{Overflow, QueueConfig, QueueStats},
    subscription::Subscription,
    topic::{InvalidTopic, Pattern, Topic},
    wire::WireError,
};
