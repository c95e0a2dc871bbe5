//! What the newest samples say together.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use wt_core::observe::Value;

use crate::{rule::Measure, sample::Sample};

/// Which way a figure goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Trend {
    /// Neither, or not known yet.
    #[default]
    Stable,
    /// The newer half is more than a quarter above the older one.
    Increasing,
    /// The newer half is more than a quarter below the older one.
    Decreasing,
}

impl Trend {
    /// By which part of the older mean the newer one has to differ.
    const CHANGE: f64 = 0.25;

    /// Compares the means of two halves of `values`, the oldest first; the one in the middle of an odd number belongs
    /// to the newer half.
    ///
    /// More than a quarter up or down is a trend, and so is anything above 0 behind a mean of 0.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let (older, newer) = values.split_at(values.len() / 2);
        let (Some(older), Some(newer)) = (mean(older), mean(newer)) else {
            return Self::Stable;
        };
        if older == 0.0 {
            return match newer > 0.0 {
                true => Self::Increasing,
                false => Self::Stable,
            };
        }
        match (newer - older) / older {
            change if change > Self::CHANGE => Self::Increasing,
            change if change < -Self::CHANGE => Self::Decreasing,
            _ => Self::Stable,
        }
    }

    /// Returns the name in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Increasing => "increasing",
            Self::Decreasing => "decreasing",
        }
    }
}

impl fmt::Display for Trend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One figure over the window.
///
/// For a gauge, of its values; for a counter, of its rates per second from sample to sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// The name of the figure.
    pub name: &'static str,
    /// Of a counter, the increase per second over the whole window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// The mean.
    pub mean: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
    /// The median.
    pub p50: f64,
    /// What 95 % do not exceed.
    pub p95: f64,
    /// What 99 % do not exceed.
    pub p99: f64,
    /// Which way it goes; stable while there are fewer samples than the window holds.
    pub trend: Trend,
}

/// The newest samples, the oldest of them first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window<'a> {
    samples: &'a [Arc<Sample>],
    /// How many samples it may hold.
    size: usize,
}

impl<'a> Window<'a> {
    /// The newest `size` of `samples`.
    pub(crate) fn new(samples: &'a [Arc<Sample>], size: usize) -> Self {
        let start = samples.len().saturating_sub(size);
        Self {
            samples: &samples[start..],
            size,
        }
    }

    pub(crate) fn newest(self) -> Option<&'a Arc<Sample>> {
        self.samples.last()
    }

    /// By how much counters grew, together; `None` where none of them is known.
    pub(crate) fn increase<'n>(self, names: impl IntoIterator<Item = &'n String>) -> Option<u64> {
        let each = names.into_iter().filter_map(|name| self.increase_of(name));
        each.fold(None, |sum, one| Some(sum.unwrap_or(0) + one))
    }

    fn increase_of(self, name: &str) -> Option<u64> {
        let steps = self.samples.iter().filter_map(|one| one.increase(name));
        steps.fold(None, |sum: Option<u64>, one| {
            Some(sum.unwrap_or(0).saturating_add(one))
        })
    }

    /// The increase per second of a counter.
    pub(crate) fn rate(self, name: &str) -> Option<f64> {
        let known = self
            .samples
            .iter()
            .filter(|one| one.increase(name).is_some());
        let seconds: f64 = known.map(|one| one.elapsed.as_secs_f64()).sum();
        let increase = self.increase_of(name)?;
        (seconds > 0.0).then(|| increase as f64 / seconds)
    }

    /// The values of a figure from sample to sample.
    fn values(self, name: &str) -> Vec<f64> {
        let values = self.samples.iter().filter_map(|one| one.get(name));
        values.filter(|value| value.is_finite()).collect()
    }

    fn rates(self, name: &str) -> Vec<f64> {
        self.samples
            .iter()
            .filter_map(|one| one.rate(name))
            .collect()
    }

    /// What `measure` comes to; `None` where the figures are not there, or nothing happened that could be measured.
    pub(crate) fn measure(self, measure: &Measure) -> Option<f64> {
        let value = match measure {
            Measure::Last { figure } => self.newest()?.get(figure),
            Measure::Mean { figure } => mean(&self.values(figure)),
            Measure::Min { figure } => self.values(figure).into_iter().reduce(f64::min),
            Measure::Max { figure } => self.values(figure).into_iter().reduce(f64::max),
            Measure::Percentile { figure, percent } => {
                percentile(&sorted(self.values(figure)), *percent)
            }
            Measure::Rate { counter } => self.rate(counter),
            Measure::Increase { counters } => self.increase(counters).map(|grown| grown as f64),
            Measure::Ratio { of, to, scale } => {
                let (of, to) = (self.increase(of)?, self.increase(to)?);
                (to > 0).then(|| of as f64 / to as f64 * scale)
            }
        };
        value.filter(|value| value.is_finite())
    }

    /// What `measure` comes to in each sample alone.
    fn steps(self, measure: &Measure) -> Vec<f64> {
        let each = self.samples.chunks(1).map(|one| Window::new(one, 1));
        each.filter_map(|one| one.measure(measure)).collect()
    }

    /// Which way `measure` goes, and the mean of its newer half; stable below the size of the window.
    pub(crate) fn trend(self, measure: &Measure) -> (Trend, Option<f64>) {
        let steps = self.steps(measure);
        let newer = mean(&steps[steps.len() / 2..]);
        (self.trend_of(&steps), newer)
    }

    fn trend_of(self, values: &[f64]) -> Trend {
        // Samples in which nothing could be measured have no value: a few of many make no trend.
        let few = self.samples.len() < self.size || values.len() * 2 < self.size;
        match few {
            true => Trend::Stable,
            false => Trend::of(values),
        }
    }

    /// One figure; `None` where there are no values of it.
    pub(crate) fn summary(self, name: &str) -> Option<Summary> {
        let figure = self.newest()?.figure(name)?;
        let values = match figure.value {
            Value::Counter(_) => self.rates(name),
            _ => self.values(name),
        };
        let trend = self.trend_of(&values);
        let sorted = sorted(values);
        Some(Summary {
            name: figure.name,
            rate: self.rate(name),
            mean: mean(&sorted)?,
            min: *sorted.first()?,
            max: *sorted.last()?,
            p50: percentile(&sorted, 50.0)?,
            p95: percentile(&sorted, 95.0)?,
            p99: percentile(&sorted, 99.0)?,
            trend,
        })
    }

    /// All figures of the newest sample.
    pub(crate) fn summaries(self) -> Vec<Summary> {
        let figures = self.newest().into_iter().flat_map(|one| &one.figures);
        figures.filter_map(|one| self.summary(one.name)).collect()
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// The least value that `percent` of the values do not exceed (nearest rank).
fn percentile(sorted: &[f64], percent: f64) -> Option<f64> {
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_up_or_down_is_a_trend() {
        assert_eq!(Trend::of(&[]), Trend::Stable);
        assert_eq!(Trend::of(&[7.0]), Trend::Stable);
        assert_eq!(Trend::of(&[4.0, 4.0, 5.0, 5.0]), Trend::Stable);
        assert_eq!(Trend::of(&[4.0, 4.0, 5.0, 5.1]), Trend::Increasing);
        assert_eq!(Trend::of(&[4.0, 4.0, 3.0, 3.0]), Trend::Stable);
        assert_eq!(Trend::of(&[4.0, 4.0, 3.0, 2.9]), Trend::Decreasing);
        assert_eq!(Trend::of(&[0.0, 0.0, 0.0, 0.1]), Trend::Increasing);
        assert_eq!(Trend::of(&[0.0, 0.0, 0.0, 0.0]), Trend::Stable);
        // The odd one belongs to the newer half, and pulls its mean up to 5.
        assert_eq!(Trend::of(&[4.0, 7.0, 4.0]), Trend::Increasing);
    }

    #[test]
    fn percentiles_are_values_that_were_there() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&hundred, 50.0), Some(50.0));
        assert_eq!(percentile(&hundred, 95.0), Some(95.0));
        assert_eq!(percentile(&hundred, 99.0), Some(99.0));
        assert_eq!(percentile(&hundred, 0.0), Some(1.0));
        assert_eq!(percentile(&hundred, 100.0), Some(100.0));
        assert_eq!(percentile(&[3.0], 99.0), Some(3.0));
        assert_eq!(percentile(&[], 50.0), None);
    }
}
