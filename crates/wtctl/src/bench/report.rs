//! What `wtctl bench` shows.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::atomic::Ordering::Relaxed,
    time::Duration,
};

use serde::Serialize;

use super::{
    Args,
    tally::{Histogram, Tally},
};
use crate::{
    failure::Failure,
    output::{BAD, GOOD, QUIET, STRONG},
    units,
};

/// Everything that was measured; as JSON, its fields stay.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    url: String,
    kind: &'static str,
    sessions: u32,
    in_flight: u32,
    size: usize,
    seconds: f64,
    requests: u64,
    requests_per_second: f64,
    /// Bytes in each direction.
    bytes: u64,
    /// Millions of bytes in each direction.
    megabytes_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<u64>,
    latency_ms: Times,
    set_up_ms: Times,
    errors: BTreeMap<String, u64>,
}

/// Times in milliseconds.
#[derive(Debug, Serialize)]
struct Times {
    count: u64,
    min: Option<f64>,
    median: Option<f64>,
    p90: Option<f64>,
    p99: Option<f64>,
    p999: Option<f64>,
    max: Option<f64>,
}

impl Times {
    fn new(histogram: &Histogram) -> Self {
        Self {
            count: histogram.count(),
            min: histogram.percentile(0.0),
            median: histogram.percentile(50.0),
            p90: histogram.percentile(90.0),
            p99: histogram.percentile(99.0),
            p999: histogram.percentile(99.9),
            max: histogram.max(),
        }
    }
}

impl Report {
    pub(super) fn new(args: &Args, tally: &Tally, measured: Duration) -> Self {
        let seconds = measured.as_secs_f64();
        let (requests, bytes) = (tally.requests.load(Relaxed), tally.bytes.load(Relaxed));
        let per_second = |count: u64| {
            if seconds > 0.0 {
                count as f64 / seconds
            } else {
                0.0
            }
        };
        Self {
            url: args.reach.request.url.clone(),
            kind: if args.datagrams { "datagram" } else { "stream" },
            sessions: args.sessions,
            in_flight: args.streams,
            size: args.size,
            seconds,
            requests,
            requests_per_second: per_second(requests),
            bytes,
            megabytes_per_second: per_second(bytes) / 1e6,
            lost: args.datagrams.then(|| tally.lost.load(Relaxed)),
            latency_ms: Times::new(&tally.latency),
            set_up_ms: Times::new(&tally.set_up),
            errors: tally.error_kinds(),
        }
    }

    /// Returns whether anything was answered.
    pub(super) const fn is_good(&self) -> bool {
        self.requests > 0
    }

    pub(super) fn print(&self, json: bool) -> Result<(), Failure> {
        let printed = if json {
            self.print_json()
        } else {
            self.print_words()
        };
        printed.map_err(|error| Failure::output(&error))
    }

    fn print_json(&self) -> io::Result<()> {
        let line = serde_json::to_string(self)?;
        writeln!(io::stdout(), "{line}")
    }

    fn print_words(&self) -> io::Result<()> {
        let mut out = anstream::stdout().lock();
        let Self {
            url,
            kind,
            sessions,
            in_flight,
            seconds,
            ..
        } = self;
        writeln!(
            out,
            "{STRONG}{url}{STRONG:#}  {sessions} session{} × {in_flight} {kind}{}, {} each way, {seconds:.1} s",
            units::plural(*sessions),
            units::plural(*in_flight),
            units::bytes(self.size as f64),
        )?;
        let mut line =
            |name: &str, text: String| writeln!(out, "{STRONG}{name:<10}{STRONG:#}{text}");
        line(
            "Requests",
            format!(
                "{GOOD}{} /s{GOOD:#}  {QUIET}{} in all{QUIET:#}",
                units::grouped(self.requests_per_second),
                units::grouped(self.requests as f64)
            ),
        )?;
        line(
            "Data",
            format!(
                "{} MB/s each way  {QUIET}{} MB in all{QUIET:#}",
                units::short(self.megabytes_per_second),
                units::megabytes(self.bytes as f64)
            ),
        )?;
        for (name, measured) in [("Latency", &self.latency_ms), ("Set-up", &self.set_up_ms)] {
            if measured.count > 0 {
                line(name, times(measured))?;
            }
        }
        if let Some(lost) = self.lost {
            let share = units::percent(lost, lost + self.requests);
            line("Lost", format!("{share}  {QUIET}{lost} in all{QUIET:#}"))?;
        }
        if self.errors.is_empty() {
            line("Errors", "none".to_owned())?;
        }
        for (error, count) in &self.errors {
            line("Errors", format!("{BAD}{count}{BAD:#} × {error}"))?;
        }
        out.flush()
    }
}

fn times(times: &Times) -> String {
    let named = [
        ("min", times.min),
        ("median", times.median),
        ("p90", times.p90),
        ("p99", times.p99),
        ("p99.9", times.p999),
        ("max", times.max),
    ];
    // Of a few, the percentiles are all the same.
    let few = times.count < 100;
    let parts = named
        .into_iter()
        .filter(|(name, _)| !(few && name.starts_with('p')))
        .filter_map(|(name, ms)| Some(format!("{name} {}", units::millis(ms?))));
    let parts: Vec<_> = parts.collect();
    format!("{} ms", parts.join("  "))
}
