//! How a stream does.

use std::{fmt, time::Duration};

use crate::{
    state::StreamState,
    stats::rate,
    stream::{OperationStats, StreamStats},
};

/// From where on a stream looks wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct StreamThresholds {
    /// Error rates count from more than this many reads, or writes, on. Default: 10.
    pub operations: u64,
    /// More than this part of the reads, or writes, failed. Default: 0.1.
    pub error_rate: f64,
    /// A read, or write, takes longer than this on average. Default: 1 s.
    pub latency: Duration,
    /// Older than this, and neither read nor written. Default: one hour.
    pub stale: Duration,
}

impl Default for StreamThresholds {
    fn default() -> Self {
        Self {
            operations: 10,
            error_rate: 0.1,
            latency: Duration::from_secs(1),
            stale: Duration::from_secs(3600),
        }
    }
}

/// What looks wrong with a stream. `Display` says it in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamIssue {
    /// The peer reset or stopped it.
    ResetByPeer,
    /// This end reset or stopped it.
    ResetLocally,
    /// So many reads failed.
    ReadErrors {
        /// What failed.
        errors: u64,
        /// What there was.
        reads: u64,
    },
    /// So many writes failed.
    WriteErrors {
        /// What failed.
        errors: u64,
        /// What there was.
        writes: u64,
    },
    /// Reads take so long on average.
    SlowReads(Duration),
    /// Writes take so long on average.
    SlowWrites(Duration),
    /// It is so old and was not used.
    Stale(Duration),
}

impl fmt::Display for StreamIssue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ResetByPeer => f.write_str("stream was reset by the peer"),
            Self::ResetLocally => f.write_str("stream was reset by this end"),
            Self::ReadErrors { errors, reads } => {
                write!(f, "high read error rate: {errors} of {reads}")
            }
            Self::WriteErrors { errors, writes } => {
                write!(f, "high write error rate: {errors} of {writes}")
            }
            Self::SlowReads(time) => {
                write!(f, "slow reads: {:.2} s on average", time.as_secs_f64())
            }
            Self::SlowWrites(time) => {
                write!(f, "slow writes: {:.2} s on average", time.as_secs_f64())
            }
            Self::Stale(age) => write!(
                f,
                "stream appears stale: {:.0} s old, and never used",
                age.as_secs_f64()
            ),
        }
    }
}

impl StreamIssue {
    pub(crate) fn find(stats: &StreamStats, thresholds: &StreamThresholds) -> Vec<Self> {
        let all = |operations: &OperationStats| operations.count + operations.errors;
        let failing = |operations: &OperationStats| {
            let count = all(operations);
            count > thresholds.operations && rate(operations.errors, count) > thresholds.error_rate
        };
        let StreamStats { reads, writes, .. } = stats;
        let age = stats.info.age;
        let unused = age > thresholds.stale && all(reads) + all(writes) == 0;
        let found = [
            (stats.state == StreamState::ResetReceived).then_some(Self::ResetByPeer),
            (stats.state == StreamState::ResetSent).then_some(Self::ResetLocally),
            failing(reads).then(|| Self::ReadErrors {
                errors: reads.errors,
                reads: all(reads),
            }),
            failing(writes).then(|| Self::WriteErrors {
                errors: writes.errors,
                writes: all(writes),
            }),
            (reads.average() > thresholds.latency).then(|| Self::SlowReads(reads.average())),
            (writes.average() > thresholds.latency).then(|| Self::SlowWrites(writes.average())),
            unused.then_some(Self::Stale(age)),
        ];
        found.into_iter().flatten().collect()
    }
}
