//! When to try again.

use std::time::Duration;

use crate::setting::{InvalidSetting, ensure};

/// How often and after which pauses an attempt is repeated: exponential back-off with full jitter.
///
/// Before the n-th repetition in a row there is a pause of at most
/// `delay * factor^(n - 1)`, and of at most `max_delay`. With [`jitter`](Self::jitter) its length is
/// drawn at random between 0 and that, so that the clients of a server that went away do not come
/// back all at once.
///
/// A session that lived for [`stable_after`](Self::stable_after) ends the row. One that was lost
/// earlier counts as one more failure: a server that accepts and then throws out is not hammered.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// The longest first pause. Default: 1 s.
    #[doc(alias = "retry_delay")]
    pub delay: Duration,
    /// By how much the longest pause grows each time. Default: 2.
    #[doc(alias = "retry_backoff")]
    pub factor: f64,
    /// What it grows up to. Default: 30 s.
    #[doc(alias = "max_retry_delay")]
    pub max_delay: Duration,
    /// How many repetitions in a row there may be; `None` for any number. Default: `None`.
    pub max_retries: Option<u32>,
    /// Whether pauses are drawn at random; `false` makes each as long as it may be. Default: `true`.
    pub jitter: bool,
    /// How long a session has to live to count as a success. Default: 5 s.
    pub stable_after: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            delay: Duration::from_secs(1),
            factor: 2.0,
            max_delay: Duration::from_secs(30),
            max_retries: None,
            jitter: true,
            stable_after: Duration::from_secs(5),
        }
    }
}

impl RetryPolicy {
    /// Makes the default policy: any number of repetitions, up to 30 s apart.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a policy of no repetition: the first failure, or the first loss, is the end.
    #[must_use]
    pub fn never() -> Self {
        Self::default().with_max_retries(0)
    }

    /// Sets the longest first pause and what it grows up to.
    #[must_use]
    pub const fn with_delay(mut self, first: Duration, max: Duration) -> Self {
        self.delay = first;
        self.max_delay = max;
        self
    }

    /// Sets by how much the longest pause grows each time.
    #[must_use]
    pub const fn with_factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// Sets how many repetitions in a row there may be; `None` for any number.
    #[must_use]
    pub fn with_max_retries(mut self, retries: impl Into<Option<u32>>) -> Self {
        self.max_retries = retries.into();
        self
    }

    /// Sets whether pauses are drawn at random.
    #[must_use]
    pub const fn with_jitter(mut self, jitter: bool) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets how long a session has to live to count as a success.
    #[must_use]
    pub const fn with_stable_after(mut self, time: Duration) -> Self {
        self.stable_after = time;
        self
    }

    /// Checks that all values can work.
    ///
    /// # Errors
    ///
    /// Names the first field whose value cannot work, the value and the reason.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        ensure(
            !self.delay.is_zero(),
            "RetryPolicy.delay",
            self.delay,
            "must be longer than 0",
        )?;
        ensure(
            self.max_delay >= self.delay,
            "RetryPolicy.max_delay",
            self.max_delay,
            "must not be shorter than `delay`",
        )?;
        ensure(
            self.factor.is_finite() && self.factor >= 1.0,
            "RetryPolicy.factor",
            self.factor,
            "must be at least 1",
        )
    }

    /// Returns the longest pause after so many failures in a row.
    #[must_use]
    pub fn longest_pause(&self, failures: u32) -> Duration {
        let steps = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.delay.as_secs_f64() * self.factor.powi(steps);
        // What does not fit into a `Duration` is longer than any limit.
        Duration::try_from_secs_f64(seconds)
            .unwrap_or(self.max_delay)
            .min(self.max_delay)
    }

    /// Draws the pause after so many failures in a row.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        let longest = self.longest_pause(failures);
        if self.jitter {
            longest.mul_f64(fastrand::f64())
        } else {
            longest
        }
    }

    /// Returns whether so many failures in a row are the end.
    pub(super) fn is_over(&self, failures: u32) -> bool {
        self.max_retries.is_some_and(|most| failures > most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_their_limit() {
        let policy = RetryPolicy::new().with_jitter(false);
        let pauses = (1..=7).map(|n| policy.pause(n).as_secs());
        assert_eq!(pauses.collect::<Vec<_>>(), [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(policy.pause(u32::MAX), policy.max_delay);
        let endless = policy.with_delay(Duration::from_secs(1), Duration::MAX);
        assert_eq!(endless.pause(u32::MAX), Duration::MAX);
    }

    #[test]
    fn full_jitter_draws_from_the_whole_range() {
        let policy = RetryPolicy::new();
        let longest = policy.longest_pause(4);
        let drawn: Vec<_> = (0..1000).map(|_| policy.pause(4)).collect();
        assert!(drawn.iter().all(|pause| *pause <= longest));
        // Each misses once in 10^57 runs.
        assert!(drawn.iter().any(|pause| *pause < longest / 8));
        assert!(drawn.iter().any(|pause| *pause > longest / 8 * 7));
    }

    #[test]
    fn retries_are_counted_in_a_row() {
        assert!(RetryPolicy::never().is_over(1));
        let three = RetryPolicy::new().with_max_retries(3);
        assert!(!three.is_over(3));
        assert!(three.is_over(4));
        assert!(!RetryPolicy::new().is_over(u32::MAX));
    }

    #[test]
    fn values_that_cannot_work_are_named() {
        let second = Duration::from_secs(1);
        for (policy, key) in [
            (
                RetryPolicy::new().with_delay(Duration::ZERO, second),
                "delay",
            ),
            (
                RetryPolicy::new().with_delay(second * 2, second),
                "max_delay",
            ),
            (RetryPolicy::new().with_factor(0.5), "factor"),
            (RetryPolicy::new().with_factor(f64::NAN), "factor"),
        ] {
            let error = policy.validate().unwrap_err();
            assert_eq!(error.key, format!("RetryPolicy.{key}"));
        }
        RetryPolicy::new().validate().unwrap();
    }
}
