//! What is raised when a rule is broken, and what listeners are told.

use std::{fmt, sync::Arc, time::SystemTime};

use serde::Serialize;

use crate::{health::Health, rule::Severity, sample::Sample, serial};

/// A rule that is or was broken.
///
/// There is at most one active alert for each rule: while the rule stays broken it is the same one. Written by serde
/// times are in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Alert {
    /// Counts the alerts of the monitor, from 0 on.
    pub id: u64,
    /// The name of the rule.
    #[doc(alias = "type")]
    pub rule: String,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in words; while the alert is active as of the newest sample that broke the rule.
    pub message: String,
    /// What was measured then; `None` where the rule measures nothing.
    pub value: Option<f64>,
    /// When it was raised.
    #[doc(alias = "timestamp")]
    #[serde(serialize_with = "serial::unix")]
    pub since: SystemTime,
    /// When it cleared; `None` while it is active.
    #[serde(serialize_with = "serial::maybe_unix")]
    pub cleared: Option<SystemTime>,
}

impl Alert {
    /// Returns whether the rule is still broken.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        self.cleared.is_none()
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rule,
            severity,
            message,
            ..
        } = self;
        let over = if self.is_active() { "" } else { " (cleared)" };
        write!(f, "{severity}: {rule}: {message}{over}")
    }
}

/// What happens at a monitor.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MonitorEvent {
    /// A sample was taken and judged. The events that came of it follow.
    Sampled(Arc<Sample>),
    /// A rule was broken.
    AlertRaised(Alert),
    /// It is not broken any more.
    AlertCleared(Alert),
    /// The status of the health is another one.
    HealthChanged {
        /// As it was.
        from: Health,
        /// As it is now.
        to: Health,
    },
}

impl MonitorEvent {
    /// Returns the alert, where it is about one.
    #[must_use]
    pub const fn alert(&self) -> Option<&Alert> {
        match self {
            Self::AlertRaised(alert) | Self::AlertCleared(alert) => Some(alert),
            Self::Sampled(_) | Self::HealthChanged { .. } => None,
        }
    }
}

impl fmt::Display for MonitorEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sampled(sample) => {
                let Sample {
                    sequence,
                    kind,
                    id,
                    state,
                    ..
                } = &**sample;
                write!(f, "sample {sequence}: {kind} {id}: {state}")
            }
            Self::AlertRaised(alert) | Self::AlertCleared(alert) => fmt::Display::fmt(alert, f),
            Self::HealthChanged { from, to } => write!(f, "{} -> {to}", from.status),
        }
    }
}
