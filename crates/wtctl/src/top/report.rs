//! The report for a pipe, and the words that the screen has too.

use std::io::{self, Write};

use wt::monitor::feed::{AlertLine, Reading, RoundTrips};

use super::picture::{Picture, REFUSED, gauge, loss, millis, rate};
use crate::{
    output::{BAD, GOOD, QUIET, STRONG},
    plot::{self, Ink, Step},
    units,
};

/// Prints what is known, for people or as the newest line of the feed.
pub(super) fn print(url: &str, picture: &Picture, json: bool) -> io::Result<()> {
    let Some(latest) = picture.latest() else {
        return Ok(());
    };
    if json {
        return writeln!(io::stdout(), "{}", serde_json::to_string(latest)?);
    }
    let mut out = anstream::stdout().lock();
    let what = picture.hello.as_ref();
    let what = what.map_or_else(String::new, |hello| format!("{} {}", hello.kind, hello.id));
    writeln!(
        out,
        "{STRONG}{url}{STRONG:#}  {what}, up {}",
        uptime(latest)
    )?;
    if let Some(health) = &latest.health {
        let style = match &health.status[..] {
            "healthy" => GOOD,
            "degraded" | "unhealthy" => BAD,
            _ => QUIET,
        };
        let (status, reason) = (&health.status, &health.reason);
        writeln!(out, "Health       {style}{status}{style:#}: {reason}")?;
    }
    for (name, words) in figures(latest) {
        writeln!(out, "{name:<12} {words}")?;
    }
    if let Some(rtt) = &latest.rtt {
        for line in plot::histogram(&steps(rtt), Ink::of_stdout()) {
            writeln!(out, "             {line}")?;
        }
    }
    if latest.alerts.is_empty() {
        writeln!(out, "Alerts       none")?;
    }
    for (index, alert) in latest.alerts.iter().rev().enumerate() {
        let name = if index == 0 { "Alerts" } else { "" };
        writeln!(out, "{name:<12} {}", alert_words(alert, latest.at_ms))?;
    }
    out.flush()
}

/// Returns names and figures, with their units.
fn figures(latest: &Reading) -> [(&'static str, String); 5] {
    let count = |name: &str| latest.counters.get(name).copied().unwrap_or_default() as f64;
    let whole = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), units::grouped);
    let short = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), units::short);
    let data = |name: &str| {
        let now = rate(latest, &[name]).unwrap_or_default();
        format!("{}, {} so far", per_second(now), bytes(count(name)))
    };
    [
        (
            "Sessions",
            format!(
                "{} open on {} connections, {} new /s, {} so far",
                whole(gauge(latest, "sessions")),
                whole(gauge(latest, "connections")),
                short(rate(latest, &["sessions_made"])),
                units::grouped(count("sessions_made")),
            ),
        ),
        ("Received", data("received_bytes")),
        ("Sent", data("sent_bytes")),
        (
            "Drops",
            format!(
                "packets lost {} /s ({} %), datagrams dropped {} /s, refused {} /s",
                short(rate(latest, &["lost_packets"])),
                short(loss(latest)),
                short(rate(latest, &["datagrams_dropped"])),
                short(rate(latest, &REFUSED)),
            ),
        ),
        ("Round trips", round_trips(latest)),
    ]
}

/// Returns the round trips in one line.
pub(super) fn round_trips(latest: &Reading) -> String {
    let ms = |name| millis(latest, name).map(units::millis);
    let all = ["rtt_median_seconds", "rtt_p95_seconds", "rtt_max_seconds"].map(ms);
    match all {
        [Some(median), Some(p95), Some(max)] => {
            format!("median {median}  p95 {p95}  max {max} ms")
        }
        _ => "no connection to measure".to_owned(),
    }
}

/// Returns the ranges that connections are in, and those between.
pub(super) fn steps(rtt: &RoundTrips) -> Vec<Step> {
    let last = rtt.bounds_ms.last().copied().unwrap_or_default();
    let bounds = rtt.bounds_ms.iter().copied();
    // What is above the last bound.
    let bounds = bounds.chain([f64::INFINITY]);
    let all = bounds
        .zip(rtt.counts.iter().copied())
        .map(|(upto, count)| Step {
            upto: if upto.is_finite() { upto } else { last * 10.0 },
            count,
        });
    let mut all: Vec<Step> = all.skip_while(|step| step.count == 0).collect();
    while all.last().is_some_and(|step| step.count == 0) {
        all.pop();
    }
    all
}

/// Writes bytes in decimal units, as the page does.
pub(super) fn bytes(value: f64) -> String {
    const UNITS: [(&str, f64); 5] = [
        ("TB", 1e12),
        ("GB", 1e9),
        ("MB", 1e6),
        ("kB", 1e3),
        ("B", 1.0),
    ];
    let unit = UNITS.iter().find(|(_, size)| value >= *size);
    let (unit, size) = unit.copied().unwrap_or(("B", 1.0));
    format!("{} {unit}", units::short(value / size))
}

pub(super) fn per_second(value: f64) -> String {
    format!("{}/s", bytes(value))
}

/// Writes how long the server has run.
pub(super) fn uptime(latest: &Reading) -> String {
    duration(latest.uptime_seconds as u64)
}

fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// Says an alert in one line: how long ago it began, and what is wrong.
pub(super) fn alert_words(alert: &AlertLine, now_ms: u64) -> String {
    let ago = duration(now_ms.saturating_sub(alert.at_ms) / 1000);
    let over = if alert.cleared { ", over" } else { "" };
    format!("{ago} ago, {}{over}: {}", alert.severity, alert.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_units() {
        assert_eq!(bytes(0.0), "0 B");
        assert_eq!(bytes(999.0), "999 B");
        assert_eq!(bytes(1500.0), "1.50 kB");
        assert_eq!(per_second(12_300_000.0), "12.3 MB/s");
        assert_eq!(duration(59), "59 s");
        assert_eq!(duration(61), "1 min 1 s");
        assert_eq!(duration(3 * 3600 + 60), "3 h 1 min");
        assert_eq!(duration(90_000), "1 d 1 h");
    }
}
