//! When a connection steps back, so that its packets have time to fill.
//!
//! A connection that sends again and again within microseconds steps back before it goes on, until its thread has nothing
//! else to run: what is written meanwhile leaves with it. Whether that was worth it shows in what is sent then: if it is
//! no more than what is sent at once, as with single requests, with acknowledgements and with packets that are full
//! anyway, the connection lets it be, for the longer the more often it is so. One that calls itself because it has more to
//! send than it sends at a time seldom steps back.

use std::time::{Duration, Instant};

/// Sends that follow each other within this time are one streak: less than a round trip takes, so that requests one by
/// one are none.
const GAP: Duration = Duration::from_micros(15);

/// How many sends of a streak go at once before others step back.
const STREAK: u32 = 2;

/// A connection stays busy for so long after a step back that was worth it, however long the gaps: until the answers to
/// many requests are written takes longer than [`GAP`], and those that have to wait for a new streak leave in a packet
/// each.
const BUSY: Duration = Duration::from_micros(200);

/// So many steps back in a row that were not worth it end that, since one or two say little: what is sent then may be an
/// acknowledgement alone.
const IN_VAIN: u32 = 32;

/// For how many sends there is no step back after that, at first and at most.
const REST: (u32, u32) = (128, 4096);

/// So often in a row a connection that calls itself goes on. Then it steps back, and what acknowledges its packets is
/// read, which a thread with something to run does only after a few dozen polls: QUIC takes the longer for each packet
/// the more small writes are not acknowledged.
const GOES_ON: u32 = 2;

/// A connection is not calm after a poll that took longer: a handshake, or much data.
const LONG: Duration = Duration::from_micros(50);

/// Looks after the polls of one connection.
#[derive(Debug, Default)]
pub(super) struct StepBack {
    turn: Turn,
    /// When the poll began.
    begun: Option<Instant>,
    /// How long the last one took.
    took: Duration,
    /// The connection steps back now; what it is going to do then.
    away: Option<Turn>,
    /// When the last poll ended that sent something.
    sent_at: Option<Instant>,
    /// Sends in quick succession.
    streak: u32,
    /// The last send had stepped back: the next one does not.
    has_stepped: bool,
    /// Until when gaps of any length belong to the streak.
    busy_until: Option<Instant>,
    /// Bytes that a poll sends which does not step back.
    alone: usize,
    /// Steps back in a row that were not worth it.
    in_vain: u32,
    /// For how many sends it does not step back.
    rest: u32,
    /// What `rest` began with the last time, unless it was worth it since.
    rested: u32,
    /// The last poll ended with more to send.
    has_more: bool,
    /// How often it has gone on in a row for that.
    goes_on: u32,
}

/// What a poll is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Turn {
    #[default]
    AtOnce,
    /// It comes after a step back.
    Back,
    /// It sends more of what the last one sent.
    More,
}

impl StepBack {
    /// Begins a poll at this time, or says that it should step back instead; then the next one goes on.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        self.begun = Some(now);
        if let Some(turn) = self.away.take() {
            self.turn = turn;
            return true;
        }
        if std::mem::take(&mut self.has_more) {
            self.turn = Turn::More;
            if self.goes_on < GOES_ON {
                self.goes_on += 1;
                return true;
            }
            self.goes_on = 0;
            self.away = Some(Turn::More);
            return false;
        }
        self.goes_on = 0;
        self.turn = Turn::AtOnce;
        if self.should_step_back(now) {
            self.away = Some(Turn::Back);
            return false;
        }
        true
    }

    /// Begins a poll at this time if the connection is calm: it has little to do and is far from stepping back.
    pub(super) fn begin_if_calm(&mut self, now: Instant) -> bool {
        let is_calm = self.away.is_none()
            && !self.has_more
            && self.sent_at.is_some()
            && self.took <= LONG
            && !self.is_busy(now)
            && !self.should_step_back(now);
        is_calm && self.begin(now)
    }

    /// Takes note that a poll ended, of what it sent, and whether the connection called itself.
    pub(super) fn end(&mut self, now: Instant, sent: usize, called: bool) {
        let begun = self.begun.unwrap_or(now);
        self.took = now.saturating_duration_since(begun);
        self.has_more = called;
        if sent == 0 {
            return;
        }
        if !self.is_quick(begun) {
            self.streak = 0;
        }
        self.streak = self.streak.saturating_add(1);
        self.sent_at = Some(now);
        self.rest = self.rest.saturating_sub(1);
        match self.turn {
            Turn::More => {}
            Turn::AtOnce => {
                self.has_stepped = false;
                self.alone = match self.alone {
                    0 => sent,
                    alone => (3 * alone + sent) / 4,
                };
            }
            Turn::Back => {
                self.has_stepped = true;
                self.judge(now, sent);
            }
        }
    }

    /// Takes note whether a step back was worth it.
    fn judge(&mut self, now: Instant, sent: usize) {
        if sent > self.alone + self.alone / 2 {
            self.busy_until = Some(now + BUSY);
            self.in_vain = 0;
            self.rested = 0;
            return;
        }
        self.in_vain += 1;
        if self.in_vain == IN_VAIN {
            self.in_vain = 0;
            self.busy_until = None;
            self.rested = (2 * self.rested).clamp(REST.0, REST.1);
            self.rest = self.rested;
        }
    }

    fn should_step_back(&self, now: Instant) -> bool {
        let is_streak = || self.rest == 0 && self.streak >= STREAK && self.is_quick(now);
        !self.has_stepped && (self.is_busy(now) || is_streak())
    }

    fn is_busy(&self, now: Instant) -> bool {
        self.busy_until.is_some_and(|end| now <= end)
    }

    fn is_quick(&self, now: Instant) -> bool {
        let quick = |at| now.saturating_duration_since(at) <= GAP;
        self.sent_at.is_some_and(quick)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Polls a connection at these times, in microseconds, at which it has so much to send, or three times as much if it
    /// has stepped back, and says when it did.
    fn stepped_back(
        pace: &mut StepBack,
        start: Instant,
        times: impl IntoIterator<Item = u64>,
        gain: usize,
    ) -> Vec<u64> {
        let steps_back = |time: &u64| {
            let now = start + Duration::from_micros(*time);
            let steps_back = !pace.begin(now);
            if steps_back {
                assert!(pace.begin(now), "it steps back once");
            }
            pace.end(now, if steps_back { 100 * gain } else { 100 }, false);
            steps_back
        };
        times.into_iter().filter(steps_back).collect()
    }

    #[test]
    fn single_sends_never_step_back() {
        let times = (1..100).map(|n| n * 50);
        let mut pace = StepBack::default();
        assert!(stepped_back(&mut pace, Instant::now(), times, 3).is_empty());
    }

    #[test]
    fn polls_that_send_nothing_are_no_streak() {
        let (mut pace, now) = (StepBack::default(), Instant::now());
        for _ in 0..100 {
            assert!(pace.begin(now));
            pace.end(now, 0, false);
        }
    }

    #[test]
    fn a_streak_steps_back_every_other_time() {
        let mut pace = StepBack::default();
        let stepped = stepped_back(&mut pace, Instant::now(), 1..=8, 3);
        assert_eq!(stepped, [3, 5, 7]);
    }

    #[test]
    fn a_pause_ends_no_streak_when_to_step_back_was_worth_it() {
        let times = [1, 2, 3, 13, 100, 101, 200, 201, 300, 301];
        let mut pace = StepBack::default();
        let stepped = stepped_back(&mut pace, Instant::now(), times, 3);
        assert_eq!(stepped, [3, 100, 200, 300]);
    }

    #[test]
    fn a_pause_ends_a_streak_when_it_was_not() {
        let times = [1, 2, 3, 4, 100, 101, 102, 103];
        let mut pace = StepBack::default();
        let stepped = stepped_back(&mut pace, Instant::now(), times, 1);
        assert_eq!(stepped, [3, 102]);
    }

    #[test]
    fn who_steps_back_in_vain_rests_longer_and_longer() {
        let (mut pace, start) = (StepBack::default(), Instant::now());
        let stepped = stepped_back(&mut pace, start, 1..10_000, 1);
        let pauses: Vec<u64> = stepped.windows(2).map(|two| two[1] - two[0]).collect();
        let rests: Vec<u64> = pauses.into_iter().filter(|pause| *pause > 2).collect();
        assert_eq!(rests[..3], [129, 257, 513]);
        // And is busy again as soon as it is worth it, with the shortest rest before it.
        stepped_back(&mut pace, start, 10_000..20_000, 3);
        assert_eq!((pace.rested, pace.rest), (0, 0));
    }

    #[test]
    fn who_has_more_to_send_goes_on_twice() {
        let (mut pace, now) = (StepBack::default(), Instant::now());
        let goes_on = [(); 8].map(|()| {
            let goes_on = pace.begin(now);
            if goes_on {
                pace.end(now, 20_000, true);
            }
            goes_on
        });
        let [no, yes] = [false, true];
        assert_eq!(goes_on, [yes, yes, yes, no, yes, yes, yes, no]);
    }

    #[test]
    fn who_is_busy_or_slow_is_not_calm() {
        let now = Instant::now();
        let mut pace = StepBack::default();
        assert!(!pace.begin_if_calm(now), "nothing is known of it");
        stepped_back(&mut pace, now, [1], 1);
        let later = now + GAP * 4;
        assert!(pace.begin_if_calm(later));
        pace.end(later + LONG * 2, 100, false);
        assert!(
            !pace.begin_if_calm(later + LONG * 4),
            "the last poll was long"
        );
        stepped_back(&mut pace, later, [1000, 1001, 1002], 3);
        let soon = later + Duration::from_micros(1100);
        assert!(!pace.begin_if_calm(soon), "it is busy");
    }
}
