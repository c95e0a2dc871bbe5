//! All that a monitor knows now, in one value.

use std::{sync::Arc, time::SystemTime};

use serde::Serialize;

use crate::{alert::Alert, health::Health, sample::Sample, serial, window::Summary};

/// All that a monitor knows now, for pages, exporters and logs.
///
/// Written by serde times are in seconds, moments in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
#[doc(alias = "get_metrics_summary")]
pub struct Report {
    /// What is watched, such as `client`, `server`, `datagrams`.
    pub kind: &'static str,
    /// Which one.
    pub id: String,
    /// When the report was made.
    #[serde(serialize_with = "serial::unix")]
    pub at: SystemTime,
    /// Whether samples are taken by themselves.
    #[doc(alias = "is_monitoring")]
    pub monitoring: bool,
    /// How it does.
    pub health: Health,
    /// The newest sample; `None` before the first one.
    #[doc(alias = "latest_metrics")]
    pub sample: Option<Arc<Sample>>,
    /// The figures of that sample over the window.
    pub window: Vec<Summary>,
    /// The alerts that are active, in the order of the rules.
    pub active: Vec<Alert>,
    /// The alerts that the history holds, the oldest first, those that are active among them.
    #[doc(alias = "recent_alerts")]
    pub alerts: Vec<Alert>,
}
