//! What the project's fuzz targets need. No part of the API.

use bytes::Bytes;

use super::{
    WireError,
    wire::{self, Decoder, Item},
};

/// What a peer said.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Said {
    /// A publication or a message, with the topic if it is one.
    Payload(bool, Option<String>, Bytes),
    /// A payload that is larger than allowed.
    TooLarge(String, u64),
    /// Something else, in words.
    Other(String),
}

impl From<Item> for Said {
    fn from(item: Item) -> Self {
        let text = |topic: Result<super::Topic, _>| topic.ok().map(|topic| topic.to_string());
        match item {
            Item::Publish { topic, payload } => Self::Payload(true, text(topic), payload),
            Item::Message { topic, payload } => Self::Payload(false, text(topic), payload),
            Item::TooLarge { topic, size } => Self::TooLarge(topic, size),
            other => Self::Other(format!("{other:?}")),
        }
    }
}

/// Decodes pieces of a stream: what was said, and whether the stream may end there.
pub fn decode(pieces: &[Bytes], max: usize) -> (Vec<Said>, Result<bool, WireError>) {
    let mut decoder = Decoder::new(max);
    let mut said = Vec::new();
    for piece in pieces {
        let mut piece = piece.clone();
        loop {
            match decoder.next(&mut piece) {
                Ok(Some(item)) => said.push(item.into()),
                Ok(None) => break,
                Err(error) => return (said, Err(error)),
            }
        }
        assert!(piece.is_empty(), "bytes were left");
    }
    (said, Ok(decoder.is_between()))
}

/// Decodes a datagram.
#[must_use]
pub fn datagram(datagram: Bytes) -> Option<(String, Bytes)> {
    let (topic, payload) = wire::datagram(datagram)?;
    Some((topic.to_string(), payload))
}

/// Writes the line before a payload of this topic, which is one.
#[must_use]
pub fn line(publish: bool, topic: &str, len: usize) -> Option<String> {
    let topic = super::Topic::new(topic).ok()?;
    Some(if publish {
        wire::publish_line(&topic, len)
    } else {
        wire::message_line(&topic, len)
    })
}
