//! What was sent and not acknowledged.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{Delivered, DeliveryError, ReliabilityConfig, timing::Timing, wire};

/// A message on its way.
#[derive(Debug)]
struct Pending {
    frame: Bytes,
    first: Option<Instant>,
    last: Instant,
    transmissions: u32,
    due: Instant,
    done: oneshot::Sender<Result<Delivered, DeliveryError>>,
}

/// A message to be sent now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) sequence: u32,
    pub(super) frame: Bytes,
}

/// The messages from the oldest without an acknowledgement on.
#[derive(Debug)]
pub(super) struct Outbound {
    /// The number of the first slot.
    base: u32,
    slots: VecDeque<Option<Pending>>,
    window: usize,
    max_retries: u32,
    timing: Timing,
    /// Nothing is due before that.
    next_due: Option<Instant>,
}

/// How soon a message is tried again that the queue below had no room for.
const NO_ROOM: Duration = Duration::from_millis(5);

impl Outbound {
    pub(super) fn new(config: &ReliabilityConfig, timing: Timing) -> Self {
        Self {
            base: config.first_sequence,
            slots: VecDeque::new(),
            window: config.window,
            max_retries: config.max_retries,
            timing,
            next_due: None,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.slots.len() >= self.window
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    pub(super) fn round_trip(&self) -> Duration {
        self.timing.round_trip()
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timing.timeout(1)
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.next_due
    }

    /// Takes a message, which is to be sent now. There must be room.
    pub(super) fn push(
        &mut self,
        payload: &[u8],
        now: Instant,
        done: oneshot::Sender<Result<Delivered, DeliveryError>>,
    ) -> Due {
        // At most 1024 slots.
        let sequence = self.base.wrapping_add(self.slots.len() as u32);
        let frame = wire::data(sequence, payload);
        self.slots.push_back(Some(Pending {
            frame: frame.clone(),
            first: None,
            last: now,
            transmissions: 0,
            due: now,
            done,
        }));
        Due { sequence, frame }
    }

    fn slot(&mut self, sequence: u32) -> Option<&mut Option<Pending>> {
        self.slots
            .get_mut(sequence.wrapping_sub(self.base) as usize)
    }

    /// Says that a message was sent, or that there was no room for it below.
    pub(super) fn transmitted(&mut self, sequence: u32, now: Instant, sent: bool) {
        let timing = self.timing;
        let Some(Some(pending)) = self.slot(sequence) else {
            return;
        };
        let wait = if sent {
            pending.first.get_or_insert(now);
            pending.last = now;
            pending.transmissions += 1;
            timing.timeout(pending.transmissions)
        } else {
            NO_ROOM
        };
        pending.due = now + wait;
        let due = pending.due;
        self.next_due = Some(self.next_due.map_or(due, |next| next.min(due)));
    }

    /// Takes an acknowledgement; returns whether it was of a message on its way.
    pub(super) fn acked(&mut self, sequence: u32, now: Instant) -> bool {
        let Some(pending) = self.slot(sequence).and_then(Option::take) else {
            return false;
        };
        // After a repetition nobody knows which one was acknowledged.
        if pending.transmissions == 1 {
            self.timing
                .sample(now.saturating_duration_since(pending.last));
        }
        let _ = pending.done.send(Ok(Delivered {
            transmissions: pending.transmissions,
            time: now.saturating_duration_since(pending.first.unwrap_or(now)),
        }));
        self.shrink();
        true
    }

    /// Gives a message up.
    pub(super) fn fail(&mut self, sequence: u32, error: DeliveryError) {
        if let Some(pending) = self.slot(sequence).and_then(Option::take) {
            let _ = pending.done.send(Err(error));
        }
        self.shrink();
    }

    /// Gives all messages up; returns how many.
    pub(super) fn fail_all(&mut self, error: &DeliveryError) -> usize {
        let pending: Vec<_> = std::mem::take(&mut self.slots)
            .into_iter()
            .flatten()
            .collect();
        let number = pending.len();
        for pending in pending {
            let _ = pending.done.send(Err(error.clone()));
        }
        self.next_due = None;
        number
    }

    fn shrink(&mut self) {
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.base = self.base.wrapping_add(1);
        }
        if self.slots.is_empty() {
            self.next_due = None;
        }
    }

    /// Returns what is to be sent again now, and how many messages are given up.
    pub(super) fn due(&mut self, now: Instant) -> (Vec<Due>, usize) {
        if self.next_due.is_none_or(|due| due > now) {
            return (Vec::new(), 0);
        }
        let mut again = Vec::new();
        let mut given_up = Vec::new();
        let mut next: Option<Instant> = None;
        for (n, slot) in self.slots.iter().enumerate() {
            let Some(pending) = slot else { continue };
            let sequence = self.base.wrapping_add(n as u32);
            if pending.due > now {
                next = Some(next.map_or(pending.due, |next| next.min(pending.due)));
            } else if pending.transmissions > self.max_retries {
                given_up.push((sequence, pending.transmissions));
            } else {
                let frame = pending.frame.clone();
                again.push(Due { sequence, frame });
            }
        }
        self.next_due = next;
        let number = given_up.len();
        for (sequence, transmissions) in given_up {
            self.fail(sequence, DeliveryError::GaveUp { transmissions });
        }
        (again, number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn outbound(configure: impl FnOnce(&mut ReliabilityConfig)) -> Outbound {
        let mut config = ReliabilityConfig::default();
        configure(&mut config);
        let timing = Timing::new(ms(10), config.min_ack_timeout, config.max_ack_timeout);
        Outbound::new(&config, timing)
    }

    type Outcome = oneshot::Receiver<Result<Delivered, DeliveryError>>;

    fn send(outbound: &mut Outbound, now: Instant) -> (u32, Outcome) {
        let (done, outcome) = oneshot::channel();
        let due = outbound.push(b"x", now, done);
        outbound.transmitted(due.sequence, now, true);
        (due.sequence, outcome)
    }

    #[test]
    fn numbers_wrap_around() {
        let mut outbound = outbound(|config| config.first_sequence = u32::MAX - 1);
        let now = Instant::now();
        let sent: Vec<_> = (0..4).map(|_| send(&mut outbound, now)).collect();
        let numbers: Vec<_> = sent.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [u32::MAX - 1, u32::MAX, 0, 1]);
        // In any order, and nobody else's.
        assert!(outbound.acked(0, now));
        assert!(!outbound.acked(0, now));
        assert!(!outbound.acked(2, now));
        assert!(!outbound.acked(u32::MAX - 2, now));
        for number in [u32::MAX, 1, u32::MAX - 1] {
            assert!(outbound.acked(number, now), "{number}");
        }
        assert!(outbound.is_empty());
        assert_eq!(outbound.next_due(), None);
        for (_, mut outcome) in sent {
            assert_eq!(outcome.try_recv().unwrap().unwrap().transmissions, 1);
        }
    }

    #[test]
    fn the_window_counts_from_the_oldest() {
        let mut outbound = outbound(|config| config.window = 3);
        let now = Instant::now();
        let _outcomes: Vec<_> = (0..3).map(|_| send(&mut outbound, now)).collect();
        assert!(outbound.is_full());
        outbound.acked(1, now);
        outbound.acked(2, now);
        assert!(outbound.is_full(), "0 is still missing");
        assert_eq!(outbound.in_flight(), 1);
        outbound.acked(0, now);
        assert!(outbound.is_empty());
    }

    #[test]
    fn repetitions_back_off_and_end() {
        let mut outbound = outbound(|config| config.max_retries = 2);
        let start = Instant::now();
        let (number, mut outcome) = send(&mut outbound, start);
        // 30, 60 and 120 ms: four times the variation and the round trip, twice as long each time.
        for (due, transmissions) in [(30, 2), (90, 3)] {
            let now = start + ms(due);
            assert_eq!(outbound.next_due(), Some(now));
            assert_eq!(outbound.due(now - ms(1)), (vec![], 0));
            let (again, given_up) = outbound.due(now);
            assert_eq!((again.len(), given_up), (1, 0), "{transmissions}");
            outbound.transmitted(number, now, true);
        }
        let now = start + ms(210);
        assert_eq!(outbound.next_due(), Some(now));
        assert_eq!(outbound.due(now), (vec![], 1));
        assert!(outbound.is_empty());
        let gave_up = DeliveryError::GaveUp { transmissions: 3 };
        assert_eq!(outcome.try_recv().unwrap(), Err(gave_up));
    }

    #[test]
    fn a_full_queue_below_is_no_transmission() {
        let mut outbound = outbound(|config| config.max_retries = 0);
        let start = Instant::now();
        let (done, mut outcome) = oneshot::channel();
        let number = outbound.push(b"x", start, done).sequence;
        let mut now = start;
        for _ in 0..10 {
            outbound.transmitted(number, now, false);
            now += NO_ROOM;
            assert_eq!(outbound.due(now).0.len(), 1);
        }
        outbound.transmitted(number, now, true);
        assert!(outbound.acked(number, now + ms(3)));
        let delivered = outcome.try_recv().unwrap().unwrap();
        assert_eq!(delivered.transmissions, 1);
        assert_eq!(delivered.time, ms(3));
    }
}
