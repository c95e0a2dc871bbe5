//! Rules against samples, and the alerts that come of it.

use std::time::SystemTime;

use wt_core::observe::State;

use crate::{
    alert::Alert,
    rule::{Condition, Rule, Side},
    window::Window,
};

/// A rule and how it stands.
#[derive(Debug)]
pub(crate) struct Judge {
    rule: Rule,
    /// How many samples in a row have said the contrary of what stands.
    streak: u32,
    pub(crate) active: Option<Alert>,
}

/// What a judge has changed.
#[derive(Debug)]
pub(crate) enum Verdict {
    Raised(Alert),
    /// Still broken: what the alert says now.
    Updated(Alert),
    Cleared(Alert),
}

/// How a rule is broken.
struct Broken {
    value: Option<f64>,
    issue: String,
}

impl Judge {
    pub(crate) const fn new(rule: Rule) -> Self {
        Self {
            rule,
            streak: 0,
            active: None,
        }
    }

    pub(crate) fn samples(&self) -> Option<usize> {
        self.rule.window
    }

    /// Looks at the window of the newest sample; `id` is that of the alert if one is raised.
    pub(crate) fn judge(&mut self, window: Window<'_>, at: SystemTime, id: u64) -> Option<Verdict> {
        let broken = self.broken(window);
        let message = broken.as_ref().map(|broken| self.message(broken, window));
        let value = broken.and_then(|broken| broken.value);
        match (message, &mut self.active) {
            (Some(message), Some(alert)) => {
                self.streak = 0;
                (alert.message, alert.value) = (message, value);
                Some(Verdict::Updated(alert.clone()))
            }
            (Some(message), None) => {
                self.streak = self.streak.saturating_add(1);
                if self.streak < self.rule.after {
                    return None;
                }
                self.streak = 0;
                let alert = Alert {
                    id,
                    rule: self.rule.name.clone(),
                    severity: self.rule.severity,
                    message,
                    value,
                    since: at,
                    cleared: None,
                };
                self.active = Some(alert.clone());
                Some(Verdict::Raised(alert))
            }
            (None, Some(_)) => {
                self.streak = self.streak.saturating_add(1);
                if self.streak < self.rule.clear_after {
                    return None;
                }
                self.streak = 0;
                let mut alert = self.active.take()?;
                alert.cleared = Some(at);
                Some(Verdict::Cleared(alert))
            }
            (None, None) => {
                self.streak = 0;
                None
            }
        }
    }

    fn broken(&self, window: Window<'_>) -> Option<Broken> {
        if let Some(enough) = &self.rule.enough
            && window.increase(&enough.counters).unwrap_or(0) <= enough.more_than
        {
            return None;
        }
        let (value, issue) = match &self.rule.condition {
            Condition::Threshold {
                measure,
                side,
                threshold,
            } => {
                let value = window.measure(measure)?;
                let beyond = match side {
                    Side::Above => value > *threshold,
                    Side::Below => value < *threshold,
                };
                beyond.then_some((Some(value), String::new()))?
            }
            Condition::Trend {
                measure,
                trend,
                floor,
            } => {
                let (found, newer) = window.trend(measure);
                let matters = newer.is_some_and(|newer| newer >= *floor);
                (found == *trend && matters).then_some((newer, String::new()))?
            }
            Condition::State { states } => {
                let state: State = window.newest()?.state;
                states.contains(&state).then_some((None, String::new()))?
            }
            Condition::Issue { containing } => {
                let issues = &window.newest()?.issues;
                let found = issues.iter().find(|issue| issue.contains(containing))?;
                (None, found.clone())
            }
        };
        Some(Broken { value, issue })
    }

    fn message(&self, broken: &Broken, window: Window<'_>) -> String {
        let Rule { name, message, .. } = &self.rule;
        if message.is_empty() {
            return name.clone();
        }
        let Some(sample) = window.newest() else {
            return name.clone();
        };
        let threshold = match self.rule.condition {
            Condition::Threshold { threshold, .. } => threshold.to_string(),
            Condition::Trend { floor, .. } => floor.to_string(),
            _ => String::new(),
        };
        let value = |unit: f64, decimals: usize| {
            let value = broken.value.map(|value| value * unit);
            value.map_or_else(String::new, |value| format!("{value:.decimals$}"))
        };
        let places = [
            ("value", value(1.0, 2)),
            ("percent", value(100.0, 2)),
            ("count", value(1.0, 0)),
            ("threshold", threshold),
            ("state", sample.state.to_string()),
            ("issue", broken.issue.clone()),
            ("kind", sample.kind.to_owned()),
            ("id", sample.id.clone()),
        ];
        fill(message, &places)
    }
}

/// Puts values in the place of their names in braces; other braces stay.
fn fill(template: &str, places: &[(&str, String)]) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let found = places.iter().find_map(|(name, value)| {
            let behind = after.strip_prefix(name)?.strip_prefix('}')?;
            Some((value, behind))
        });
        rest = match found {
            Some((value, behind)) => {
                filled.push_str(value);
                behind
            }
            None => {
                filled.push('{');
                after
            }
        };
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_braces_are_filled_in_once() {
        let places = [("value", "{id}".to_owned()), ("id", "7".to_owned())];
        assert_eq!(fill("{value}, {id}, {{x} {", &places), "{id}, 7, {{x} {");
        assert_eq!(fill("", &places), "");
    }
}
