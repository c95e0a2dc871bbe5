//! Topics and patterns of topics.

use std::{borrow::Borrow, convert::Infallible, fmt, str::FromStr, sync::Arc};

/// The name that a message is published under.
///
/// Levels are separated by `/`, as in `rooms/7/messages`; an application that needs no levels uses
/// plain names. A topic is not empty, has at most [`Self::MAX_LEN`] bytes and [`Self::MAX_LEVELS`]
/// levels, contains no whitespace and no control characters, which would break the protocol, and
/// has no level that is a wildcard of [`Pattern`].
///
/// A cheap handle: clones share the text.
///
/// ```
/// use wt_messaging::pubsub::Topic;
///
/// assert_eq!(Topic::new("rooms/7")?.as_str(), "rooms/7");
/// assert!(Topic::new("two words").is_err());
/// assert!(Topic::new("rooms/+").is_err());
/// # Ok::<(), wt_messaging::pubsub::InvalidTopic>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Arc<str>);

/// A topic to subscribe to, or a pattern that several topics match.
///
/// A level that is `+` matches any one level; a last level that is `#` matches any number of
/// levels, also none. Anything else matches itself, so that each [`Topic`] is a pattern.
///
/// | Pattern | Matches | Does not match |
/// |---|---|---|
/// | `rooms/7` | `rooms/7` | `rooms/7/messages` |
/// | `rooms/+/messages` | `rooms/7/messages` | `rooms/messages` |
/// | `rooms/#` | `rooms`, `rooms/7`, `rooms/7/messages` | `room` |
/// | `#` | every topic | |
///
/// A cheap handle: clones share the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Arc<str>);

/// Why a text is no [`Topic`] or no [`Pattern`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTopic {
    /// It is empty.
    #[error("a topic cannot be empty")]
    Empty,
    /// It has more than [`Topic::MAX_LEN`] bytes.
    #[error("a topic has at most {max} bytes, not {0}", max = Topic::MAX_LEN)]
    TooLong(usize),
    /// It has more than [`Topic::MAX_LEVELS`] levels.
    #[error("a topic has at most {max} levels, not {0}", max = Topic::MAX_LEVELS)]
    TooDeep(usize),
    /// It contains whitespace or a control character.
    #[error("a topic cannot contain {0:?}: no whitespace, no control characters")]
    Character(char),
    /// It is a pattern where a topic is needed: messages are published to one topic.
    #[error("a topic to publish to has no wildcards: no level may be `+` or `#`")]
    Wildcard,
    /// `#` is not the last level.
    #[error("`#` can only be the last level of a pattern")]
    Rest,
}

fn check(text: &str) -> Result<(), InvalidTopic> {
    if text.is_empty() {
        return Err(InvalidTopic::Empty);
    }
    if text.len() > Topic::MAX_LEN {
        return Err(InvalidTopic::TooLong(text.len()));
    }
    let levels = levels(text).count();
    if levels > Topic::MAX_LEVELS {
        return Err(InvalidTopic::TooDeep(levels));
    }
    let bad = text.chars().find(|c| c.is_whitespace() || c.is_control());
    bad.map_or(Ok(()), |c| Err(InvalidTopic::Character(c)))
}

/// The levels of a topic or pattern.
pub(crate) fn levels(text: &str) -> std::str::Split<'_, char> {
    text.split('/')
}

pub(crate) const ONE: &str = "+";
pub(crate) const REST: &str = "#";

impl Topic {
    /// The longest topic, in bytes of UTF-8.
    pub const MAX_LEN: usize = 1024;

    /// The most levels.
    pub const MAX_LEVELS: usize = 64;

    /// Checks the text.
    ///
    /// # Errors
    ///
    /// [`InvalidTopic`] says which rule it breaks.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidTopic> {
        let text = text.as_ref();
        check(text)?;
        if levels(text).any(|level| level == ONE || level == REST) {
            return Err(InvalidTopic::Wildcard);
        }
        Ok(Self(text.into()))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Pattern {
    /// Checks the text.
    ///
    /// # Errors
    ///
    /// [`InvalidTopic`] says which rule it breaks.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidTopic> {
        let text = text.as_ref();
        check(text)?;
        let mut after_rest = levels(text).skip_while(|level| *level != REST).skip(1);
        if after_rest.next().is_some() {
            return Err(InvalidTopic::Rest);
        }
        Ok(Self(text.into()))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether it has wildcards, so that more than one topic can match.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        levels(&self.0).any(|level| level == ONE || level == REST)
    }

    /// Returns whether a topic matches.
    ///
    /// ```
    /// use wt_messaging::pubsub::{Pattern, Topic};
    ///
    /// let pattern = Pattern::new("rooms/+/messages")?;
    /// assert!(pattern.matches(&Topic::new("rooms/7/messages")?));
    /// assert!(!pattern.matches(&Topic::new("rooms/7")?));
    /// # Ok::<(), wt_messaging::pubsub::InvalidTopic>(())
    /// ```
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        let mut topic = levels(topic.as_str());
        for level in levels(&self.0) {
            match (level, topic.next()) {
                (REST, _) => return true,
                (ONE, Some(_)) => {}
                (level, Some(found)) if level == found => {}
                _ => return false,
            }
        }
        topic.next().is_none()
    }
}

impl From<Topic> for Pattern {
    fn from(topic: Topic) -> Self {
        Self(topic.0)
    }
}

impl From<&Topic> for Pattern {
    fn from(topic: &Topic) -> Self {
        Self(topic.0.clone())
    }
}

/// A [`Topic`] that is one already cannot be invalid.
impl From<Infallible> for InvalidTopic {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

macro_rules! text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidTopic;

            fn from_str(text: &str) -> Result<Self, InvalidTopic> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = InvalidTopic;

            fn try_from(text: &str) -> Result<Self, InvalidTopic> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidTopic;

            fn try_from(text: String) -> Result<Self, InvalidTopic> {
                Self::new(text)
            }
        }

        impl TryFrom<&String> for $name {
            type Error = InvalidTopic;

            fn try_from(text: &String) -> Result<Self, InvalidTopic> {
                Self::new(text)
            }
        }

        impl From<&$name> for $name {
            fn from(same: &$name) -> Self {
                same.clone()
            }
        }
    };
}

text!(Topic);
text!(Pattern);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_the_protocol_is_no_topic() {
        let topic = |text: &str| Topic::new(text).map(|_| ());
        assert_eq!(topic(""), Err(InvalidTopic::Empty));
        assert_eq!(topic("a b"), Err(InvalidTopic::Character(' ')));
        assert_eq!(topic("a\nSUB b"), Err(InvalidTopic::Character('\n')));
        assert_eq!(topic("a\u{a0}"), Err(InvalidTopic::Character('\u{a0}')));
        assert_eq!(topic("a\0"), Err(InvalidTopic::Character('\0')));
        let long = "x".repeat(Topic::MAX_LEN + 1);
        assert_eq!(topic(&long), Err(InvalidTopic::TooLong(long.len())));
        assert_eq!(topic(&long[1..]), Ok(()));
        let deep = "/".repeat(Topic::MAX_LEVELS);
        assert_eq!(topic(&deep), Err(InvalidTopic::TooDeep(65)));
        assert_eq!(topic(&deep[1..]), Ok(()));
        assert_eq!(topic("a/+/b"), Err(InvalidTopic::Wildcard));
        assert_eq!(topic("#"), Err(InvalidTopic::Wildcard));
        assert_eq!(topic("grüße/c++/c#"), Ok(()));
    }

    #[test]
    fn patterns_match_as_their_documentation_says() {
        let matches = |pattern: &str, topic: &str| {
            let topic = Topic::new(topic).unwrap();
            Pattern::new(pattern).unwrap().matches(&topic)
        };
        assert!(matches("rooms/7", "rooms/7"));
        assert!(!matches("rooms/7", "rooms/7/messages"));
        assert!(!matches("rooms/7/messages", "rooms/7"));
        assert!(matches("rooms/+/messages", "rooms/7/messages"));
        assert!(!matches("rooms/+/messages", "rooms/messages"));
        assert!(!matches("rooms/+", "rooms"));
        for topic in ["rooms", "rooms/7", "rooms/7/messages"] {
            assert!(matches("rooms/#", topic));
            assert!(matches("#", topic));
        }
        assert!(!matches("rooms/#", "room"));
        assert!(matches("+", "rooms"));
        assert!(!matches("+", "rooms/7"));
        assert!(matches("c++", "c++"));
        assert_eq!(Pattern::new("#/a"), Err(InvalidTopic::Rest));
        assert_eq!(Pattern::new("a/#/#"), Err(InvalidTopic::Rest));
        assert!(Pattern::new("a/+").unwrap().is_wildcard());
        assert!(!Pattern::new("a/c++").unwrap().is_wildcard());
    }
}
