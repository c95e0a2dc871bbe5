//! What was received: duplicates, and order where it is asked for.

use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{REMEMBERED, ReliabilityConfig};

/// What to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is new: acknowledge it.
    New,
    /// It was received before: acknowledge it again.
    Duplicate,
    /// There is no room for it now: say nothing, so that it comes again.
    NoRoom,
    /// It was waited for, and is too late now: say nothing.
    Late,
}

/// The receiving side.
#[derive(Debug)]
pub(super) struct Inbound {
    /// The last numbers received, in the order of their arrival.
    last: VecDeque<u32>,
    seen: HashSet<u32>,
    order: Option<Order>,
    limit: usize,
}

#[derive(Debug)]
struct Order {
    expected: u32,
    /// The messages from `expected` on. While there are some, the first is missing.
    held: VecDeque<Option<Bytes>>,
    /// How many of them are there.
    count: usize,
    gap_timeout: Duration,
    gap_since: Option<Instant>,
}

impl Inbound {
    pub(super) fn new(config: &ReliabilityConfig) -> Self {
        let order = config.ordered.then(|| Order {
            expected: config.first_sequence,
            held: VecDeque::new(),
            count: 0,
            gap_timeout: config.gap_timeout,
            gap_since: None,
        });
        Self {
            last: VecDeque::new(),
            seen: HashSet::new(),
            order,
            limit: config.receive_queue,
        }
    }

    /// Takes a message while `queued` others wait for the application; appends to `ready` what it can have now.
    ///
    /// What is held and what waits is never more than the limit together.
    pub(super) fn receive(
        &mut self,
        sequence: u32,
        payload: Bytes,
        queued: usize,
        now: Instant,
        ready: &mut Vec<Bytes>,
    ) -> Verdict {
        if self.seen.contains(&sequence) {
            return Verdict::Duplicate;
        }
        let held = self.order.as_ref().map_or(0, |order| order.count);
        let room = self.limit.saturating_sub(queued + held);
        if room == 0 {
            return Verdict::NoRoom;
        }
        match &mut self.order {
            None => ready.push(payload),
            Some(order) => {
                let verdict = order.receive(sequence, payload, room, now, ready);
                if verdict != Verdict::New {
                    return verdict;
                }
            }
        }
        self.remember(sequence);
        Verdict::New
    }

    fn remember(&mut self, sequence: u32) {
        if self.last.len() >= REMEMBERED
            && let Some(oldest) = self.last.pop_front()
        {
            self.seen.remove(&oldest);
        }
        self.last.push_back(sequence);
        self.seen.insert(sequence);
    }

    /// Returns when a message is waited for no longer.
    pub(super) fn gap_ends(&self) -> Option<Instant> {
        let order = self.order.as_ref()?;
        order.gap_since?.checked_add(order.gap_timeout)
    }

    /// Leaves out messages that were waited for long enough; returns how many.
    pub(super) fn skip(&mut self, now: Instant, ready: &mut Vec<Bytes>) -> usize {
        if self.gap_ends().is_none_or(|end| end > now) {
            return 0;
        }
        self.order.as_mut().map_or(0, |order| {
            let mut skipped = 0;
            while let Some(None) = order.held.front() {
                order.held.pop_front();
                order.expected = order.expected.wrapping_add(1);
                skipped += 1;
            }
            order.release(now, ready);
            skipped
        })
    }
}

impl Order {
    fn receive(
        &mut self,
        sequence: u32,
        payload: Bytes,
        room: usize,
        now: Instant,
        ready: &mut Vec<Bytes>,
    ) -> Verdict {
        let ahead = sequence.wrapping_sub(self.expected) as usize;
        if ahead >= 1 << 31 {
            return Verdict::Late;
        }
        if ahead == 0 {
            ready.push(payload);
            self.expected = self.expected.wrapping_add(1);
            self.held.pop_front();
            self.release(now, ready);
            return Verdict::New;
        }
        // The last place is for the one that is missing.
        if ahead >= REMEMBERED || room == 1 {
            return Verdict::NoRoom;
        }
        if self.held.len() <= ahead {
            self.held.resize(ahead + 1, None);
        }
        if let Some(slot) = self.held.get_mut(ahead) {
            *slot = Some(payload);
            self.count += 1;
        }
        self.gap_since.get_or_insert(now);
        Verdict::New
    }

    /// Hands out what is complete.
    fn release(&mut self, now: Instant, ready: &mut Vec<Bytes>) {
        while let Some(Some(_)) = self.held.front() {
            ready.extend(self.held.pop_front().flatten());
            self.expected = self.expected.wrapping_add(1);
            self.count -= 1;
        }
        self.gap_since = (self.count > 0).then_some(now);
        if self.count == 0 {
            self.held.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inbound(configure: impl FnOnce(&mut ReliabilityConfig)) -> Inbound {
        let mut config = ReliabilityConfig::default();
        configure(&mut config);
        Inbound::new(&config)
    }

    /// Receives a message whose payload is its number.
    fn receive(inbound: &mut Inbound, sequence: u32, queued: usize) -> (Verdict, Vec<u32>) {
        let mut ready = Vec::new();
        let payload = Bytes::copy_from_slice(&sequence.to_be_bytes());
        let now = Instant::now();
        let verdict = inbound.receive(sequence, payload, queued, now, &mut ready);
        (verdict, numbers(&ready))
    }

    fn numbers(ready: &[Bytes]) -> Vec<u32> {
        let number = |payload: &Bytes| u32::from_be_bytes(payload[..].try_into().unwrap());
        ready.iter().map(number).collect()
    }

    use Verdict::{Duplicate, Late, New, NoRoom};

    #[test]
    fn the_last_1024_are_remembered() {
        let mut inbound = inbound(|_| {});
        for n in 0..1024 {
            assert_eq!(receive(&mut inbound, n, 0), (New, vec![n]));
        }
        assert_eq!(receive(&mut inbound, 0, 0), (Duplicate, vec![]));
        assert_eq!(receive(&mut inbound, 1024, 0), (New, vec![1024]));
        // By the order of arrival: the first is forgotten, the second is not.
        assert_eq!(receive(&mut inbound, 1, 0), (Duplicate, vec![]));
        assert_eq!(receive(&mut inbound, 0, 0), (New, vec![0]));
        assert_eq!(inbound.seen.len(), 1024);
        assert_eq!(inbound.last.len(), 1024);
    }

    #[test]
    fn order_is_restored_around_the_largest_number() {
        let first = u32::MAX - 1;
        let mut inbound = inbound(|config| {
            config.ordered = true;
            config.first_sequence = first;
        });
        assert_eq!(receive(&mut inbound, 1, 0), (New, vec![]));
        assert_eq!(receive(&mut inbound, u32::MAX, 0), (New, vec![]));
        assert_eq!(receive(&mut inbound, u32::MAX, 0), (Duplicate, vec![]));
        assert_eq!(
            receive(&mut inbound, first, 0),
            (New, vec![first, u32::MAX])
        );
        assert_eq!(receive(&mut inbound, 0, 0), (New, vec![0, 1]));
        assert_eq!(receive(&mut inbound, 0, 0), (Duplicate, vec![]));
        assert_eq!(inbound.gap_ends(), None);
    }

    #[test]
    fn what_has_no_room_is_not_remembered() {
        let mut inbound = inbound(|config| config.receive_queue = 2);
        assert_eq!(receive(&mut inbound, 0, 2), (NoRoom, vec![]));
        assert_eq!(receive(&mut inbound, 0, 1), (New, vec![0]));
    }

    #[test]
    fn held_messages_are_bounded_and_the_missing_one_always_fits() {
        let mut inbound = inbound(|config| {
            config.ordered = true;
            config.receive_queue = 3;
        });
        assert_eq!(
            receive(&mut inbound, REMEMBERED as u32, 0),
            (NoRoom, vec![])
        );
        for n in 1..=2 {
            assert_eq!(receive(&mut inbound, n, 0), (New, vec![]));
        }
        assert_eq!(receive(&mut inbound, 3, 0), (NoRoom, vec![]));
        assert_eq!(receive(&mut inbound, 0, 1), (NoRoom, vec![]));
        assert_eq!(receive(&mut inbound, 0, 0), (New, vec![0, 1, 2]));
        assert_eq!(receive(&mut inbound, 3, 2), (New, vec![3]));
    }

    #[test]
    fn a_gap_is_left_out_after_a_while() {
        let mut inbound = inbound(|config| config.ordered = true);
        for n in [2, 3, 5] {
            assert_eq!(receive(&mut inbound, n, 0), (New, vec![]));
        }
        let end = inbound.gap_ends().unwrap();
        let mut ready = Vec::new();
        assert_eq!(inbound.skip(end - Duration::from_millis(1), &mut ready), 0);
        assert_eq!(inbound.skip(end, &mut ready), 2);
        assert_eq!(numbers(&ready), [2, 3]);
        // The next gap begins to count now.
        let next = inbound.gap_ends().unwrap();
        assert!(next > end);
        assert_eq!(receive(&mut inbound, 1, 0), (Late, vec![]));
        assert_eq!(receive(&mut inbound, 4, 0), (New, vec![4, 5]));
    }
}
