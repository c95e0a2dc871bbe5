//! Who subscribed to what: a tree of levels, so that a message finds its subscribers without a look at
//! the patterns of others.

use std::collections::HashMap;

use crate::pubsub::{
    Pattern, Topic,
    topic::{ONE, REST, levels},
};

/// Values by the pattern that they were put in under.
#[derive(Debug)]
pub(super) struct Tree<T> {
    root: Node<T>,
    /// How many patterns have values.
    patterns: usize,
}

#[derive(Debug)]
struct Node<T> {
    /// The next level by its text, `+` among them: no level of a topic is that.
    next: HashMap<Box<str>, Self>,
    /// Values of the pattern that ends here, by id.
    here: HashMap<u64, T>,
    /// Values of the pattern that has `#` next.
    rest: HashMap<u64, T>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self {
            next: HashMap::new(),
            here: HashMap::new(),
            rest: HashMap::new(),
        }
    }
}

impl<T> Node<T> {
    fn is_empty(&self) -> bool {
        self.next.is_empty() && self.here.is_empty() && self.rest.is_empty()
    }
}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        Self {
            root: Node::default(),
            patterns: 0,
        }
    }
}

impl<T> Tree<T> {
    pub(super) const fn patterns(&self) -> usize {
        self.patterns
    }

    /// Returns whether the pattern has values.
    pub(super) fn contains(&self, pattern: &Pattern) -> bool {
        let mut node = &self.root;
        for level in levels(pattern.as_str()) {
            if level == REST {
                return !node.rest.is_empty();
            }
            match node.next.get(level) {
                Some(next) => node = next,
                None => return false,
            }
        }
        !node.here.is_empty()
    }

    pub(super) fn insert(&mut self, pattern: &Pattern, id: u64, value: T) {
        let mut node = &mut self.root;
        let mut levels = levels(pattern.as_str());
        let values = loop {
            match levels.next() {
                None => break &mut node.here,
                Some(REST) => break &mut node.rest,
                Some(level) => node = node.next.entry(level.into()).or_default(),
            }
        };
        self.patterns += usize::from(values.is_empty());
        values.insert(id, value);
    }

    pub(super) fn remove(&mut self, pattern: &Pattern, id: u64) {
        let mut levels = levels(pattern.as_str());
        if remove(&mut self.root, &mut levels, id) {
            self.patterns -= 1;
        }
    }

    /// Calls `each` with every value.
    pub(super) fn for_each(&self, each: &mut impl FnMut(&T)) {
        visit(&self.root, each);
    }

    /// Calls `found` with the values of all patterns that the topic matches: for each pattern once,
    /// with all its values.
    pub(super) fn matching<'a>(&'a self, topic: &Topic, found: &mut impl FnMut(Values<'a, T>)) {
        walk(&self.root, levels(topic.as_str()), found);
    }
}

/// The values of a pattern.
pub(super) type Values<'a, T> = std::collections::hash_map::Values<'a, u64, T>;

/// Removes a value and the nodes that nobody needs any more; returns whether it was the last of its
/// pattern.
fn remove<'a, T>(node: &mut Node<T>, levels: &mut impl Iterator<Item = &'a str>, id: u64) -> bool {
    let values = match levels.next() {
        None => &mut node.here,
        Some(REST) => &mut node.rest,
        Some(level) => {
            let Some(next) = node.next.get_mut(level) else {
                return false;
            };
            let was_last = remove(next, levels, id);
            if next.is_empty() {
                node.next.remove(level);
            }
            return was_last;
        }
    };
    values.remove(&id).is_some() && values.is_empty()
}

fn visit<T>(node: &Node<T>, each: &mut impl FnMut(&T)) {
    node.here
        .values()
        .chain(node.rest.values())
        .for_each(&mut *each);
    for next in node.next.values() {
        visit(next, each);
    }
}

fn walk<'a, T>(
    node: &'a Node<T>,
    mut levels: std::str::Split<'_, char>,
    found: &mut impl FnMut(Values<'a, T>),
) {
    let mut tell = |values: &'a HashMap<u64, T>| {
        if !values.is_empty() {
            found(values.values());
        }
    };
    tell(&node.rest);
    let Some(level) = levels.next() else {
        return tell(&node.here);
    };
    for key in [level, ONE] {
        if let Some(next) = node.next.get(key) {
            walk(next, levels.clone(), found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).unwrap()
    }

    fn found(tree: &Tree<u64>, topic: &str) -> Vec<u64> {
        let mut ids = Vec::new();
        let topic = Topic::new(topic).unwrap();
        tree.matching(&topic, &mut |values| ids.extend(values));
        ids.sort_unstable();
        ids
    }

    const PATTERNS: [&str; 12] = [
        "a", "a/b", "a/+", "+/b", "+/+", "a/#", "#", "+", "a/b/c", "a/+/c", "+/#", "/",
    ];

    #[test]
    fn finds_what_patterns_match() {
        let mut tree = Tree::default();
        for (id, text) in PATTERNS.iter().enumerate() {
            tree.insert(&pattern(text), id as u64, id as u64);
        }
        assert_eq!(tree.patterns(), PATTERNS.len());
        for topic in [
            "a", "b", "a/b", "b/b", "a/b/c", "a/x/c", "x/y/z", "/", "a/", "/b",
        ] {
            let matches = |id: &u64| {
                let pattern = pattern(PATTERNS[*id as usize]);
                pattern.matches(&Topic::new(topic).unwrap())
            };
            let expected: Vec<u64> = (0..PATTERNS.len() as u64).filter(matches).collect();
            assert_eq!(found(&tree, topic), expected, "{topic}");
        }
    }

    #[test]
    fn what_is_removed_leaves_nothing_behind() {
        let mut tree = Tree::default();
        for id in 0..3 {
            for text in PATTERNS {
                tree.insert(&pattern(text), id, id);
            }
        }
        tree.remove(&pattern("a/b"), 7);
        tree.remove(&pattern("x/y/#"), 0);
        for id in 0..3 {
            assert_eq!(tree.patterns(), PATTERNS.len());
            for text in PATTERNS {
                assert!(tree.contains(&pattern(text)));
                tree.remove(&pattern(text), id);
            }
        }
        assert_eq!(tree.patterns(), 0);
        assert!(tree.root.is_empty());
        assert!(!tree.contains(&pattern("a")));
    }
}
