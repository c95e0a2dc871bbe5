//! Small things that programs around sessions need again and again.

use std::{fmt, time::Duration, time::Instant};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::tls::random;

/// Measures how long something takes, by a clock that never goes back.
///
/// Dropped before [`Self::stop`], it says at the level DEBUG of `tracing` how long it ran.
///
/// # Examples
///
/// ```
/// use wt_core::util::Timer;
///
/// let timer = Timer::start("handshake");
/// let took = timer.stop();
/// println!("{}", wt_core::util::format_duration(took));
/// ```
#[derive(Debug)]
#[must_use = "a timer that is dropped at once measures nothing"]
pub struct Timer {
    name: &'static str,
    started: Instant,
    stopped: bool,
}

impl Timer {
    /// Starts to measure.
    pub fn start(name: &'static str) -> Self {
        Self {
            name,
            started: Instant::now(),
            stopped: false,
        }
    }

    /// Returns how long it has been.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Ends the measurement and returns how long it was.
    pub fn stop(mut self) -> Duration {
        self.stopped = true;
        self.elapsed()
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if !self.stopped {
            let took = format_duration(self.elapsed());
            tracing::debug!(name = self.name, %took, "timer");
        }
    }
}

/// Writes a duration for people: `12.3ms`, `4.5s`, `3m4.5s`, `1h2m3.4s`.
///
/// Rounded to a tenth of its smallest unit, with the larger units after the rounding: never `60.0s`.
#[must_use]
pub fn format_duration(duration: Duration) -> impl fmt::Display {
    struct Words(Duration);

    impl fmt::Display for Words {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let micros = self.0.as_micros();
            // Tenths of a millisecond, as long as that is less than a second.
            let tenths = (micros + 50) / 100;
            if tenths < 10_000 {
                return write!(f, "{}.{}ms", tenths / 10, tenths % 10);
            }
            let tenths = (micros + 50_000) / 100_000;
            let (seconds, tenth) = (tenths / 10, tenths % 10);
            let (minutes, hours) = (seconds / 60, seconds / 3600);
            match (hours, minutes) {
                (0, 0) => write!(f, "{seconds}.{tenth}s"),
                (0, _) => write!(f, "{minutes}m{}.{tenth}s", seconds % 60),
                _ => write!(f, "{hours}h{}m{}.{tenth}s", minutes % 60, seconds % 60),
            }
        }
    }

    Words(duration)
}

/// Makes an id that nobody can guess: 16 random bytes as 22 characters, fit for URLs.
///
/// # Errors
///
/// [`NoRandomness`] when the system gives none.
#[doc(alias = "generate_session_id")]
pub fn random_id() -> Result<String, NoRandomness> {
    let mut bytes = [0; 16];
    random(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The system gives no random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoRandomness;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn durations_are_written_for_people() {
        for (nanos, words) in [
            (0, "0.0ms"),
            (1_260_000, "1.3ms"),
            (999_940_000, "999.9ms"),
            (999_990_000, "1.0s"),
            (59_940_000_000, "59.9s"),
            (59_960_000_000, "1m0.0s"),
            (184_500_000_000, "3m4.5s"),
            (3_599_960_000_000, "1h0m0.0s"),
            (3_723_400_000_000, "1h2m3.4s"),
        ] {
            let duration = Duration::from_nanos(nanos);
            assert_eq!(format_duration(duration).to_string(), words);
        }
    }

    #[test]
    fn timers_run_until_they_are_stopped() {
        let timer = Timer::start("test");
        let first = timer.elapsed();
        let second = timer.elapsed();
        assert!(second >= first);
        assert!(timer.stop() >= second);
        drop(Timer::start("dropped"));
    }

    #[test]
    fn ids_are_of_one_form_and_never_the_same() {
        let ids: HashSet<_> = (0..100).map(|_| random_id().unwrap()).collect();
        assert_eq!(ids.len(), 100);
        let fit = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        assert!(ids.iter().all(|id| id.len() == 22 && id.chars().all(fit)));
    }
}
