//! What one look at something gives.

use std::time::{Duration, SystemTime};

use serde::Serialize;
use wt_core::observe::{Histogram, Snapshot, State, Value};

use crate::serial;

/// What a monitor saw at one moment, beside what it had seen before.
///
/// Written by serde times are in seconds, [`at`](Self::at) since 1970, and the state is its name.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Sample {
    /// Counts the samples of the monitor from 0 on, those that the history has forgotten among them.
    pub sequence: u64,
    /// When this was so.
    #[doc(alias = "timestamp")]
    #[serde(serialize_with = "serial::unix")]
    pub at: SystemTime,
    /// Time since the sample before, by the monotonic clock; for the first one since the monitor was made.
    #[serde(serialize_with = "serial::seconds")]
    pub elapsed: Duration,
    /// What it is, such as `client`, `server`, `datagrams`.
    pub kind: &'static str,
    /// Which one it is.
    pub id: String,
    /// How it stands.
    #[serde(serialize_with = "serial::state")]
    pub state: State,
    /// How long it has existed.
    #[serde(serialize_with = "serial::seconds")]
    pub uptime: Duration,
    /// Its figures, each name once.
    #[doc(alias = "stats")]
    pub figures: Vec<Figure>,
    /// How figures of its parts are distributed, such as the round trips of a server's connections.
    #[serde(
        serialize_with = "serial::histograms",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub histograms: Vec<Histogram>,
    /// What looks wrong by its own standards, in words. Those standards may look at all the time since its beginning;
    /// alerts look at the window.
    pub issues: Vec<String>,
    /// Figures, distributions and issues that were left out since they were more than
    /// [`MonitorConfig::series`](crate::MonitorConfig::series).
    pub left_out: usize,
}

/// A figure at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Figure {
    /// Its name, with the unit at its end where it is not a number of things.
    pub name: &'static str,
    /// What it was.
    #[serde(serialize_with = "serial::value")]
    pub value: Value,
    /// By how much a counter grew since the sample before; one that went down has begun anew, from 0. `None` for
    /// gauges, and for counters that were not there before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub increase: Option<u64>,
    /// The increase per second since the sample before. [`Monitor::rate`](crate::Monitor::rate) has that of the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
}

impl Sample {
    /// Compares what is seen with the figures of the look before.
    pub(crate) fn new(
        sequence: u64,
        snapshot: Snapshot,
        before: &[(&'static str, Value)],
        elapsed: Duration,
        series: usize,
    ) -> Self {
        let figure = |name: &'static str, value: Value| {
            let increase = increase(before, name, value);
            let seconds = elapsed.as_secs_f64();
            let rate = increase.filter(|_| seconds > 0.0);
            Figure {
                name,
                value,
                increase,
                rate: rate.map(|grown| grown as f64 / seconds),
            }
        };
        let more = |len: usize| len.saturating_sub(series);
        let left_out = more(snapshot.metrics.len())
            + more(snapshot.histograms.len())
            + more(snapshot.issues.len());
        let kept = snapshot.metrics.into_iter().take(series);
        let mut issues = snapshot.issues;
        issues.truncate(series);
        let mut histograms = snapshot.histograms;
        histograms.truncate(series);
        Self {
            sequence,
            at: snapshot.at,
            elapsed,
            kind: snapshot.kind,
            id: snapshot.id,
            state: snapshot.state,
            uptime: snapshot.uptime,
            figures: kept.map(|one| figure(one.name, one.value)).collect(),
            histograms,
            issues,
            left_out,
        }
    }

    /// Returns the figure of that name.
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.name == name)
    }

    /// Returns what the figure of that name was, whichever it is.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<f64> {
        self.figure(name).map(|figure| figure.value.as_f64())
    }

    /// Returns by how much the counter of that name grew since the sample before.
    #[must_use]
    pub fn increase(&self, name: &str) -> Option<u64> {
        self.figure(name)?.increase
    }

    /// Returns the increase per second of the counter of that name since the sample before.
    #[must_use]
    pub fn rate(&self, name: &str) -> Option<f64> {
        self.figure(name)?.rate
    }

    /// The values that the next sample is compared with.
    pub(crate) fn values(&self) -> Vec<(&'static str, Value)> {
        let figures = self.figures.iter();
        figures.map(|one| (one.name, one.value)).collect()
    }
}

fn increase(before: &[(&'static str, Value)], name: &str, value: Value) -> Option<u64> {
    let Value::Counter(now) = value else {
        return None;
    };
    let (_, then) = before.iter().find(|(known, _)| *known == name)?;
    match *then {
        Value::Counter(then) => Some(now.checked_sub(then).unwrap_or(now)),
        _ => None,
    }
}
