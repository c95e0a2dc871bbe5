//! How often something may happen.

use std::{fmt, str::FromStr, time::Duration};

use super::{
    ConfigError, ensure, ensure_time,
    error::invalid,
    text::{Reason, Text},
};

/// So many in a time: up to `max` may come at once, after that one more for each `window / max` that passes.
///
/// Written `100/s`, `20/10s` or `600/m`.
///
/// ```
/// use std::time::Duration;
/// use wt_core::config::Rate;
///
/// assert_eq!("20/10s".parse(), Ok(Rate::new(20, Duration::from_secs(10))));
/// assert_eq!("100/s".parse(), Ok(Rate::per_second(100)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Rate {
    /// How many.
    pub max: u32,
    /// In which time.
    pub window: Duration,
}

impl Rate {
    /// More than that in a window is no limit.
    const MAX: u32 = 1 << 24;

    /// Makes one of `max` in `window`.
    #[must_use]
    pub const fn new(max: u32, window: Duration) -> Self {
        Self { max, window }
    }

    /// Makes one of `max` in a second.
    #[must_use]
    pub const fn per_second(max: u32) -> Self {
        Self::new(max, Duration::from_secs(1))
    }

    /// Returns the time in which one more comes.
    pub(crate) fn each(self) -> Duration {
        self.window / self.max.max(1)
    }

    pub(super) fn validate(self, key: &'static str) -> Result<(), ConfigError> {
        let range = 1..=Self::MAX;
        let reason = "must allow between 1 and 16777216 in its time";
        ensure(range.contains(&self.max), key, self, reason)?;
        ensure_time(key, self.window)?;
        let reason = "must be in a time of at least 1 ms";
        ensure(self.window >= Duration::from_millis(1), key, self, reason)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:?}", self.max, self.window)
    }
}

impl FromStr for Rate {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let rate = Self::read(text).map_err(|reason| invalid("rate", text, reason))?;
        rate.validate("rate").map(|()| rate)
    }
}

impl Text for Rate {
    fn read(text: &str) -> Result<Self, Reason> {
        let reason = "must be a number in a time, such as 100/s, 20/10s or 600/m";
        let rate = text.split_once('/').and_then(|(max, window)| {
            let max = max.trim().replace('_', "").parse().ok()?;
            let window = window.trim();
            let window = match window.chars().next()? {
                '0'..='9' => Duration::read(window),
                _ => Duration::read(&format!("1{window}")),
            };
            Some(Self::new(max, window.ok()?))
        });
        rate.ok_or(Reason::Borrowed(reason))
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_written() {
        for (text, max, window) in [
            ("100/s", 100, Duration::from_secs(1)),
            ("1 / 250ms", 1, Duration::from_millis(250)),
            ("600/m", 600, Duration::from_secs(60)),
            ("1_000/2h", 1000, Duration::from_secs(7200)),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(rate, Rate::new(max, window), "{text}");
            assert_eq!(rate.to_string().parse(), Ok(rate));
        }
        for text in [
            "", "7", "s", "/s", "1/", "1/x", "-1/s", "1.5/s", "0/s", "1/0s", "1/9us",
        ] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
