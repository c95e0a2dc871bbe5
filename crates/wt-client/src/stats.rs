//! Figures of a client, and what they tell.

use std::{
    fmt,
    sync::Mutex,
    time::{Duration, Instant, SystemTime},
};

use crate::lock::lock;

/// Figures of a client at one moment, over all its handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientStats {
    /// When the client was made.
    #[doc(alias = "created_at")]
    pub created: SystemTime,
    /// How long ago that was, by the monotonic clock.
    pub uptime: Duration,
    /// Sessions that were asked for, those that are still being made among them.
    #[doc(alias = "connections_attempted")]
    pub attempted: u64,
    /// Sessions that came to be.
    #[doc(alias = "connections_successful")]
    pub succeeded: u64,
    /// Sessions that did not come to be, those that the caller gave up among them.
    #[doc(alias = "connections_failed")]
    pub failed: u64,
    /// Time that the sessions that came to be took, together.
    pub total_connect_time: Duration,
    /// The shortest of these times; `None` before the first session.
    pub min_connect_time: Option<Duration>,
    /// The longest of these times; `None` before the first session.
    pub max_connect_time: Option<Duration>,
}

impl ClientStats {
    /// Returns how long a session took on average; `None` before the first one.
    #[must_use]
    pub fn avg_connect_time(&self) -> Option<Duration> {
        let count = u32::try_from(self.succeeded).unwrap_or(u32::MAX);
        self.total_connect_time.checked_div(count)
    }

    /// Returns which part of the attempts that are over succeeded, from 0 to 1; 1 before the first.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people to read")]
    pub fn success_rate(&self) -> f64 {
        let over = self.succeeded + self.failed;
        if over == 0 {
            return 1.0;
        }
        self.succeeded as f64 / over as f64
    }

    /// Returns names and values, for logs and diagnostics. Times are in seconds.
    #[must_use]
    #[doc(alias = "to_dict")]
    pub fn fields(&self) -> [(&'static str, String); 9] {
        let since_epoch = self.created.duration_since(SystemTime::UNIX_EPOCH);
        let seconds = |time: Duration| format!("{:.3}", time.as_secs_f64());
        let maybe = |time: Option<Duration>| seconds(time.unwrap_or_default());
        [
            ("created_at", seconds(since_epoch.unwrap_or_default())),
            ("uptime", seconds(self.uptime)),
            ("attempted", self.attempted.to_string()),
            ("successful", self.succeeded.to_string()),
            ("failed", self.failed.to_string()),
            ("success_rate", format!("{:.4}", self.success_rate())),
            ("avg_connect_time", maybe(self.avg_connect_time())),
            ("min_connect_time", maybe(self.min_connect_time)),
            ("max_connect_time", maybe(self.max_connect_time)),
        ]
    }
}

/// The connections of a client by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionStates {
    /// Being made, up to the server's SETTINGS.
    pub connecting: usize,
    /// Carrying sessions, or kept for the next one.
    pub connected: usize,
    /// Carrying the sessions they have, and taking no new ones.
    pub draining: usize,
    /// Over but for the last words.
    pub closing: usize,
}

/// What a client knows of itself at one moment.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ClientDiagnostics {
    /// Its figures.
    pub stats: ClientStats,
    /// Its connections.
    #[doc(alias = "connection_states")]
    pub connections: ConnectionStates,
    /// Sessions that are open or being opened.
    pub sessions: u64,
}

/// Something about a client that somebody should look at.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ClientIssue {
    /// Less than 90 % of more than 10 attempts succeeded.
    LowSuccessRate(f64),
    /// A session takes more than 5 s on average.
    SlowConnects(Duration),
}

impl fmt::Display for ClientIssue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LowSuccessRate(rate) => {
                write!(f, "Low connection success rate: {:.2}%", rate * 100.0)
            }
            Self::SlowConnects(time) => {
                write!(
                    f,
                    "Slow average connection time: {:.2}s",
                    time.as_secs_f64()
                )
            }
        }
    }
}

impl ClientDiagnostics {
    /// The number of attempts up to which their success says little.
    const FEW_ATTEMPTS: u64 = 10;
    /// The success rate below which something is wrong.
    const LOW_RATE: f64 = 0.9;
    /// The average time above which something is wrong.
    const SLOW: Duration = Duration::from_secs(5);

    /// Returns what somebody should look at; nothing when all is well.
    #[must_use]
    pub fn issues(&self) -> Vec<ClientIssue> {
        let mut issues = Vec::new();
        let rate = self.stats.success_rate();
        if self.stats.attempted > Self::FEW_ATTEMPTS && rate < Self::LOW_RATE {
            issues.push(ClientIssue::LowSuccessRate(rate));
        }
        let average = self.stats.avg_connect_time().unwrap_or_default();
        if average > Self::SLOW {
            issues.push(ClientIssue::SlowConnects(average));
        }
        issues
    }
}

/// The counters behind [`ClientStats`].
#[derive(Debug)]
pub(crate) struct Recorder {
    created: SystemTime,
    started: Instant,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    attempted: u64,
    succeeded: u64,
    failed: u64,
    total: Duration,
    min: Option<Duration>,
    max: Option<Duration>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            created: SystemTime::now(),
            started: Instant::now(),
            counts: Mutex::default(),
        }
    }
}

impl Recorder {
    /// Counts an attempt, which has failed unless it says otherwise.
    pub(crate) fn attempt(&self) -> Attempt<'_> {
        lock(&self.counts).attempted += 1;
        Attempt {
            recorder: self,
            start: Instant::now(),
            succeeded: false,
        }
    }

    pub(crate) fn stats(&self) -> ClientStats {
        let counts = lock(&self.counts);
        ClientStats {
            created: self.created,
            uptime: self.started.elapsed(),
            attempted: counts.attempted,
            succeeded: counts.succeeded,
            failed: counts.failed,
            total_connect_time: counts.total,
            min_connect_time: counts.min,
            max_connect_time: counts.max,
        }
    }
}

/// An attempt that is being made.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    recorder: &'a Recorder,
    start: Instant,
    succeeded: bool,
}

impl Attempt<'_> {
    pub(crate) fn succeeded(mut self) {
        self.succeeded = true;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut counts = lock(&self.recorder.counts);
        if !self.succeeded {
            counts.failed += 1;
            return;
        }
        let time = self.start.elapsed();
        counts.succeeded += 1;
        counts.total += time;
        counts.min = Some(counts.min.map_or(time, |min| min.min(time)));
        counts.max = Some(counts.max.map_or(time, |max| max.max(time)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnostics(attempted: u64, succeeded: u64, each: Duration) -> ClientDiagnostics {
        let stats = ClientStats {
            created: SystemTime::UNIX_EPOCH,
            uptime: Duration::from_secs(1),
            attempted,
            succeeded,
            failed: attempted - succeeded,
            total_connect_time: each * u32::try_from(succeeded).unwrap(),
            min_connect_time: None,
            max_connect_time: None,
        };
        ClientDiagnostics {
            stats,
            connections: ConnectionStates::default(),
            sessions: 0,
        }
    }

    #[test]
    fn issues_are_told_in_words_from_their_thresholds_on() {
        let quick = Duration::from_millis(20);
        assert!(diagnostics(10, 5, quick).issues().is_empty());
        assert!(diagnostics(100, 90, quick).issues().is_empty());
        let words = |diagnostics: ClientDiagnostics| -> Vec<String> {
            let issues = diagnostics.issues();
            issues.iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            words(diagnostics(12, 9, quick)),
            ["Low connection success rate: 75.00%"]
        );
        assert!(words(diagnostics(1, 1, Duration::from_secs(5))).is_empty());
        assert_eq!(
            words(diagnostics(1, 1, Duration::from_millis(5500))),
            ["Slow average connection time: 5.50s"]
        );
    }
}
