//! How long to wait for an acknowledgement, from what was measured (RFC 6298).

use std::time::Duration;

/// Estimates the round-trip time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    smoothed: Duration,
    variation: Duration,
    measured: bool,
    shortest: Duration,
    longest: Duration,
}

impl Timing {
    /// Starts from what QUIC has measured.
    pub(super) fn new(quic: Duration, shortest: Duration, longest: Duration) -> Self {
        Self {
            smoothed: quic,
            variation: quic / 2,
            measured: false,
            shortest,
            longest,
        }
    }

    /// Takes the time between a message that was sent once and its acknowledgement.
    pub(super) fn sample(&mut self, time: Duration) {
        if !self.measured {
            self.measured = true;
            (self.smoothed, self.variation) = (time, time / 2);
            return;
        }
        let off = self.smoothed.abs_diff(time);
        self.variation = (self.variation * 3 + off) / 4;
        self.smoothed = (self.smoothed * 7 + time) / 8;
    }

    pub(super) fn round_trip(&self) -> Duration {
        self.smoothed
    }

    /// Returns how long to wait for the acknowledgement after this many transmissions: twice as long each time.
    ///
    /// A link that was steady for long leaves no variation. A quarter of the round trip is kept as a margin then, so
    /// that one hesitation of either end does not send all that is under way again.
    pub(super) fn timeout(&self, transmissions: u32) -> Duration {
        let margin = (self.variation * 4).max(self.smoothed / 4);
        let first = (self.smoothed + margin).clamp(self.shortest, self.longest);
        let doubled = 1_u32.checked_shl(transmissions.saturating_sub(1));
        let longer = doubled.and_then(|factor| first.checked_mul(factor));
        longer.map_or(self.longest, |time| time.min(self.longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_timeout_follows_what_is_measured() {
        let mut timing = Timing::new(ms(100), ms(20), ms(2000));
        assert_eq!(timing.timeout(1), ms(300));
        timing.sample(ms(40));
        assert_eq!(timing.timeout(1), ms(120));
        for _ in 0..200 {
            timing.sample(ms(40));
        }
        assert_eq!(timing.timeout(1), ms(50));
        for _ in 0..200 {
            timing.sample(ms(1));
        }
        assert_eq!(timing.timeout(1), ms(20));
        timing.sample(ms(60_000));
        assert_eq!(timing.timeout(1), ms(2000));
    }

    #[test]
    fn the_timeout_doubles_up_to_its_limit() {
        let timing = Timing::new(ms(10), ms(20), ms(2000));
        let times: Vec<_> = (1..=8).map(|n| timing.timeout(n)).collect();
        let doubled = [30, 60, 120, 240, 480, 960, 1920, 2000].map(ms);
        assert_eq!(times, doubled);
        assert_eq!(timing.timeout(u32::MAX), ms(2000));
    }
}
