//! What is known of the server.

use std::collections::VecDeque;

use wt::monitor::feed::{Hello, Line, Reading};

use super::watch::Update;

/// Samples that are kept.
const KEPT: usize = 600;

/// How the session stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Link {
    #[default]
    Connecting,
    Live,
    Lost {
        why: String,
        again_in: u64,
    },
}

/// All that was told.
#[derive(Debug, Default)]
pub(super) struct Picture {
    pub(super) hello: Option<Hello>,
    /// The oldest first.
    pub(super) readings: VecDeque<Reading>,
    pub(super) link: Link,
}

impl Picture {
    pub(super) fn take(&mut self, update: Update) {
        match update {
            Update::Line(Line::Hello(hello)) => {
                // The history follows, which has what was known.
                self.readings.clear();
                self.hello = Some(hello);
                self.link = Link::Live;
            }
            Update::Line(Line::Reading(reading)) => {
                if self.readings.len() == KEPT {
                    self.readings.pop_front();
                }
                self.readings.push_back(*reading);
            }
            Update::Line(_) => {}
            Update::Lost { why, again_in } => self.link = Link::Lost { why, again_in },
            Update::Connecting => self.link = Link::Connecting,
        }
    }

    pub(super) fn latest(&self) -> Option<&Reading> {
        self.readings.back()
    }

    /// Returns whether there is a newest sample, with rates and health, which those of the past have not.
    pub(super) fn is_whole(&self) -> bool {
        let latest = self.latest();
        latest.is_some_and(|latest| latest.health.is_some() && !latest.rates.is_empty())
    }

    /// Returns what `value` makes of each sample, the newest last; nothing where it is not known.
    pub(super) fn series(&self, value: impl Fn(&Reading) -> Option<f64>) -> Vec<f64> {
        let values = self.readings.iter().map(value);
        values.map(Option::unwrap_or_default).collect()
    }
}

/// Returns a figure of this moment.
pub(super) fn gauge(reading: &Reading, name: &str) -> Option<f64> {
    reading.gauges.get(name).copied()
}

/// Returns the sum of rates per second, of those that are known.
pub(super) fn rate(reading: &Reading, names: &[&str]) -> Option<f64> {
    let known = names.iter().filter_map(|name| reading.rates.get(*name));
    known.fold(None, |sum, rate| Some(sum.unwrap_or(0.0) + rate))
}

/// Returns a time in milliseconds.
pub(super) fn millis(reading: &Reading, name: &str) -> Option<f64> {
    gauge(reading, name).map(|seconds| seconds * 1000.0)
}

/// Who was turned away: clients, and requests for sessions.
pub(super) const REFUSED: [&str; 2] = ["requests_rejected", "connections_rejected"];

/// Returns the part of the packets that was lost lately, in percent.
pub(super) fn loss(reading: &Reading) -> Option<f64> {
    let lost = rate(reading, &["lost_packets"])?;
    let sent = rate(reading, &["sent_packets"])?;
    Some(if sent > 0.0 { lost / sent * 100.0 } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(json: &str) -> Update {
        Update::Line(Line::parse(json.as_bytes()).unwrap())
    }

    fn sample(number: u64) -> Update {
        line(&format!(
            r#"{{"type":"sample","sequence":{number},"at_ms":{number},"state":"active","uptime_seconds":1.5,
                "gauges":{{"sessions":3.0,"rtt_median_seconds":0.002}},
                "rates":{{"lost_packets":1.0,"sent_packets":50.0}},
                "health":{{"status":"healthy","reason":"fine"}},"new":[1]}}"#
        ))
    }

    #[test]
    fn what_is_kept_is_bounded_and_begins_anew_with_a_hello() {
        let mut picture = Picture::default();
        assert!(!picture.is_whole());
        for number in 0..700 {
            picture.take(sample(number));
        }
        assert_eq!(picture.readings.len(), KEPT);
        assert_eq!(picture.latest().map(|one| one.sequence), Some(699));
        let hello = r#"{"type":"hello","kind":"server","id":"x","interval_ms":1000,"history":0}"#;
        picture.take(line(hello));
        assert_eq!((picture.readings.len(), &picture.link), (0, &Link::Live));
        picture.take(line(r#"{"type":"of-the-future","x":1}"#));
        assert!(picture.latest().is_none());
    }

    #[test]
    fn figures_are_found_by_name() {
        let mut picture = Picture::default();
        picture.take(sample(1));
        assert!(picture.is_whole());
        let latest = picture.latest().unwrap();
        assert_eq!(gauge(latest, "sessions"), Some(3.0));
        assert_eq!(millis(latest, "rtt_median_seconds"), Some(2.0));
        assert_eq!(rate(latest, &REFUSED), None);
        assert_eq!(loss(latest), Some(2.0));
        assert_eq!(picture.series(|one| gauge(one, "sessions")), [3.0]);
    }
}
