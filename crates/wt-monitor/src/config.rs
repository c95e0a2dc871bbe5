//! How a monitor works.

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};
use wt_core::{config::ConfigError, observe::State};

use crate::{
    rule::{Condition, Measure, Rule, Severity},
    window::Trend,
};

/// The most samples, and the most alerts, that a history may hold.
pub const MAX_HISTORY: usize = 65_536;

/// The most rules that a monitor may have.
pub const MAX_RULES: usize = 256;

/// The most figures of a sample that may be kept.
pub const MAX_SERIES: usize = 4_096;

/// How a [`Monitor`](crate::Monitor) works: how often it looks, how much it keeps, and by what it judges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct MonitorConfig {
    /// How often a sample is taken. Default: 30 s; for datagrams 5 s.
    #[doc(alias = "monitoring_interval")]
    pub interval: Duration,
    /// How many samples are kept, at most [`MAX_HISTORY`]. Default: 120; for datagrams 100.
    #[doc(alias = "metrics_maxlen")]
    #[doc(alias = "samples_maxlen")]
    pub history: usize,
    /// How many alerts are kept, at most [`MAX_HISTORY`]. Those that are active are kept beside them. Default: 100; for
    /// datagrams 50.
    #[doc(alias = "alerts_maxlen")]
    pub alerts: usize,
    /// Over how many samples rules, rates and percentiles look, at most the history. Default: 10.
    #[doc(alias = "trend_analysis_window")]
    pub window: usize,
    /// How many figures, and how many issues, of a sample are kept, at most [`MAX_SERIES`]; the others are left out and
    /// counted. Default: 128.
    pub series: usize,
    /// What should not be so, at most [`MAX_RULES`]. Default: nothing.
    pub rules: Vec<Rule>,
}

impl Default for MonitorConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            history: 120,
            alerts: 100,
            window: 10,
            series: 128,
            rules: Vec::new(),
        }
    }
}

impl MonitorConfig {
    /// Returns the defaults, without rules.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the defaults for a client.
    ///
    /// | Rule | Is broken when, in the window | Severity |
    /// |---|---|---|
    /// | `low_success_rate` | of more than 10 attempts that ended less than 90 % succeeded | warning |
    /// | `slow_connections` | a session took more than 5 s in the mean | warning |
    #[must_use]
    pub fn client() -> Self {
        let ended = ["succeeded", "failed"];
        let rate = Measure::ratio(["succeeded"], ended);
        let time = Measure::ratio(["connect_microseconds"], ["succeeded"]).scaled(1e-6);
        Self::new()
            .with_rule(
                Rule::below("low_success_rate", rate, 0.9)
                    .with_enough(ended, 10)
                    .with_message("Low connection success rate: {percent}%"),
            )
            .with_rule(
                Rule::above("slow_connections", time, 5.0)
                    .with_message("Slow connections: {value}s average"),
            )
    }

    /// Returns the defaults for a server, or a server application.
    ///
    /// | Rule | Is broken when | Severity |
    /// |---|---|---|
    /// | `not_serving` | it takes no clients | critical |
    /// | `low_success_rate` | of more than 10 clients in the window less than 90 % got a connection | warning |
    /// | `certificates_expiring` | a certificate that should have been renewed by now ends soon | warning |
    /// | `certificate_expiry` | a certificate ends within 12 hours, or has ended | critical |
    #[must_use]
    pub fn server() -> Self {
        let clients = ["connections_accepted", "connections_rejected"];
        let rate = Measure::ratio(["connections_accepted"], clients);
        let not_serving = [
            State::Draining,
            State::Closing,
            State::Closed,
            State::Failed,
        ];
        Self::new()
            .with_rule(
                Rule::state("not_serving", not_serving)
                    .with_severity(Severity::Critical)
                    .with_message("Server is not serving."),
            )
            .with_rule(
                Rule::below("low_success_rate", rate, 0.9)
                    .with_enough(clients, 10)
                    .with_message("Low connection success rate: {percent}%"),
            )
            .with_rule(
                Rule::above(
                    "certificates_expiring",
                    Measure::last("certificates_expiring"),
                    0.0,
                )
                .with_message("{count} certificates end soon."),
            )
            .with_rule(
                Rule::below(
                    "certificate_expiry",
                    Measure::last("certificate_expiry_seconds"),
                    12.0 * 60.0 * 60.0,
                )
                .with_severity(Severity::Critical)
                .with_message("A certificate ends in {count} s."),
            )
    }

    /// Returns the defaults for a datagram transport.
    ///
    /// | Rule | Is broken when | Severity |
    /// |---|---|---|
    /// | `high_queue_size` | the queue of datagrams to send is more than 90 % full | warning |
    /// | `low_success_rate` | in the window less than 80 % of the attempts to send succeeded | warning |
    /// | `increasing_send_time` | the time that datagrams wait in that queue goes up, to 1 ms and more | warning |
    #[must_use]
    pub fn datagrams() -> Self {
        let rate = Measure::ratio(["sent"], ["sent", "send_failures"]);
        let time = Measure::ratio(["send_wait_microseconds"], ["sent"]).scaled(1e-6);
        let config = Self {
            interval: Duration::from_secs(5),
            history: 100,
            alerts: 50,
            ..Self::new()
        };
        config
            .with_rule(
                Rule::above("high_queue_size", Measure::last("send_queue_fill"), 0.9)
                    .with_message("High outgoing queue size: {percent}% full"),
            )
            .with_rule(
                Rule::below("low_success_rate", rate, 0.8)
                    .with_message("Low datagram send success rate: {percent}%"),
            )
            .with_rule(
                // Without a floor, microseconds would be worth an alert.
                Rule::trend("increasing_send_time", time, Trend::Increasing, 0.001)
                    .with_message("Increasing datagram send time: {value}s average"),
            )
    }

    /// Sets how often a sample is taken.
    #[must_use]
    pub const fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets how many samples and how many alerts are kept.
    #[must_use]
    pub const fn with_history(mut self, samples: usize, alerts: usize) -> Self {
        self.history = samples;
        self.alerts = alerts;
        self
    }

    /// Sets over how many samples rules, rates and percentiles look.
    #[must_use]
    pub const fn with_window(mut self, samples: usize) -> Self {
        self.window = samples;
        self
    }

    /// Adds a rule, in the place of the one of the same name if there is one.
    #[must_use]
    pub fn with_rule(mut self, rule: Rule) -> Self {
        match self.rules.iter_mut().find(|old| old.name == rule.name) {
            Some(old) => *old = rule,
            None => self.rules.push(rule),
        }
        self
    }

    /// Leaves out the rule of that name.
    #[must_use]
    pub fn without_rule(mut self, name: &str) -> Self {
        self.rules.retain(|rule| rule.name != name);
        self
    }

    /// Sets the threshold of a rule; of a trend its floor.
    ///
    /// # Errors
    ///
    /// When there is no rule of that name, or it has no threshold.
    #[doc(alias = "queue_size_threshold")]
    #[doc(alias = "success_rate_threshold")]
    pub fn with_threshold(mut self, rule: &str, to: f64) -> Result<Self, ConfigError> {
        let error = |reason: &'static str| ConfigError::new("rules", rule, reason);
        let found = self.rules.iter_mut().find(|found| found.name == rule);
        let found = found.ok_or_else(|| error("there is no rule of that name"))?;
        match &mut found.condition {
            Condition::Threshold { threshold, .. } => *threshold = to,
            Condition::Trend { floor, .. } => *floor = to,
            _ => return Err(error("it has no threshold")),
        }
        Ok(self)
    }

    /// Returns an error that names the first field whose value cannot work.
    ///
    /// # Errors
    ///
    /// That one.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.interval.is_zero() {
            return Err(ConfigError::new(
                "interval",
                self.interval,
                "it must be more than 0",
            ));
        }
        let ranges = [
            ("history", self.history, MAX_HISTORY),
            ("alerts", self.alerts, MAX_HISTORY),
            ("window", self.window, self.history),
            ("series", self.series, MAX_SERIES),
        ];
        for (key, value, most) in ranges {
            if !(1..=most).contains(&value) {
                let reason = format!("it must be from 1 to {most}");
                return Err(ConfigError::new(key, value, reason));
            }
        }
        if self.rules.len() > MAX_RULES {
            let reason = format!("there may be at most {MAX_RULES}");
            return Err(ConfigError::new("rules", self.rules.len(), reason));
        }
        let mut names = BTreeSet::new();
        for rule in &self.rules {
            let error = |reason: String| Err(ConfigError::new("rules", &rule.name, reason));
            if rule.name.is_empty() || !names.insert(&rule.name) {
                return error("each rule needs a name of its own".to_owned());
            }
            if rule
                .window
                .is_some_and(|window| !(1..=self.history).contains(&window))
            {
                return error(format!("its window must be from 1 to {}", self.history));
            }
            if let Some(reason) = rule.impossible() {
                return error(reason.to_owned());
            }
        }
        Ok(())
    }
}

impl Rule {
    /// Why it can never be broken, or always is.
    fn impossible(&self) -> Option<&'static str> {
        let (measure, threshold) = match &self.condition {
            Condition::Threshold {
                measure, threshold, ..
            } => (measure, *threshold),
            Condition::Trend { measure, floor, .. } => (measure, *floor),
            Condition::State { states } if states.is_empty() => return Some("it names no state"),
            Condition::State { .. } | Condition::Issue { .. } => return None,
        };
        if !threshold.is_finite() {
            return Some("its threshold must be a finite number");
        }
        match measure {
            Measure::Percentile { percent, .. } if !(0.0..=100.0).contains(percent) => {
                Some("a percentile must be from 0 to 100")
            }
            Measure::Ratio { scale, .. } if !scale.is_finite() => {
                Some("its scale must be a finite number")
            }
            _ => None,
        }
    }
}
