//! How much lies in QUIC's buffer, where nothing is overtaken any more.
//!
//! A datagram that tells when it leaves costs as much as many that do not. QUIC sends in order, so it is enough that
//! one in a while tells, for itself and for those before it.

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// The most that QUIC gets ahead of time, unless more is asked for: half of its buffer.
const MOST: usize = 128 * 1024;

/// How long a rate is measured at least.
const MEASURED: Duration = Duration::from_micros(100);

/// Bytes that QUIC has and has not sent yet.
#[derive(Debug)]
pub(super) struct Ahead {
    bytes: AtomicUsize,
    /// How many it may have now.
    limit: AtomicUsize,
    least: usize,
    /// What is sent within this time may be there, if it is more.
    time: Duration,
    /// The task that hands over more.
    pump: Arc<Notify>,
}

impl Ahead {
    pub(super) fn new(least: usize, time: Duration, pump: Arc<Notify>) -> Self {
        let least = least.max(1);
        Self {
            bytes: AtomicUsize::new(0),
            limit: AtomicUsize::new(least),
            least,
            time,
            pump,
        }
    }

    fn limit(&self) -> usize {
        self.limit.load(Relaxed)
    }

    /// Fits the limit to how fast QUIC sends. One slow moment takes half of it at most.
    pub(super) fn measured(&self, rate: &mut Rate, untold: usize, now: Instant) {
        if self.time.is_zero() {
            return;
        }
        let left = self.bytes.load(SeqCst) + untold;
        let Some(bytes) = rate.within(self.time, left, now) else {
            return;
        };
        let limit = bytes.max(self.limit() / 2).min(MOST).max(self.least);
        self.limit.store(limit, Relaxed);
    }

    /// Returns whether QUIC may have another one beside `untold` bytes. It always may when it has none.
    pub(super) fn has_room(&self, untold: usize) -> bool {
        self.bytes.load(SeqCst) + untold < self.limit()
    }

    /// Returns about how many bytes a datagram of that length takes on the wire: with its frame, and with its part of
    /// what a packet takes.
    pub(super) const fn cost(len: usize) -> usize {
        len + len / 24 + 4
    }

    /// Returns whether, with so many bytes of which nobody tells, the next datagram should.
    ///
    /// Those that never tell are few, so that all but an eighth of a full buffer is told of.
    pub(super) fn should_tell(&self, untold: usize) -> bool {
        untold > self.limit() / 8
    }

    /// Makes what tells that so many bytes have left.
    pub(super) fn ticket(self: &Arc<Self>, bytes: usize) -> Ticket {
        self.bytes.fetch_add(bytes, SeqCst);
        Ticket {
            ahead: self.clone(),
            bytes,
        }
    }
}

/// How fast QUIC sends what it is given.
#[derive(Debug)]
pub(super) struct Rate {
    since: Instant,
    /// What QUIC had then, and got since.
    bytes: usize,
}

impl Default for Rate {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            bytes: 0,
        }
    }
}

impl Rate {
    /// Counts bytes that QUIC got.
    pub(super) const fn add(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Returns how many bytes QUIC sent in such a time, measured since the last answer, given what is `left` with it now;
    /// `None` when the last answer was just now.
    fn within(&mut self, time: Duration, left: usize, now: Instant) -> Option<usize> {
        let measured = now.saturating_duration_since(self.since);
        if measured < MEASURED {
            return None;
        }
        let part = time.as_secs_f64() / measured.as_secs_f64();
        let bytes = self.bytes.saturating_sub(left) as f64 * part;
        *self = Self {
            since: now,
            bytes: left,
        };
        // Too much for the type is as much as it takes.
        Some(bytes as usize)
    }
}

/// Bytes that QUIC has; dropped when they have left.
#[derive(Debug)]
pub(super) struct Ticket {
    ahead: Arc<Ahead>,
    bytes: usize,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let ahead = &self.ahead;
        let before = ahead.bytes.fetch_sub(self.bytes, SeqCst);
        let half = ahead.limit() / 2;
        // Once for each half, so that the task that is woken has something to do.
        if before > half && before - self.bytes <= half {
            ahead.pump.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    /// Sends steadily for a while and returns the limit that comes of it.
    fn after(ahead: &Ahead, rate: &mut Rate, bytes_per_ms: usize) -> usize {
        let mut now = rate.since;
        for _ in 0..20 {
            rate.add(bytes_per_ms);
            now += Duration::from_millis(1);
            ahead.measured(rate, 0, now);
        }
        ahead.limit()
    }

    #[test]
    fn the_limit_follows_the_rate_within_its_bounds() {
        let ahead = Ahead::new(32 * KIB, Duration::from_micros(500), Arc::default());
        let mut rate = Rate::default();
        assert_eq!(after(&ahead, &mut rate, KIB), 32 * KIB);
        assert_eq!(after(&ahead, &mut rate, 160 * KIB), 80 * KIB);
        assert_eq!(after(&ahead, &mut rate, 10 * KIB * KIB), MOST);
        assert_eq!(after(&ahead, &mut rate, KIB), 32 * KIB);
    }

    #[test]
    fn what_is_asked_for_is_never_less_and_without_a_time_never_more() {
        let large = Ahead::new(2 * MOST, Duration::from_micros(500), Arc::default());
        assert_eq!(after(&large, &mut Rate::default(), KIB), 2 * MOST);
        let fixed = Ahead::new(1, Duration::ZERO, Arc::default());
        assert_eq!(after(&fixed, &mut Rate::default(), 10 * KIB * KIB), 1);
    }

    #[test]
    fn what_was_given_and_not_sent_is_no_rate() {
        let ahead = Arc::new(Ahead::new(KIB, Duration::from_micros(500), Arc::default()));
        let mut rate = Rate::default();
        rate.add(200 * KIB);
        let ticket = ahead.ticket(190 * KIB);
        let now = rate.since + Duration::from_millis(1);
        ahead.measured(&mut rate, 10 * KIB, now);
        assert_eq!(ahead.limit(), KIB);
        drop(ticket);
        ahead.measured(&mut rate, 10 * KIB, now + Duration::from_millis(1));
        assert_eq!(ahead.limit(), 95 * KIB);
    }

    #[test]
    fn a_slow_moment_takes_half() {
        let ahead = Ahead::new(KIB, Duration::from_micros(500), Arc::default());
        let mut rate = Rate::default();
        after(&ahead, &mut rate, 200 * KIB);
        let now = rate.since + Duration::from_millis(1);
        ahead.measured(&mut rate, 0, now);
        assert_eq!(ahead.limit(), 50 * KIB);
    }
}
