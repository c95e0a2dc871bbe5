//! How values of `std` and of `wt-core` are written by serde.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serializer, de::Error, ser::SerializeSeq};
use wt_core::observe::{Histogram, State, Value};

/// Seconds since 1970.
pub(crate) fn unix<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    serializer.serialize_f64(since.unwrap_or_default().as_secs_f64())
}

/// As [`unix`], of a time that may not have come.
pub(crate) fn maybe_unix<S: Serializer>(
    time: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => unix(time, serializer),
        None => serializer.serialize_none(),
    }
}

pub(crate) fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

/// A number, whole if it counts.
pub(crate) fn value<S: Serializer>(value: &Value, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Value::Counter(count) => serializer.serialize_u64(*count),
        other => serializer.serialize_f64(other.as_f64()),
    }
}

pub(crate) fn state<S: Serializer>(state: &State, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state.name())
}

pub(crate) fn histograms<S: Serializer>(
    histograms: &[Histogram],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(serde::Serialize)]
    struct Written<'a> {
        name: &'a str,
        bounds: &'a [f64],
        counts: &'a [u64],
    }
    serializer.collect_seq(histograms.iter().map(|one| Written {
        name: one.name,
        bounds: one.bounds,
        counts: &one.counts,
    }))
}

/// States by their names, both ways.
pub(crate) mod states {
    use super::*;

    const ALL: [State; 7] = [
        State::Idle,
        State::Starting,
        State::Active,
        State::Draining,
        State::Closing,
        State::Closed,
        State::Failed,
    ];

    pub(crate) fn serialize<S: Serializer>(
        states: &[State],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut names = serializer.serialize_seq(Some(states.len()))?;
        for state in states {
            names.serialize_element(state.name())?;
        }
        names.end()
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<State>, D::Error> {
        let named = |name: String| {
            let found = ALL.into_iter().find(|state| state.name() == name);
            found.ok_or_else(|| D::Error::custom(format!("no state is called {name:?}")))
        };
        let names = Vec::<String>::deserialize(deserializer)?;
        names.into_iter().map(named).collect()
    }
}
