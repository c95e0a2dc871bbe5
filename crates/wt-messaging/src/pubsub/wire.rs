//! The lines of the protocol (PyWebTransport 0.8): one decoder for both sides, and the encoders.
//!
//! No IO: bytes in, items out. A line ends in LF; PUB and MSG are followed by their payload.
//!
//! | Direction | Form |
//! |---|---|
//! | client to broker | `SUB <topic>`, `UNSUB <topic>`, `PUB <topic> <len>` and the payload |
//! | broker to client | `SUB-OK <topic>`, `SUB-FAIL <topic> <reason>`, `MSG <topic> <len>` and the payload |
//!
//! `SUB-DATAGRAM <topic>` is ours: the messages are to come as datagrams, each in the form of MSG.
//! Brokers that do not know it skip it, as they do with every unknown line.

use bytes::{Buf, Bytes, BytesMut};

use super::{InvalidTopic, Pattern, Topic};

/// The longest line, LF included.
pub(crate) const MAX_LINE: usize = 65_536;

/// The longest reason that is sent, in bytes.
const MAX_REASON: usize = 1024;

/// What a peer says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Subscribe {
        topic: String,
        datagrams: bool,
    },
    Unsubscribe(String),
    Publish {
        topic: Result<Topic, InvalidTopic>,
        payload: Bytes,
    },
    Accepted(String),
    Refused {
        topic: String,
        reason: String,
    },
    Message {
        topic: Result<Topic, InvalidTopic>,
        payload: Bytes,
    },
    /// A payload over the limit; it is skipped as it arrives.
    TooLarge {
        topic: String,
        size: u64,
    },
}

/// What a peer may not say: the end of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A line has more than 65,536 bytes.
    #[error("a line has more than {MAX_LINE} bytes")]
    LineTooLong,
    /// A line is not UTF-8.
    #[error("a line is not UTF-8")]
    NotUtf8,
    /// The length of a payload is no decimal number.
    #[error("the length of a payload is no number")]
    Length,
    /// The stream ended within a line or a payload.
    #[error("the stream ended within a message")]
    Truncated,
}

#[derive(Clone, Copy, Debug)]
enum Verb {
    Publish,
    Message,
}

/// A payload that is on its way.
#[derive(Debug)]
struct Body {
    verb: Verb,
    topic: Result<Topic, InvalidTopic>,
    left: usize,
    parts: BytesMut,
}

/// Decodes what arrives on a stream.
#[derive(Debug)]
pub(crate) struct Decoder {
    max_payload: usize,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    body: Option<Body>,
    skip: u64,
}

impl Decoder {
    pub(crate) const fn new(max_payload: usize) -> Self {
        Self {
            max_payload,
            line: Vec::new(),
            body: None,
            skip: 0,
        }
    }

    /// Returns whether the stream may end here.
    pub(crate) const fn is_between(&self) -> bool {
        self.line.is_empty() && self.body.is_none() && self.skip == 0
    }

    /// Takes the next item out of `input`, which begins where the previous call left off; `None`
    /// when all of it was taken and more is needed.
    pub(crate) fn next(&mut self, input: &mut Bytes) -> Result<Option<Item>, WireError> {
        loop {
            if self.skip > 0 {
                let skipped = input
                    .len()
                    .min(usize::try_from(self.skip).unwrap_or(usize::MAX));
                input.advance(skipped);
                self.skip -= skipped as u64;
            }
            if let Some(body) = self.body.take() {
                return Ok(self.payload(body, input));
            }
            if input.is_empty() {
                return Ok(None);
            }
            let Some(line) = self.take_line(input)? else {
                return Ok(None);
            };
            if let Some(item) = self.command(&line)? {
                return Ok(Some(item));
            }
        }
    }

    fn payload(&mut self, mut body: Body, input: &mut Bytes) -> Option<Item> {
        let taken = input.split_to(input.len().min(body.left));
        body.left -= taken.len();
        let payload = if body.left == 0 && body.parts.is_empty() {
            taken
        } else {
            body.parts.extend_from_slice(&taken);
            if body.left > 0 {
                self.body = Some(body);
                return None;
            }
            body.parts.freeze()
        };
        let topic = body.topic;
        Some(match body.verb {
            Verb::Publish => Item::Publish { topic, payload },
            Verb::Message => Item::Message { topic, payload },
        })
    }

    fn take_line(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, WireError> {
        let end = input.iter().position(|byte| *byte == b'\n');
        let part = input.split_to(end.map_or(input.len(), |at| at + 1));
        let len = self.line.len() + part.len();
        if len > MAX_LINE || (end.is_none() && len == MAX_LINE) {
            return Err(WireError::LineTooLong);
        }
        if end.is_some() && self.line.is_empty() {
            return Ok(Some(part));
        }
        self.line.extend_from_slice(&part);
        Ok(end.map(|_| std::mem::take(&mut self.line).into()))
    }

    /// Understands a line; `None` when there is nothing to tell yet, or ever.
    fn command(&mut self, line: &[u8]) -> Result<Option<Item>, WireError> {
        let line = std::str::from_utf8(line).map_err(|_| WireError::NotUtf8)?;
        let mut parts = line.trim_ascii().splitn(3, ' ');
        let (verb, topic, rest) = (parts.next(), parts.next(), parts.next());
        let (Some(verb), Some(topic)) = (verb, topic) else {
            return Ok(None);
        };
        Ok(match (verb, rest) {
            ("SUB", None) => Some(subscribe(topic, false)),
            ("SUB-DATAGRAM", None) => Some(subscribe(topic, true)),
            ("UNSUB", None) => Some(Item::Unsubscribe(topic.to_owned())),
            ("SUB-OK", None) => Some(Item::Accepted(topic.to_owned())),
            ("SUB-FAIL", Some(reason)) => Some(Item::Refused {
                topic: topic.to_owned(),
                reason: reason.to_owned(),
            }),
            ("PUB", Some(len)) => self.announced(Verb::Publish, topic, len)?,
            ("MSG", Some(len)) => self.announced(Verb::Message, topic, len)?,
            _ => None,
        })
    }

    fn announced(&mut self, verb: Verb, topic: &str, len: &str) -> Result<Option<Item>, WireError> {
        if !len.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(WireError::Length);
        }
        let size: u64 = len.parse().map_err(|_| WireError::Length)?;
        match usize::try_from(size) {
            Ok(left) if left <= self.max_payload => {
                self.body = Some(Body {
                    verb,
                    topic: Topic::new(topic),
                    left,
                    parts: BytesMut::new(),
                });
                Ok(None)
            }
            _ => {
                self.skip = size;
                let topic = topic.to_owned();
                Ok(Some(Item::TooLarge { topic, size }))
            }
        }
    }
}

fn subscribe(topic: &str, datagrams: bool) -> Item {
    let topic = topic.to_owned();
    Item::Subscribe { topic, datagrams }
}

/// Decodes a message that came as a datagram.
pub(crate) fn datagram(mut datagram: Bytes) -> Option<(Topic, Bytes)> {
    let mut decoder = Decoder::new(datagram.len());
    let Ok(Some(Item::Message { topic, payload })) = decoder.next(&mut datagram) else {
        return None;
    };
    datagram.is_empty().then_some((topic.ok()?, payload))
}

pub(crate) fn subscribe_line(pattern: &Pattern, datagrams: bool) -> Bytes {
    let verb = if datagrams { "SUB-DATAGRAM" } else { "SUB" };
    format!("{verb} {pattern}\n").into()
}

pub(crate) fn unsubscribe_line(pattern: &Pattern) -> Bytes {
    format!("UNSUB {pattern}\n").into()
}

pub(crate) fn publish_line(topic: &Topic, len: usize) -> String {
    format!("PUB {topic} {len}\n")
}

pub(crate) fn message_line(topic: &Topic, len: usize) -> String {
    format!("MSG {topic} {len}\n")
}

/// `topic` is what a line had as a topic, so that it has no spaces.
pub(crate) fn accepted_line(topic: &str) -> Bytes {
    format!("SUB-OK {topic}\n").into()
}

/// As for [`accepted_line`]; the reason is made to fit a line.
pub(crate) fn refused_line(topic: &str, reason: &str) -> Bytes {
    let one_line = |c: char| if c.is_control() { ' ' } else { c };
    let reason: String = reason.trim().chars().map(one_line).collect();
    let mut end = reason.len().min(MAX_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let reason = match &reason[..end] {
        "" => "refused",
        reason => reason,
    };
    format!("SUB-FAIL {topic} {reason}\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes all of it, cut into pieces of this size.
    fn decode(bytes: &[u8], piece: usize) -> Result<Vec<Item>, WireError> {
        let mut decoder = Decoder::new(1000);
        let mut items = Vec::new();
        for piece in bytes.chunks(piece) {
            let mut input = Bytes::copy_from_slice(piece);
            while let Some(item) = decoder.next(&mut input)? {
                items.push(item);
            }
            assert!(input.is_empty());
        }
        if decoder.is_between() {
            Ok(items)
        } else {
            Err(WireError::Truncated)
        }
    }

    fn topic(text: &str) -> Topic {
        Topic::new(text).unwrap()
    }

    fn sub(topic: &str) -> Item {
        subscribe(topic, false)
    }

    #[test]
    fn every_line_is_understood_wherever_it_is_cut() {
        let bytes =
            b"SUB news\nUNSUB gr\xc3\xbc\xc3\x9fe\r\nPUB news 5\nhelloPUB a/b 0\nSUB-OK news\n\
            SUB-FAIL news not for you\nMSG news 7\na\nMSG bSUB-DATAGRAM x\n";
        let expected = [
            sub("news"),
            Item::Unsubscribe("grüße".into()),
            Item::Publish {
                topic: Ok(topic("news")),
                payload: "hello".into(),
            },
            Item::Publish {
                topic: Ok(topic("a/b")),
                payload: Bytes::new(),
            },
            Item::Accepted("news".into()),
            Item::Refused {
                topic: "news".into(),
                reason: "not for you".into(),
            },
            Item::Message {
                topic: Ok(topic("news")),
                payload: "a\nMSG b".into(),
            },
            subscribe("x", true),
        ];
        for piece in 1..=bytes.len() {
            assert_eq!(decode(bytes, piece).unwrap(), expected, "pieces of {piece}");
        }
        for end in 1..bytes.len() {
            // Cut short it is an error, or some of the items and nothing else.
            if let Ok(items) = decode(&bytes[..end], 7) {
                assert_eq!(items, expected[..items.len()]);
            }
        }
    }

    proptest::proptest! {
        /// Lines, near-lines and noise: where they are cut makes no difference, and nothing panics.
        #[test]
        fn cuts_make_no_difference(
            parts in proptest::collection::vec(part(), 0..20),
            piece in 1_usize..50,
        ) {
            let bytes = parts.concat();
            proptest::prop_assert_eq!(decode(&bytes, piece), decode(&bytes, usize::MAX));
        }
    }

    fn part() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
        use proptest::prelude::*;
        let line = "(SUB|UNSUB|PUB|MSG|SUB-OK|SUB-FAIL|SUB-DATAGRAM|X) [a-z/+# ]{0,5}( [0-9]{1,4}| x)?\r?\n";
        prop_oneof![
            8 => line.prop_map(String::into_bytes),
            2 => proptest::collection::vec(any::<u8>(), 0..30),
        ]
    }

    #[test]
    fn what_nobody_knows_is_skipped() {
        let bytes = b"\nHELLO\nSUB\nSUB a b\nSUB-OK a b\nPUB news\nMSG\nsub a\n  SUB b \n";
        assert_eq!(decode(bytes, 4).unwrap(), [sub("b")]);
    }

    #[test]
    fn lengths_are_decimal_numbers() {
        for len in ["x", "-1", "+1", "1 2", "99999999999999999999", "1_0", "0x1"] {
            let line = format!("PUB news {len}\n");
            assert_eq!(decode(line.as_bytes(), 3), Err(WireError::Length), "{len}");
        }
        assert_eq!(decode(b"PUB  news 1\n", 3), Err(WireError::Length));
    }

    #[test]
    fn payloads_over_the_limit_are_skipped_and_the_next_line_is_found() {
        let mut bytes = b"PUB news 1001\n".to_vec();
        bytes.extend([b'x'; 1001]);
        bytes.extend(b"SUB a\n");
        let too_large = Item::TooLarge {
            topic: "news".into(),
            size: 1001,
        };
        assert_eq!(decode(&bytes, 100).unwrap(), [too_large, sub("a")]);
    }

    #[test]
    fn lines_have_a_limit() {
        let mut line = vec![b'x'; MAX_LINE];
        assert_eq!(decode(&line, 1000), Err(WireError::LineTooLong));
        line[MAX_LINE - 1] = b'\n';
        assert_eq!(decode(&line, 1000).unwrap(), []);
        line.insert(0, b'x');
        assert_eq!(decode(&line, usize::MAX), Err(WireError::LineTooLong));
        assert_eq!(decode(b"SUB \xff\n", 3), Err(WireError::NotUtf8));
    }

    #[test]
    fn topics_that_are_none_do_not_break_the_step() {
        let items = decode(b"PUB a/+ 2\nhiSUB a\n", 5).unwrap();
        let invalid = Item::Publish {
            topic: Err(InvalidTopic::Wildcard),
            payload: "hi".into(),
        };
        assert_eq!(items, [invalid, sub("a")]);
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let pattern = Pattern::new("a/+").unwrap();
        assert_eq!(&subscribe_line(&pattern, false)[..], b"SUB a/+\n");
        assert_eq!(&subscribe_line(&pattern, true)[..], b"SUB-DATAGRAM a/+\n");
        assert_eq!(&unsubscribe_line(&pattern)[..], b"UNSUB a/+\n");
        assert_eq!(publish_line(&topic("a"), 12), "PUB a 12\n");
        assert_eq!(&accepted_line("a")[..], b"SUB-OK a\n");
        assert_eq!(&refused_line("a", "no\nway ")[..], b"SUB-FAIL a no way\n");
        assert_eq!(&refused_line("a", "")[..], b"SUB-FAIL a refused\n");
        let long = refused_line("a", &"ü".repeat(MAX_REASON));
        assert_eq!(long.len(), "SUB-FAIL a \n".len() + MAX_REASON);
    }

    #[test]
    fn datagrams_hold_one_message() {
        let read = |bytes: &'static [u8]| datagram(Bytes::from_static(bytes));
        let expected = (topic("a"), Bytes::from_static(b"hi"));
        assert_eq!(read(b"MSG a 2\nhi"), Some(expected));
        for bad in [
            &b"MSG a 3\nhi"[..],
            b"MSG a 2\nhi!",
            b"SUB a\n",
            b"",
            b"MSG + 2\nhi",
        ] {
            assert_eq!(read(bad), None);
        }
    }
}
