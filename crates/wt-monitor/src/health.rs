//! How something that is watched does, and why.

use std::fmt;

use serde::{Deserialize, Serialize};
use wt_core::observe::State;

use crate::{alert::Alert, rule::Severity, sample::Sample};

/// How something that is watched does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// Nobody has looked yet.
    #[default]
    Unknown,
    /// Nothing is wrong, and it is not in use.
    Idle,
    /// Nothing is wrong, and it is in use.
    Healthy,
    /// An alert with [`Severity::Warning`] is active, none that is worse.
    Degraded,
    /// An alert with [`Severity::Critical`] is active, or it has failed.
    Unhealthy,
    /// It was closed, and no rule says that this is wrong.
    Ended,
}

impl Status {
    /// Returns the name in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Idle => "idle",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
            Self::Ended => "ended",
        }
    }

    /// Returns whether nothing is wrong as far as one can see: idle or healthy.
    #[must_use]
    pub const fn is_ok(self) -> bool {
        matches!(self, Self::Idle | Self::Healthy)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How something that is watched does, and why that is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// How it does.
    pub status: Status,
    /// Why, in words: at least one, the worst first.
    #[doc(alias = "reason")]
    pub reasons: Vec<String>,
}

impl Default for Health {
    fn default() -> Self {
        Self::new(Status::Unknown, "No metrics collected yet.")
    }
}

impl Health {
    fn new(status: Status, reason: impl Into<String>) -> Self {
        Self {
            status,
            reasons: vec![reason.into()],
        }
    }

    /// Judges a sample by the alerts that are active with it.
    pub(crate) fn of(sample: &Sample, active: &[Alert]) -> Self {
        let mut bad: Vec<&Alert> = active
            .iter()
            .filter(|alert| alert.severity > Severity::Info)
            .collect();
        // A stable sort: of equal severity the rule that comes first says the first reason.
        bad.sort_by_key(|alert| std::cmp::Reverse(alert.severity));
        if let Some(worst) = bad.first() {
            return Self {
                status: match worst.severity {
                    Severity::Critical => Status::Unhealthy,
                    _ => Status::Degraded,
                },
                reasons: bad.iter().map(|alert| alert.message.clone()).collect(),
            };
        }
        let status = match sample.state {
            State::Failed => Status::Unhealthy,
            State::Closed => Status::Ended,
            State::Idle | State::Starting => Status::Idle,
            _ => Status::Healthy,
        };
        Self::new(status, words(sample.kind, status))
    }
}

/// What is said where no alert says it.
fn words(kind: &str, status: Status) -> String {
    let kind = match kind {
        "app" | "server" => "Server".to_owned(),
        "datagrams" => "Datagram transport".to_owned(),
        kind => {
            let mut letters = kind.chars();
            let first = letters.next().into_iter().flat_map(char::to_uppercase);
            let name: String = first.chain(letters).collect();
            name.replace('_', " ")
        }
    };
    match status {
        Status::Idle if kind == "Server" => {
            "Server is running but has no active connections.".to_owned()
        }
        Status::Idle => format!("{kind} is not in use."),
        Status::Ended => format!("{kind} was closed."),
        Status::Unhealthy => format!("{kind} has failed."),
        _ => format!("{kind} is operating normally."),
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status, self.reasons.join("; "))
    }
}
