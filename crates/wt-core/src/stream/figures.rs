//! What went through a stream, and how.

use std::{
    fmt,
    sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::StreamInfo;
use crate::{
    diagnostics::{StreamIssue, StreamThresholds},
    state::{StreamDirection, StreamState},
    stats::seconds,
};

/// How the sending half stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendState {
    Open,
    Finished,
    Reset,
    /// The peer stopped it.
    Stopped,
}

/// [`SendState`], shared.
#[derive(Debug, Default)]
pub(super) struct SendEnd(AtomicU8);

impl SendEnd {
    pub(super) fn get(&self) -> SendState {
        match self.0.load(Relaxed) {
            0 => SendState::Open,
            1 => SendState::Finished,
            2 => SendState::Reset,
            _ => SendState::Stopped,
        }
    }

    pub(super) fn set(&self, state: SendState) {
        self.0.store(state as u8, Relaxed);
    }
}

/// Counts the reads, or the writes, of a stream.
///
/// Only the task that holds the half counts, one at a time, so that no atomic addition is needed. The clock is looked
/// at only when an operation has to wait.
#[derive(Debug, Default)]
pub(super) struct Operations {
    count: AtomicU64,
    errors: AtomicU64,
    waits: AtomicU64,
    waited: AtomicU64,
    longest: AtomicU64,
}

/// Adds to a counter that only one task adds to at a time.
pub(super) fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(more), Relaxed);
}

impl Operations {
    pub(super) fn done(&self) {
        add(&self.count, 1);
    }

    pub(super) fn failed(&self) {
        add(&self.errors, 1);
    }

    pub(super) fn waited(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        add(&self.waits, 1);
        add(&self.waited, nanos);
        if nanos > self.longest.load(Relaxed) {
            self.longest.store(nanos, Relaxed);
        }
    }

    pub(super) fn snapshot(&self) -> OperationStats {
        OperationStats {
            count: self.count.load(Relaxed),
            errors: self.errors.load(Relaxed),
            waits: self.waits.load(Relaxed),
            waited: Duration::from_nanos(self.waited.load(Relaxed)),
            longest: Duration::from_nanos(self.longest.load(Relaxed)),
        }
    }
}

/// Figures of the reads, or of the writes, of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OperationStats {
    /// Operations that moved bytes.
    pub count: u64,
    /// Operations that failed.
    pub errors: u64,
    /// Operations that had to wait: for data, or for room.
    pub waits: u64,
    /// Time in which they waited, all together.
    #[doc(alias = "total_read_time")]
    #[doc(alias = "total_write_time")]
    pub waited: Duration,
    /// The longest wait.
    #[doc(alias = "max_read_time")]
    #[doc(alias = "max_write_time")]
    pub longest: Duration,
}

impl OperationStats {
    /// Returns how long an operation took on average; what did not wait took no time.
    #[must_use]
    #[doc(alias = "avg_read_time")]
    #[doc(alias = "avg_write_time")]
    pub fn average(&self) -> Duration {
        let all = u32::try_from(self.count + self.errors).unwrap_or(u32::MAX);
        self.waited.checked_div(all).unwrap_or_default()
    }
}

/// Figures of a stream at one moment.
///
/// `Display` says them in one line, [`Self::fields`] as names and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "StreamDiagnostics")]
pub struct StreamStats {
    /// Which stream it is, its age and its bytes.
    pub info: StreamInfo,
    /// Which way it goes, seen from here.
    pub direction: StreamDirection,
    /// How it stands. Its end on the peer's side is noticed when it is read or written to.
    pub state: StreamState,
    /// Reads by the application.
    pub reads: OperationStats,
    /// Writes by the application.
    pub writes: OperationStats,
    /// Bytes that were taken from QUIC and not read yet. What QUIC itself holds, either way, it does not tell.
    #[doc(alias = "read_buffer_size")]
    pub read_buffer: usize,
}

impl StreamStats {
    /// Returns what looks wrong by these thresholds.
    #[must_use]
    #[doc(alias = "diagnose_issues")]
    pub fn issues(&self, thresholds: &StreamThresholds) -> Vec<StreamIssue> {
        StreamIssue::find(self, thresholds)
    }

    /// Returns names and values, for logs and export.
    #[must_use]
    #[doc(alias = "to_dict")]
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields: Vec<_> = self.info.fields().into();
        fields.extend([
            ("seen_as", self.direction.to_string()),
            ("state", self.state.to_string()),
            ("reads_count", self.reads.count.to_string()),
            ("read_errors", self.reads.errors.to_string()),
            ("total_read_time", seconds(self.reads.waited)),
            ("max_read_time", seconds(self.reads.longest)),
            ("avg_read_time", seconds(self.reads.average())),
            ("writes_count", self.writes.count.to_string()),
            ("write_errors", self.writes.errors.to_string()),
            ("total_write_time", seconds(self.writes.waited)),
            ("max_write_time", seconds(self.writes.longest)),
            ("avg_write_time", seconds(self.writes.average())),
            ("read_buffer_size", self.read_buffer.to_string()),
        ]);
        fields
    }
}

impl fmt::Display for StreamStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            info,
            state,
            reads,
            writes,
            ..
        } = self;
        let errors = reads.errors + writes.errors;
        let (reads, writes) = (reads.count, writes.count);
        write!(
            f,
            "{info}, {state}, {reads} reads, {writes} writes, {errors} errors"
        )
    }
}
