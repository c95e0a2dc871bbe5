//! What should not be so, as data.

use std::fmt;

use serde::{Deserialize, Serialize};
use wt_core::observe::State;

use crate::{serial, window::Trend};

/// How bad it is when a rule is broken.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Severity {
    /// Somebody may want to know. The health stays as it is.
    Info,
    /// It works less well than it should: [`Degraded`](crate::Status::Degraded).
    #[default]
    Warning,
    /// It does not do what it is for: [`Unhealthy`](crate::Status::Unhealthy).
    Critical,
}

impl Severity {
    /// Returns the name in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What is measured over the samples of a window.
///
/// Figures are those of the [`Sample`](crate::Sample)s, by name. What cannot be measured breaks no rule: a figure that is not
/// there, a ratio to nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Measure {
    /// What a figure is in the newest sample.
    #[non_exhaustive]
    Last {
        /// Its name.
        figure: String,
    },
    /// The mean of a figure.
    #[non_exhaustive]
    Mean {
        /// Its name.
        figure: String,
    },
    /// The least that a figure was.
    #[non_exhaustive]
    Min {
        /// Its name.
        figure: String,
    },
    /// The most that a figure was.
    #[non_exhaustive]
    Max {
        /// Its name.
        figure: String,
    },
    /// What so many percent of the values of a figure do not exceed.
    #[non_exhaustive]
    Percentile {
        /// Its name.
        figure: String,
        /// From 0 to 100.
        percent: f64,
    },
    /// By how much a counter grew in a second.
    #[non_exhaustive]
    Rate {
        /// Its name.
        counter: String,
    },
    /// By how much counters grew, together.
    #[non_exhaustive]
    Increase {
        /// Their names.
        counters: Vec<String>,
    },
    /// By how much some counters grew for each one by which others grew: a success rate, or the mean of something
    /// that is counted in small units.
    #[non_exhaustive]
    Ratio {
        /// The names of the former.
        of: Vec<String>,
        /// The names of the latter.
        to: Vec<String>,
        /// What the ratio is multiplied by, 1 by default: for units.
        #[serde(default = "one")]
        scale: f64,
    },
}

const fn one() -> f64 {
    1.0
}

fn names<T: Into<String>>(names: impl IntoIterator<Item = T>) -> Vec<String> {
    names.into_iter().map(Into::into).collect()
}

impl Measure {
    /// Measures what a figure is in the newest sample.
    pub fn last(figure: impl Into<String>) -> Self {
        let figure = figure.into();
        Self::Last { figure }
    }

    /// Measures the mean of a figure.
    pub fn mean(figure: impl Into<String>) -> Self {
        let figure = figure.into();
        Self::Mean { figure }
    }

    /// Measures the least that a figure was.
    pub fn min(figure: impl Into<String>) -> Self {
        let figure = figure.into();
        Self::Min { figure }
    }

    /// Measures the most that a figure was.
    pub fn max(figure: impl Into<String>) -> Self {
        let figure = figure.into();
        Self::Max { figure }
    }

    /// Measures what `percent` (0 to 100) of the values of a figure do not exceed.
    pub fn percentile(figure: impl Into<String>, percent: f64) -> Self {
        let figure = figure.into();
        Self::Percentile { figure, percent }
    }

    /// Measures by how much a counter grew in a second.
    pub fn rate(counter: impl Into<String>) -> Self {
        let counter = counter.into();
        Self::Rate { counter }
    }

    /// Measures by how much counters grew, together.
    pub fn increase<T: Into<String>>(counters: impl IntoIterator<Item = T>) -> Self {
        let counters = names(counters);
        Self::Increase { counters }
    }

    /// Measures by how much the counters `of` grew for each one by which the counters `to` grew.
    pub fn ratio<T: Into<String>, U: Into<String>>(
        of: impl IntoIterator<Item = T>,
        to: impl IntoIterator<Item = U>,
    ) -> Self {
        let (of, to, scale) = (names(of), names(to), one());
        Self::Ratio { of, to, scale }
    }

    /// Multiplies a ratio; other measures stay as they are.
    #[must_use]
    pub fn scaled(mut self, by: f64) -> Self {
        if let Self::Ratio { scale, .. } = &mut self {
            *scale *= by;
        }
        self
    }
}

/// On which side of a threshold something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Side {
    /// What is more than the threshold.
    Above,
    /// What is less than the threshold.
    Below,
}

/// What breaks a rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Condition {
    /// A measure is beyond a threshold.
    #[non_exhaustive]
    Threshold {
        /// What is measured.
        measure: Measure,
        /// On which side it is wrong.
        side: Side,
        /// The threshold; to be at it is right.
        threshold: f64,
    },
    /// A measure goes one way, from sample to sample.
    #[non_exhaustive]
    Trend {
        /// What is measured, in each sample of the window alone.
        measure: Measure,
        /// The way that is wrong.
        trend: Trend,
        /// The mean of the newer half below which it does not matter; 0 by default.
        #[serde(default)]
        floor: f64,
    },
    /// It is in one of these states.
    #[non_exhaustive]
    State {
        /// The states.
        #[serde(with = "serial::states")]
        states: Vec<State>,
    },
    /// What is watched says by itself that something is wrong.
    #[non_exhaustive]
    Issue {
        /// What the words must contain; nothing by default, for any issue.
        #[serde(default)]
        containing: String,
    },
}

/// How much must have happened in the window before a rule is applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Enough {
    /// The counters whose increases are added.
    pub counters: Vec<String>,
    /// What the sum must exceed.
    pub more_than: u64,
}

/// Something that should not be so: when it is broken an alert is raised, and when it is not any more, the alert clears.
///
/// Rules are data: they can be read from a file by serde.
///
/// ```
/// use wt_monitor::{Measure, Rule, Severity};
///
/// let rule = Rule::above("busy", Measure::rate("requests"), 500.0)
///     .with_severity(Severity::Info)
///     .with_message("{value} requests a second")
///     .with_after(3);
/// let read: Rule = serde_json::from_str(
///     r#"{
///         "name": "busy",
///         "severity": "info",
///         "condition": {"threshold": {"measure": {"rate": {"counter": "requests"}}, "side": "above", "threshold": 500}},
///         "message": "{value} requests a second",
///         "after": 3
///     }"#,
/// )?;
/// assert_eq!(read, rule);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Rule {
    /// The name, of which a monitor has each once.
    pub name: String,
    /// How bad it is.
    #[serde(default)]
    pub severity: Severity,
    /// What breaks it.
    pub condition: Condition,
    /// What the alert says. `{value}` stands for what was measured with two decimals, `{percent}` for a hundred times
    /// that, `{count}` for the nearest whole number, `{threshold}`, `{state}`, `{issue}`, `{kind}` and `{id}` for what they say. Nothing: the name.
    #[serde(default)]
    pub message: String,
    /// How much must have happened before it is applied; `None` for always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enough: Option<Enough>,
    /// Over how many samples it is measured; `None` for the window of the monitor. At most the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<usize>,
    /// How many samples in a row must break it before the alert is raised. Default: 1.
    #[serde(default = "once")]
    pub after: u32,
    /// How many samples in a row must not break it before the alert clears. Default: 1.
    #[serde(default = "once")]
    pub clear_after: u32,
}

const fn once() -> u32 {
    1
}

impl Rule {
    /// Makes a rule out of a condition: a warning that says its name.
    pub fn new(name: impl Into<String>, condition: Condition) -> Self {
        Self {
            name: name.into(),
            severity: Severity::default(),
            condition,
            message: String::new(),
            enough: None,
            window: None,
            after: once(),
            clear_after: once(),
        }
    }

    /// Makes a rule that is broken while a measure is above a threshold.
    pub fn above(name: impl Into<String>, measure: Measure, threshold: f64) -> Self {
        Self::threshold(name, measure, Side::Above, threshold)
    }

    /// Makes a rule that is broken while a measure is below a threshold.
    pub fn below(name: impl Into<String>, measure: Measure, threshold: f64) -> Self {
        Self::threshold(name, measure, Side::Below, threshold)
    }

    fn threshold(name: impl Into<String>, measure: Measure, side: Side, threshold: f64) -> Self {
        let condition = Condition::Threshold {
            measure,
            side,
            threshold,
        };
        Self::new(name, condition)
    }

    /// Makes a rule that is broken while a measure goes one way, and in the newer half of the window is at least
    /// `floor` in the mean.
    pub fn trend(name: impl Into<String>, measure: Measure, trend: Trend, floor: f64) -> Self {
        let condition = Condition::Trend {
            measure,
            trend,
            floor,
        };
        Self::new(name, condition)
    }

    /// Makes a rule that is broken in these states.
    pub fn state(name: impl Into<String>, states: impl IntoIterator<Item = State>) -> Self {
        let states = states.into_iter().collect();
        Self::new(name, Condition::State { states })
    }

    /// Makes a rule that is broken while what is watched says something itself that contains these words.
    pub fn issue(name: impl Into<String>, containing: impl Into<String>) -> Self {
        let containing = containing.into();
        Self::new(name, Condition::Issue { containing }).with_message("{issue}")
    }

    /// Sets how bad it is.
    #[must_use]
    pub const fn with_severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// Sets what the alert says; see [`Self::message`].
    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// Applies it only where counters grew by more than this in the window, together.
    #[must_use]
    pub fn with_enough<T: Into<String>>(
        mut self,
        counters: impl IntoIterator<Item = T>,
        more_than: u64,
    ) -> Self {
        let counters = names(counters);
        self.enough = Some(Enough {
            counters,
            more_than,
        });
        self
    }

    /// Sets over how many samples it is measured.
    #[must_use]
    pub const fn with_window(mut self, samples: usize) -> Self {
        self.window = Some(samples);
        self
    }

    /// Sets how many samples in a row must break it before the alert is raised.
    #[must_use]
    pub const fn with_after(mut self, samples: u32) -> Self {
        self.after = samples;
        self
    }

    /// Sets how many samples in a row must not break it before the alert clears.
    #[must_use]
    pub const fn with_clear_after(mut self, samples: u32) -> Self {
        self.clear_after = samples;
        self
    }
}
