//! What can go wrong, and how things end.

use std::{convert::Infallible, time::Duration};

use wt_core::{ReadError, SessionError, WriteError};

use super::{InvalidTopic, Pattern, WireError};

/// Why something could not be published or subscribed to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PubSubError {
    /// The topic or pattern breaks the rules for one.
    #[error(transparent)]
    Topic(#[from] InvalidTopic),
    /// The payload is larger than the configuration allows; nothing was sent.
    #[error("a message of {size} bytes is over the limit of {max}")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// The broker refused the subscription.
    #[error("the broker refused the subscription to {pattern}: {reason}")]
    #[doc(alias = "SubscriptionFailedError")]
    Refused {
        /// What was subscribed to.
        pattern: Pattern,
        /// The broker's words.
        reason: String,
    },
    /// The broker did not answer in time.
    #[error("the broker did not answer the subscription to {pattern} within {after:?}")]
    #[doc(alias = "SubscriptionFailedError")]
    TimedOut {
        /// What was subscribed to.
        pattern: Pattern,
        /// The time limit.
        after: Duration,
    },
    /// There is no subscription to this.
    #[error("not subscribed to {0}")]
    #[doc(alias = "NotSubscribedError")]
    NotSubscribed(Pattern),
    /// There are as many subscriptions as the configuration allows; end one first.
    #[error("there are {0} subscriptions already, the most that the configuration allows")]
    TooManySubscriptions(usize),
    /// The broker within this process did not take it.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The client is over.
    #[error("the client is over")]
    Closed(#[source] PubSubEnd),
}

impl From<Infallible> for PubSubError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl PubSubError {
    /// Returns whether time ran out.
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut { .. })
    }
}

/// How a client ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PubSubEnd {
    /// It was closed, or its last handle was dropped.
    #[error("it was closed here")]
    Closed,
    /// It was closed, and not all that had been published was sent within the time for it.
    #[error("it was closed here, and messages could not be sent in time")]
    Unsent,
    /// The broker ended the stream in order.
    #[error("the broker ended the stream")]
    Finished,
    /// The stream could not be read any more.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The stream could not be written any more.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The session ended.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The broker broke the protocol; the stream was aborted with code 0.
    #[error("the broker broke the protocol")]
    Protocol(#[from] WireError),
}

/// How a subscription ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscriptionEnd {
    /// It was unsubscribed.
    #[error("it was unsubscribed")]
    Unsubscribed,
    /// Its queue was full, and its policy is [`Overflow::End`](super::Overflow::End).
    #[error("it did not keep up: its queue was full")]
    TooSlow,
    /// The broker took the subscription back.
    #[error("the broker refused it: {0}")]
    Refused(String),
    /// Its client is over.
    #[error("its client is over")]
    Closed(#[source] PubSubEnd),
    /// Its broker is over.
    #[error("the broker was closed")]
    BrokerClosed,
}

/// Why a [`Broker`](super::Broker) did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// The payload is larger than the broker takes.
    #[error("a message of {size} bytes is over the limit of {max}")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// There are as many topics and patterns with subscribers as the broker takes.
    #[error("too many topics: the limit is {0}")]
    TooManyTopics(usize),
    /// There are as many subscriptions as the broker takes.
    #[error("too many subscriptions: the limit is {0}")]
    TooManySubscriptions(usize),
    /// The broker was closed, or what it stands for is out of reach.
    #[error("the broker is not available: {0}")]
    Unavailable(String),
}
