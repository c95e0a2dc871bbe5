//! A published message, encoded once for everybody it goes to.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::{BufMut, Bytes, BytesMut};

use super::{Topic, wire};

/// Up to this many bytes a payload is copied behind its line, so that both are one write, and does
/// not keep alive the larger buffer it was received in. Larger ones are passed on as they are.
const COPIED: usize = 16 * 1024;

/// What a message takes in a queue besides its topic and payload, in bytes, roughly.
const OVERHEAD: usize = 128;

/// A message: a topic and some bytes.
///
/// A cheap handle: clones share the bytes, also those of the form in which it is sent. However many
/// subscribers it goes to, it is encoded once.
#[derive(Clone)]
pub struct Message(Arc<Inner>);

struct Inner {
    topic: Topic,
    payload: Bytes,
    frame: OnceLock<Frame>,
}

/// `MSG <topic> <len>\n` and the payload: in one piece, or in two.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) head: Bytes,
    pub(crate) body: Bytes,
}

impl Message {
    /// Makes a message.
    ///
    /// Text and bytes alike: `&'static str`, `String`, `Vec<u8>`, [`Bytes`].
    #[must_use]
    pub fn new(topic: Topic, payload: impl Into<Bytes>) -> Self {
        let payload = payload.into();
        let (frame, payload) = encode(&topic, payload);
        Self(Arc::new(Inner {
            topic,
            payload,
            frame: OnceLock::from(frame),
        }))
    }

    /// A message that came from a broker and is most likely not sent again.
    pub(crate) fn received(topic: Topic, payload: Bytes) -> Self {
        let payload = if payload.len() <= COPIED {
            Bytes::copy_from_slice(&payload)
        } else {
            payload
        };
        Self(Arc::new(Inner {
            topic,
            payload,
            frame: OnceLock::new(),
        }))
    }

    /// Returns the topic that it was published under.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.0.topic
    }

    /// Returns what was published.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.0.payload
    }

    /// Returns the payload as text, when it is UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0.payload).ok()
    }

    /// What it takes in a queue, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.0.topic.as_str().len() + self.0.payload.len() + OVERHEAD
    }

    pub(crate) fn frame(&self) -> &Frame {
        let inner = &self.0;
        let init = || encode(&inner.topic, inner.payload.clone()).0;
        inner.frame.get_or_init(init)
    }
}

/// Encodes a message; returns the payload as well, which may be a part of the frame now.
fn encode(topic: &Topic, payload: Bytes) -> (Frame, Bytes) {
    let line = wire::message_line(topic, payload.len());
    if payload.len() > COPIED {
        let frame = Frame {
            head: line.into(),
            body: payload.clone(),
        };
        return (frame, payload);
    }
    let mut whole = BytesMut::with_capacity(line.len() + payload.len());
    whole.put_slice(line.as_bytes());
    whole.put_slice(&payload);
    let head = whole.freeze();
    let payload = head.slice(line.len()..);
    let body = Bytes::new();
    (Frame { head, body }, payload)
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", self.topic())
            .field("payload", self.payload())
            .finish()
    }
}

impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        self.topic() == other.topic() && self.payload() == other.payload()
    }
}

impl Eq for Message {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_bytes_of_the_protocol() {
        let topic = Topic::new("news").unwrap();
        for size in [0, 5, COPIED, COPIED + 1] {
            let payload = vec![b'x'; size];
            let message = Message::new(topic.clone(), payload.clone());
            let frame = message.frame();
            let sent = [&frame.head[..], &frame.body[..]].concat();
            let expected = [format!("MSG news {size}\n").as_bytes(), &payload].concat();
            assert_eq!(sent, expected);
            assert_eq!(message.payload(), &payload);
            assert_eq!(message, Message::received(topic.clone(), payload.into()));
        }
    }

    #[test]
    fn clones_share_what_is_sent() {
        let message = Message::new(Topic::new("news").unwrap(), "hello");
        let clone = message.clone();
        assert_eq!(message.frame().head.as_ptr(), clone.frame().head.as_ptr());
        let payload = message.payload().as_ptr_range();
        let frame = message.frame().head.as_ptr_range();
        assert!(frame.start <= payload.start && payload.end <= frame.end);
    }
}
