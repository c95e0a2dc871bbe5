//! How much of a rate is used up.

use std::time::{Duration, Instant};

use crate::config::Rate;

/// Until when a rate is used up, if what came had come evenly (the generic cell rate algorithm).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket(Option<Instant>);

impl Bucket {
    /// Returns how far ahead of now the rate is used up.
    fn used(self, now: Instant) -> Duration {
        self.0
            .map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// Returns how long to wait until there is room for one more; `None` when there is.
    pub(super) fn wait(self, rate: Rate, now: Instant) -> Option<Duration> {
        let each = rate.each();
        // Not the window itself, which need not be a multiple of it.
        let room = each * rate.max;
        let wait = (self.used(now) + each).saturating_sub(room);
        (!wait.is_zero()).then_some(wait)
    }

    /// Returns whether one more would use more than half.
    pub(super) fn is_half_used(self, rate: Rate, now: Instant) -> bool {
        (self.used(now) + rate.each()) * 2 > rate.window
    }

    pub(super) fn take(&mut self, rate: Rate, now: Instant) {
        self.0 = Some(now + self.used(now) + rate.each());
    }

    /// Returns whether nothing is used up.
    pub(super) fn is_unused(self, now: Instant) -> bool {
        self.used(now).is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_comes_back_one_by_one() {
        let rate = Rate::new(3, Duration::from_secs(30));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut bucket = Bucket::default();
        assert!(bucket.is_unused(start));
        for half_used in [false, true, true] {
            assert_eq!(bucket.is_half_used(rate, start), half_used);
            assert_eq!(bucket.wait(rate, start), None);
            bucket.take(rate, start);
        }
        assert_eq!(bucket.wait(rate, at(4)), Some(Duration::from_secs(6)));
        assert_eq!(bucket.wait(rate, at(10)), None);
        bucket.take(rate, at(10));
        assert_eq!(bucket.wait(rate, at(10)), Some(Duration::from_secs(10)));
        assert!(!bucket.is_unused(at(39)));
        assert!(bucket.is_unused(at(40)));
    }
}
