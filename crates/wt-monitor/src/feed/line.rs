//! The lines of a feed: JSON, one value in a line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A line of a feed.
///
/// A [`Hello`] comes first, then the history, then a [`Reading`] whenever the monitor has looked. Fields and types of
/// lines may be added: whoever reads them ignores what it does not know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Line {
    /// What is watched.
    Hello(Hello),
    /// How it was at one moment.
    #[serde(rename = "sample")]
    Reading(Box<Reading>),
    /// Something that is not known here.
    #[serde(other)]
    Unknown,
}

impl Line {
    /// The longest line that is worth reading, in bytes.
    pub const LONGEST: usize = 1 << 20;

    /// Reads a line.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub fn parse(line: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(line)
    }

    /// Writes it, with the end of the line.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

/// What a feed tells of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Hello {
    /// What it is, such as `server` or `app`.
    pub kind: String,
    /// Which one it is: of a server, where it listens.
    pub id: String,
    /// Time between two looks, in milliseconds.
    pub interval_ms: u64,
    /// How many lines of the past follow.
    pub history: usize,
}

/// How something was at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Reading {
    /// Counts the looks of the monitor; what a slow watcher did not get is missing.
    pub sequence: u64,
    /// When it was, in milliseconds since 1970.
    pub at_ms: u64,
    /// How it stood, by the name of a [`State`](wt_core::observe::State).
    pub state: String,
    /// How long it had existed.
    pub uptime_seconds: f64,
    /// Figures of that moment.
    #[serde(default)]
    pub gauges: BTreeMap<String, f64>,
    /// What had been counted since its beginning.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
    /// By how much each counter grew in a second, since the look before; empty in the first one.
    #[serde(default)]
    pub rates: BTreeMap<String, f64>,
    /// Round trips of the connections, by range. Of the newest moment only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt: Option<RoundTrips>,
    /// What the monitor makes of it. Of the newest moment only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthLine>,
    /// What was wrong lately, the oldest first. Of the newest moment only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<AlertLine>,
}

/// How many connections had which round-trip time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RoundTrips {
    /// The longest time of each range, in milliseconds, ascending.
    pub bounds_ms: Vec<f64>,
    /// Connections in each range, and in one more above the last.
    pub counts: Vec<u64>,
}

/// What a monitor makes of what it watches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HealthLine {
    /// In one word.
    pub status: String,
    /// Why.
    pub reason: String,
}

/// Something that was or is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AlertLine {
    /// When it began, in milliseconds since 1970.
    pub at_ms: u64,
    /// How bad it is.
    pub severity: String,
    /// What it says.
    pub message: String,
    /// Whether it is over.
    #[serde(default)]
    pub cleared: bool,
}
