//! The queue of datagrams to send: three lanes, first in, first out in each.

use std::{collections::VecDeque, time::Instant};

use bytes::Bytes;

use crate::Priority;

/// A datagram that waits to be sent.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) data: Bytes,
    pub(super) priority: Priority,
    pub(super) since: Instant,
    pub(super) expires: Option<Instant>,
}

impl Waiting {
    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// Three lanes.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: [VecDeque<Waiting>; 3],
    /// Nothing in the lanes expires before that.
    expiry: Option<Instant>,
}

impl Lanes {
    pub(super) fn len(&self) -> usize {
        self.lanes.iter().map(VecDeque::len).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lanes.iter().all(VecDeque::is_empty)
    }

    /// Returns how many wait in each lane, the lowest first.
    pub(super) fn lens(&self) -> [usize; 3] {
        self.lanes.each_ref().map(VecDeque::len)
    }

    pub(super) fn push(&mut self, waiting: Waiting) {
        self.expiry = match (self.expiry, waiting.expires) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.lanes[waiting.priority as usize].push_back(waiting);
    }

    /// Takes the next one to send.
    pub(super) fn pop(&mut self) -> Option<Waiting> {
        self.lanes.iter_mut().rev().find_map(VecDeque::pop_front)
    }

    /// Takes the one that has waited longest.
    pub(super) fn pop_oldest(&mut self) -> Option<Waiting> {
        let fronts = self.lanes.iter_mut().filter(|lane| !lane.is_empty());
        fronts
            .min_by_key(|lane| lane.front().map(|waiting| waiting.since))?
            .pop_front()
    }

    /// Takes the one that has waited longest in the lowest lane, unless that lane is above `priority`.
    pub(super) fn pop_lowest(&mut self, priority: Priority) -> Option<Waiting> {
        let lanes = &mut self.lanes[..=priority as usize];
        lanes.iter_mut().find_map(VecDeque::pop_front)
    }

    /// Removes those that are too old.
    pub(super) fn weed(&mut self, now: Instant) -> Vec<Waiting> {
        let mut gone = Vec::new();
        if self.expiry.is_none_or(|expiry| expiry > now) {
            return gone;
        }
        self.expiry = None;
        for lane in &mut self.lanes {
            let all = std::mem::take(lane);
            for waiting in all {
                if waiting.is_expired(now) {
                    gone.push(waiting);
                } else {
                    self.expiry = self.expiry.into_iter().chain(waiting.expires).min();
                    lane.push_back(waiting);
                }
            }
        }
        gone
    }

    /// Removes all.
    pub(super) fn clear(&mut self) -> usize {
        std::mem::take(self).len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A queue of these, named and with their times to live in seconds, queued a millisecond after each other.
    fn lanes(start: Instant, all: &[(&'static str, Priority, Option<u64>)]) -> Lanes {
        let mut lanes = Lanes::default();
        for (n, &(name, priority, ttl)) in all.iter().enumerate() {
            let since = start + Duration::from_millis(n as u64);
            lanes.push(Waiting {
                data: Bytes::from_static(name.as_bytes()),
                priority,
                since,
                expires: ttl.map(|ttl| start + Duration::from_secs(ttl)),
            });
        }
        lanes
    }

    fn names(from: impl IntoIterator<Item = Waiting>) -> String {
        let names = from
            .into_iter()
            .map(|waiting| String::from_utf8_lossy(&waiting.data).into_owned());
        names.collect::<Vec<_>>().join(" ")
    }

    use Priority::{High, Low, Normal};

    #[test]
    fn high_lanes_go_first_and_each_in_order() {
        let all = [
            ("l1", Low, None),
            ("n1", Normal, None),
            ("l2", Low, None),
            ("h1", High, None),
            ("n2", Normal, None),
            ("h2", High, None),
        ];
        let mut lanes = lanes(Instant::now(), &all);
        assert_eq!(lanes.lens(), [2, 2, 2]);
        let order = names(std::iter::from_fn(|| lanes.pop()));
        assert_eq!(order, "h1 h2 n1 n2 l1 l2");
        assert!(lanes.is_empty());
    }

    #[test]
    fn the_oldest_is_that_of_all_lanes() {
        let all = [
            ("n1", Normal, None),
            ("h1", High, None),
            ("l1", Low, None),
            ("n2", Normal, None),
        ];
        let mut lanes = lanes(Instant::now(), &all);
        let order = names(std::iter::from_fn(|| lanes.pop_oldest()));
        assert_eq!(order, "n1 h1 l1 n2");
    }

    #[test]
    fn the_lowest_is_never_above_the_new_one() {
        let all = [("h1", High, None), ("n1", Normal, None)];
        let mut lanes = lanes(Instant::now(), &all);
        assert!(lanes.pop_lowest(Low).is_none());
        assert_eq!(names(lanes.pop_lowest(High)), "n1");
        assert!(lanes.pop_lowest(Normal).is_none());
        assert_eq!(names(lanes.pop_lowest(High)), "h1");
    }

    #[test]
    fn those_that_are_too_old_are_weeded_and_no_others() {
        let start = Instant::now();
        let all = [
            ("a", Low, Some(5)),
            ("b", High, Some(2)),
            ("c", Low, None),
            ("d", Low, Some(2)),
        ];
        let mut lanes = lanes(start, &all);
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(lanes.weed(after(1)).is_empty());
        assert_eq!(names(lanes.weed(after(2))), "d b");
        assert!(lanes.weed(after(4)).is_empty());
        assert_eq!(names(lanes.weed(after(6))), "a");
        assert_eq!(names(std::iter::from_fn(|| lanes.pop())), "c");
    }
}
