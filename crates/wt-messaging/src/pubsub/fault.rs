//! What each error of publish-subscribe is about.

use wt_core::fault::{Category, Fault};

use super::{
    BrokerError, Denied, InvalidTopic, PubSubEnd, PubSubError, SubscriptionEnd, WireError,
};

impl Fault for InvalidTopic {
    fn category(&self) -> Category {
        Category::Client
    }
}

impl Fault for WireError {
    fn category(&self) -> Category {
        Category::Protocol
    }
}

impl Fault for Denied {
    fn category(&self) -> Category {
        Category::Authentication
    }
}

impl Fault for BrokerError {
    fn category(&self) -> Category {
        match self {
            Self::TooLarge { .. } => Category::Client,
            // Room may come back.
            Self::TooManyTopics(_) | Self::TooManySubscriptions(_) | Self::Unavailable(_) => {
                Category::Server
            }
        }
    }
}

impl Fault for PubSubEnd {
    fn category(&self) -> Category {
        match self {
            Self::Closed | Self::Finished => Category::Stream,
            Self::Unsent => Category::Timeout,
            Self::Read(error) => error.category(),
            Self::Write(error) => error.category(),
            Self::Session(error) => error.category(),
            Self::Protocol(error) => error.category(),
        }
    }

    fn is_retriable(&self) -> bool {
        match self {
            // What was not sent is lost, and may have been sent in part.
            Self::Closed | Self::Finished | Self::Unsent => false,
            Self::Read(error) => error.is_retriable(),
            Self::Write(error) => error.is_retriable(),
            Self::Session(error) => error.is_retriable(),
            Self::Protocol(error) => error.is_retriable(),
        }
    }
}

impl Fault for SubscriptionEnd {
    fn category(&self) -> Category {
        match self {
            Self::Closed(end) => end.category(),
            Self::BrokerClosed => Category::Server,
            Self::TooSlow => Category::FlowControl,
            // As in PyWebTransport: the words of the broker say more.
            Self::Unsubscribed | Self::Refused(_) => Category::Unknown,
        }
    }

    fn is_retriable(&self) -> bool {
        match self {
            Self::Closed(end) => end.is_retriable(),
            Self::TooSlow => true,
            _ => false,
        }
    }
}

impl Fault for PubSubError {
    fn category(&self) -> Category {
        match self {
            Self::Topic(error) => error.category(),
            Self::TooLarge { .. } | Self::NotSubscribed(_) | Self::TooManySubscriptions(_) => {
                Category::Client
            }
            // As in PyWebTransport: the words of the broker say more.
            Self::Refused { .. } => Category::Unknown,
            Self::TimedOut { .. } => Category::Timeout,
            Self::Broker(error) => error.category(),
            Self::Closed(end) => end.category(),
        }
    }

    fn is_retriable(&self) -> bool {
        match self {
            Self::TimedOut { .. } => true,
            Self::Broker(error) => error.is_retriable(),
            Self::Closed(end) => end.is_retriable(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wt_core::{ConnectionError, SessionError};

    use super::*;
    use crate::pubsub::Pattern;

    #[test]
    fn errors_say_whether_to_try_again() {
        let pattern = || Pattern::new("a").unwrap();
        let timed_out = PubSubError::TimedOut {
            pattern: pattern(),
            after: Duration::from_secs(10),
        };
        let lost = SessionError::Connection(ConnectionError::TimedOut);
        let lost = PubSubError::Closed(PubSubEnd::Session(lost));
        for error in [timed_out, lost] {
            assert_eq!(error.category(), Category::Timeout);
            assert!(error.is_retriable() && !error.is_fatal(), "{error}");
        }
        let refused = PubSubError::Refused {
            pattern: pattern(),
            reason: "no".to_owned(),
        };
        let topic = PubSubError::Topic(InvalidTopic::Empty);
        for error in [refused, topic, PubSubError::Closed(PubSubEnd::Closed)] {
            assert!(!error.is_retriable() && !error.is_fatal(), "{error}");
        }
        let broken = PubSubError::Closed(PubSubEnd::Protocol(WireError::Length));
        assert!(broken.is_fatal() && !broken.is_retriable());
        assert!(PubSubError::Broker(BrokerError::TooManyTopics(1)).is_retriable());
        assert!(SubscriptionEnd::TooSlow.is_retriable());
    }
}
