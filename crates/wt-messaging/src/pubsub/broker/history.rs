//! The last messages of each topic.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::pubsub::{Message, Pattern, Topic};

/// Keeps the last messages of each topic, within bounds; the oldest of all go first.
#[derive(Debug)]
pub(super) struct History {
    /// The most messages of one topic.
    depth: usize,
    max_topics: usize,
    max_bytes: usize,
    topics: HashMap<Topic, VecDeque<(u64, Message)>>,
    /// The topic of each message, in the order in which they came.
    order: BTreeMap<u64, Topic>,
    bytes: usize,
    next: u64,
}

impl History {
    pub(super) fn new(depth: usize, max_topics: usize, max_bytes: usize) -> Self {
        Self {
            depth,
            max_topics,
            max_bytes,
            topics: HashMap::new(),
            order: BTreeMap::new(),
            bytes: 0,
            next: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn add(&mut self, message: &Message) {
        if self.depth == 0 || message.size() > self.max_bytes {
            return;
        }
        let topic = message.topic();
        self.bytes += message.size();
        self.order.insert(self.next, topic.clone());
        let kept = self.topics.entry(topic.clone()).or_default();
        kept.push_back((self.next, message.clone()));
        self.next += 1;
        if kept.len() > self.depth
            && let Some(&(oldest, _)) = kept.front()
        {
            self.remove(oldest);
        }
        while self.bytes > self.max_bytes || self.topics.len() > self.max_topics {
            let Some((&oldest, _)) = self.order.first_key_value() else {
                return;
            };
            self.remove(oldest);
        }
    }

    /// Removes a message that is the oldest of its topic.
    fn remove(&mut self, number: u64) {
        let Some(topic) = self.order.remove(&number) else {
            return;
        };
        let Some(kept) = self.topics.get_mut(&topic) else {
            return;
        };
        if let Some((_, message)) = kept.pop_front() {
            self.bytes -= message.size();
        }
        if kept.is_empty() {
            self.topics.remove(&topic);
        }
    }

    /// The messages of a topic or pattern, oldest first.
    pub(super) fn of(&self, pattern: &Pattern) -> Vec<Message> {
        let mut found: Vec<&(u64, Message)> = if pattern.is_wildcard() {
            let matching = self
                .topics
                .iter()
                .filter(|(topic, _)| pattern.matches(topic));
            matching.flat_map(|(_, kept)| kept).collect()
        } else {
            self.topics
                .get(pattern.as_str())
                .into_iter()
                .flatten()
                .collect()
        };
        found.sort_unstable_by_key(|(number, _)| *number);
        found
            .into_iter()
            .map(|(_, message)| message.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(topic: &str, text: &'static str) -> Message {
        Message::new(Topic::new(topic).unwrap(), text)
    }

    fn texts(history: &History, pattern: &str) -> Vec<String> {
        let found = history.of(&Pattern::new(pattern).unwrap());
        let text = |message: &Message| message.text().unwrap().to_owned();
        found.iter().map(text).collect()
    }

    #[test]
    fn the_last_of_each_topic_are_kept_in_order() {
        let mut history = History::new(2, 10, 1 << 20);
        for (topic, text) in [("a", "1"), ("b", "2"), ("a", "3"), ("a", "4")] {
            history.add(&message(topic, text));
        }
        assert_eq!(texts(&history, "a"), ["3", "4"]);
        assert_eq!(texts(&history, "+"), ["2", "3", "4"]);
        assert_eq!(texts(&history, "c"), [""; 0]);
        assert_eq!(history.len(), 3);
    }

    #[test]
    fn topics_and_bytes_are_bounded_and_the_oldest_go_first() {
        let mut history = History::new(10, 2, 1 << 20);
        for (topic, text) in [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")] {
            history.add(&message(topic, text));
        }
        // The third topic needs room: "a" loses its first message, then "b" its only one.
        assert_eq!(texts(&history, "#"), ["3", "4"]);

        let size = message("a", "x").size();
        let mut history = History::new(10, 10, size * 2);
        for text in ["1", "2", "3"] {
            history.add(&message("a", text));
        }
        assert_eq!(texts(&history, "a"), ["2", "3"]);
        assert_eq!(history.bytes(), size * 2);
        history.add(&message(
            "a",
            "more than all that there is room for; it is not kept at all, \
            so that one message does not push out everything else. It is longer than both limits \
            together, which are some two hundred and fifty-six bytes and a few more than that.",
        ));
        assert_eq!(texts(&history, "a"), ["2", "3"]);
    }

    #[test]
    fn none_is_kept_when_it_is_off() {
        let mut history = History::new(0, 10, 1 << 20);
        history.add(&message("a", "1"));
        assert_eq!((history.len(), history.bytes()), (0, 0));
    }
}
