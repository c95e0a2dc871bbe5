//! Figures about a transport, and what they say about its health.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use serde::{Serialize, Serializer};
use wt_core::observe::{Snapshot, State};

/// Figures of a transport at one moment.
///
/// Written by serde times are in seconds.
#[derive(Clone, Copy, Debug, Serialize)]
#[non_exhaustive]
pub struct DatagramStats {
    /// When the transport was made.
    #[serde(serialize_with = "unix")]
    pub created_at: SystemTime,
    /// Datagrams handed to QUIC.
    pub datagrams_sent: u64,
    /// Those of them that no queue delayed.
    pub datagrams_sent_at_once: u64,
    /// Payload bytes in the datagrams handed to QUIC.
    pub bytes_sent: u64,
    /// Datagrams that the session or the connection did not take.
    pub send_failures: u64,
    /// Datagrams that were not sent, by reason.
    pub send_drops: Drops,
    /// Datagrams that the application took.
    pub datagrams_received: u64,
    /// Payload bytes in the datagrams that the application took.
    pub bytes_received: u64,
    /// Received datagrams that the application did not get, by reason.
    pub receive_drops: Drops,
    /// Received datagrams that were not the JSON that was expected.
    pub receive_errors: u64,
    /// Time that sent datagrams waited in the queue, together.
    #[serde(serialize_with = "seconds")]
    pub total_send_time: Duration,
    /// The longest that a sent datagram waited.
    #[serde(serialize_with = "seconds")]
    pub max_send_time: Duration,
    /// Time that received datagrams waited in the queue, together; nothing where they are not buffered.
    #[serde(serialize_with = "seconds")]
    pub total_receive_time: Duration,
    /// The longest that a received datagram waited.
    #[serde(serialize_with = "seconds")]
    pub max_receive_time: Duration,
    /// The smallest payload so far, in bytes; `None` before the first one.
    pub min_datagram_size: Option<u64>,
    /// The largest payload so far, in bytes.
    pub max_datagram_size: u64,
}

fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

fn unix<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    seconds(&since.unwrap_or_default(), serializer)
}

/// Datagrams that were dropped, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Drops {
    /// Older than their time to live or the maximum age.
    pub expired: u64,
    /// Pushed out of a full queue by a newer one.
    pub evicted: u64,
    /// Refused because the queue was full.
    pub refused: u64,
    /// Larger than the path carries.
    pub too_large: u64,
    /// Still in the queue when it was cleared.
    pub cleared: u64,
    /// Still in the queue when the transport or the session ended.
    pub ended: u64,
}

impl Drops {
    /// Returns how many there are together.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.expired + self.evicted + self.refused + self.too_large + self.cleared + self.ended
    }
}

impl DatagramStats {
    /// Returns the mean size of a payload in bytes.
    #[must_use]
    pub fn avg_datagram_size(&self) -> f64 {
        let count = self.datagrams_sent + self.datagrams_received;
        (self.bytes_sent + self.bytes_received) as f64 / count.max(1) as f64
    }

    /// Returns the mean time that a sent datagram waited.
    #[must_use]
    pub fn avg_send_time(&self) -> Duration {
        self.total_send_time
            .div_f64(self.datagrams_sent.max(1) as f64)
    }

    /// Returns the mean time that a received datagram waited.
    #[must_use]
    pub fn avg_receive_time(&self) -> Duration {
        self.total_receive_time
            .div_f64(self.datagrams_received.max(1) as f64)
    }

    /// Returns which part of the attempts to send did not fail, from 0 to 1.
    #[must_use]
    pub fn send_success_rate(&self) -> f64 {
        rate(self.datagrams_sent, self.send_failures)
    }

    /// Returns which part of the received datagrams could be read, from 0 to 1.
    #[must_use]
    pub fn receive_success_rate(&self) -> f64 {
        rate(self.datagrams_received, self.receive_errors)
    }

    /// Returns how many datagrams were dropped for each one that was sent or received.
    #[must_use]
    pub fn drop_rate(&self) -> f64 {
        let dropped = self.send_drops.total() + self.receive_drops.total();
        let passed = self.datagrams_sent + self.datagrams_received;
        dropped as f64 / passed.max(1) as f64
    }
}

fn rate(good: u64, bad: u64) -> f64 {
    match good + bad {
        0 => 1.0,
        all => good as f64 / all as f64,
    }
}

/// How full a queue is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct QueueStats {
    /// Datagrams in it.
    pub size: usize,
    /// Datagrams that it holds at most.
    pub max_size: usize,
    /// Datagrams of each priority, the lowest first.
    pub lanes: [usize; 3],
}

impl QueueStats {
    /// Returns how full it is, from 0 to 1.
    #[must_use]
    pub fn fill(&self) -> f64 {
        self.size as f64 / self.max_size.max(1) as f64
    }
}

/// What there is to know about a transport at one moment.
///
/// Shown as text it is a summary of a few lines.
#[derive(Clone, Copy, Debug, Serialize)]
#[doc(alias = "DatagramTransportDiagnostics")]
#[non_exhaustive]
pub struct Diagnostics {
    /// Its figures.
    pub stats: DatagramStats,
    /// Datagrams that wait to be sent.
    pub outgoing: QueueStats,
    /// Received datagrams that wait to be taken, where they are buffered.
    pub incoming: QueueStats,
    /// Whether the transport was closed, or the session has ended.
    pub is_closed: bool,
}

/// From where on [`Diagnostics`] finds something wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Thresholds {
    /// The lowest good part of attempts to send. Default: 0.9.
    pub send_success_rate: f64,
    /// The most drops for each datagram that passed. Default: 0.1.
    pub drop_rate: f64,
    /// How full a queue may be. Default: 0.9.
    pub fill: f64,
    /// The longest mean time of waiting. Default: 100 ms.
    pub send_time: Duration,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            send_success_rate: 0.9,
            drop_rate: 0.1,
            fill: 0.9,
            send_time: Duration::from_millis(100),
        }
    }
}

/// Something that is wrong with a transport.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Issue {
    /// Many attempts to send failed.
    SendFailures {
        /// The good part, from 0 to 1.
        success_rate: f64,
    },
    /// Many datagrams were dropped.
    Drops {
        /// How many.
        dropped: u64,
        /// How many passed.
        passed: u64,
    },
    /// The queue of datagrams to send is nearly full.
    OutgoingFull {
        /// How full, from 0 to 1.
        fill: f64,
    },
    /// The queue of received datagrams is nearly full.
    IncomingFull {
        /// How full, from 0 to 1.
        fill: f64,
    },
    /// Datagrams wait long before they are sent.
    SlowSending {
        /// How long in the mean.
        mean: Duration,
    },
    /// The transport is closed.
    Closed,
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SendFailures { success_rate } => {
                write!(f, "low send success rate: {:.1}%", success_rate * 100.0)
            }
            Self::Drops { dropped, passed } => write!(f, "high drop rate: {dropped}/{passed}"),
            Self::OutgoingFull { fill } => {
                write!(f, "outgoing queue nearly full: {:.1}%", fill * 100.0)
            }
            Self::IncomingFull { fill } => {
                write!(f, "incoming queue nearly full: {:.1}%", fill * 100.0)
            }
            Self::SlowSending { mean } => {
                write!(f, "high send latency: {:.1} ms", mean.as_secs_f64() * 1e3)
            }
            Self::Closed => f.write_str("datagram transport is closed"),
        }
    }
}

impl Diagnostics {
    /// Returns what is wrong, by the default thresholds.
    #[must_use]
    pub fn issues(&self) -> Vec<Issue> {
        self.issues_by(&Thresholds::default())
    }

    /// Returns what is wrong, by these thresholds.
    #[must_use]
    pub fn issues_by(&self, thresholds: &Thresholds) -> Vec<Issue> {
        let stats = &self.stats;
        let success_rate = stats.send_success_rate();
        let (outgoing, incoming) = (self.outgoing.fill(), self.incoming.fill());
        let mean = stats.avg_send_time();
        let drops = Issue::Drops {
            dropped: stats.send_drops.total() + stats.receive_drops.total(),
            passed: stats.datagrams_sent + stats.datagrams_received,
        };
        let found = [
            (
                success_rate < thresholds.send_success_rate,
                Issue::SendFailures { success_rate },
            ),
            (stats.drop_rate() > thresholds.drop_rate, drops),
            (
                outgoing > thresholds.fill,
                Issue::OutgoingFull { fill: outgoing },
            ),
            (
                incoming > thresholds.fill,
                Issue::IncomingFull { fill: incoming },
            ),
            (mean > thresholds.send_time, Issue::SlowSending { mean }),
            (self.is_closed, Issue::Closed),
        ];
        let wrong = found.into_iter().filter(|(wrong, _)| *wrong);
        wrong.map(|(_, issue)| issue).collect()
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Diagnostics {
    pub(crate) fn snapshot(&self, id: String, state: State) -> Snapshot {
        let stats = &self.stats;
        let uptime = stats.created_at.elapsed().unwrap_or_default();
        Snapshot::new("datagrams", id, state)
            .with_uptime(uptime)
            .with_counter("sent", stats.datagrams_sent)
            .with_counter("sent_at_once", stats.datagrams_sent_at_once)
            .with_counter("sent_bytes", stats.bytes_sent)
            .with_counter("send_failures", stats.send_failures)
            // Beside the averages, so that the average of any time can be told.
            .with_counter("send_wait_microseconds", micros(stats.total_send_time))
            .with_counter(
                "receive_wait_microseconds",
                micros(stats.total_receive_time),
            )
            .with_counter("send_drops", stats.send_drops.total())
            .with_counter("received", stats.datagrams_received)
            .with_counter("received_bytes", stats.bytes_received)
            .with_counter("receive_drops", stats.receive_drops.total())
            .with_counter("receive_errors", stats.receive_errors)
            .with_gauge("send_success_rate", stats.send_success_rate())
            .with_gauge("receive_success_rate", stats.receive_success_rate())
            .with_gauge("send_queue", self.outgoing.size as f64)
            .with_gauge("send_queue_fill", self.outgoing.fill())
            .with_gauge("receive_queue", self.incoming.size as f64)
            .with_gauge("receive_queue_fill", self.incoming.fill())
            .with_seconds("send_time_seconds", stats.avg_send_time())
            .with_seconds("receive_time_seconds", stats.avg_receive_time())
            .with_issues(self.issues())
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = &self.stats;
        writeln!(
            f,
            "sent {} datagrams ({} bytes), {} failed, {} dropped",
            stats.datagrams_sent,
            stats.bytes_sent,
            stats.send_failures,
            stats.send_drops.total()
        )?;
        writeln!(
            f,
            "received {} datagrams ({} bytes), {} unreadable, {} dropped",
            stats.datagrams_received,
            stats.bytes_received,
            stats.receive_errors,
            stats.receive_drops.total()
        )?;
        write!(
            f,
            "queues: {}/{} to send, {}/{} received",
            self.outgoing.size, self.outgoing.max_size, self.incoming.size, self.incoming.max_size
        )?;
        for issue in self.issues() {
            write!(f, "\n! {issue}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy() -> Diagnostics {
        Diagnostics {
            stats: DatagramStats {
                datagrams_sent: 100,
                datagrams_received: 100,
                bytes_sent: 1000,
                bytes_received: 3000,
                ..crate::counters::Counters::default().stats()
            },
            outgoing: QueueStats {
                size: 90,
                max_size: 100,
                lanes: [90, 0, 0],
            },
            incoming: QueueStats {
                size: 90,
                max_size: 100,
                lanes: [90, 0, 0],
            },
            is_closed: false,
        }
    }

    fn issues(change: impl FnOnce(&mut Diagnostics)) -> Vec<String> {
        let mut diagnostics = healthy();
        change(&mut diagnostics);
        let issues = diagnostics.issues();
        issues.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_issue_has_its_threshold() {
        assert_eq!(issues(|_| {}), [""; 0]);
        let failed = |failures| issues(|d| d.stats.send_failures = failures);
        assert_eq!(failed(11), [""; 0]);
        assert_eq!(failed(25), ["low send success rate: 80.0%"]);
        let dropped = |drops| issues(|d| d.stats.receive_drops.expired = drops);
        assert_eq!(dropped(20), [""; 0]);
        assert_eq!(dropped(21), ["high drop rate: 21/200"]);
        assert_eq!(
            issues(|d| d.outgoing.size = 91),
            ["outgoing queue nearly full: 91.0%"]
        );
        assert_eq!(
            issues(|d| d.incoming.size = 100),
            ["incoming queue nearly full: 100.0%"]
        );
        let slow = |seconds| issues(|d| d.stats.total_send_time = Duration::from_secs(seconds));
        assert_eq!(slow(10), [""; 0]);
        assert_eq!(slow(20), ["high send latency: 200.0 ms"]);
        assert_eq!(
            issues(|d| d.is_closed = true),
            ["datagram transport is closed"]
        );
        let strict = Thresholds {
            fill: 0.5,
            ..Thresholds::default()
        };
        assert_eq!(healthy().issues_by(&strict).len(), 2);
    }

    #[test]
    fn averages_and_rates_are_of_what_there_was() {
        let stats = healthy().stats;
        assert!((stats.avg_datagram_size() - 20.0).abs() < 1e-9);
        let none = crate::counters::Counters::default().stats();
        assert!((none.send_success_rate() - 1.0).abs() < 1e-9);
        assert!((none.receive_success_rate() - 1.0).abs() < 1e-9);
        assert_eq!(none.avg_send_time(), Duration::ZERO);
        assert_eq!(none.avg_receive_time(), Duration::ZERO);
        assert_eq!(none.min_datagram_size, None);
    }
}
