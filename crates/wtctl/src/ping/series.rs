//! Round trips of one kind, in their order.

use std::time::Duration;

use serde::Serialize;

use crate::units;

/// What became of the round trips of one kind.
#[derive(Debug)]
pub(super) struct Series {
    /// Milliseconds by number; `None` as long as it has not come back.
    trips: Vec<Option<f64>>,
}

/// The figures of a series, times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Figures {
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) lost: u64,
    /// The share that was lost, from 0 to 1.
    pub(super) loss: f64,
    pub(super) min_ms: Option<f64>,
    pub(super) median_ms: Option<f64>,
    pub(super) mean_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    pub(super) max_ms: Option<f64>,
}

impl Series {
    pub(super) fn new(count: u32) -> Self {
        Self {
            trips: Vec::with_capacity(count as usize),
        }
    }

    /// Takes note that the next one was sent; returns its number.
    pub(super) fn sent(&mut self) -> u32 {
        self.trips.push(None);
        (self.trips.len() - 1) as u32
    }

    /// Takes note that one came back. What comes twice counts once.
    pub(super) fn came_back(&mut self, number: u32, after: Duration) {
        if let Some(trip @ None) = self.trips.get_mut(number as usize) {
            *trip = Some(after.as_secs_f64() * 1000.0);
        }
    }

    /// Returns whether all that were sent came back.
    pub(super) fn is_complete(&self) -> bool {
        self.trips.iter().all(Option::is_some)
    }

    pub(super) fn trips(&self) -> &[Option<f64>] {
        &self.trips
    }

    /// Returns the milliseconds of those that came back, the shortest first.
    pub(super) fn sorted(&self) -> Vec<f64> {
        let mut sorted: Vec<f64> = self.trips.iter().copied().flatten().collect();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    pub(super) fn figures(&self) -> Figures {
        let sorted = self.sorted();
        let (sent, received) = (self.trips.len() as u64, sorted.len() as u64);
        let lost = sent - received;
        let mean = sorted.iter().sum::<f64>() / received.max(1) as f64;
        Figures {
            sent,
            received,
            lost,
            loss: lost as f64 / sent.max(1) as f64,
            min_ms: sorted.first().copied(),
            median_ms: units::percentile(&sorted, 50.0),
            mean_ms: (received > 0).then_some(mean),
            p99_ms: units::percentile(&sorted, 99.0),
            max_ms: sorted.last().copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_counts_and_what_comes_twice_counts_once() {
        let mut series = Series::new(4);
        for number in 0..4 {
            assert_eq!(series.sent(), number);
        }
        for (number, ms) in [(0, 1), (2, 3), (2, 9), (3, 2), (7, 1)] {
            series.came_back(number, Duration::from_millis(ms));
        }
        assert!(!series.is_complete());
        let figures = series.figures();
        assert_eq!((figures.sent, figures.received, figures.lost), (4, 3, 1));
        assert_eq!(figures.loss, 0.25);
        assert_eq!(figures.min_ms, Some(1.0));
        assert_eq!(figures.median_ms, Some(2.0));
        assert_eq!(figures.max_ms, Some(3.0));
        assert_eq!(Series::new(1).figures().mean_ms, None);
    }
}
