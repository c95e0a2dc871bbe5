//! What `wtctl ping` shows.

use std::io::{self, Write};

use serde::Serialize;
use wt::Session;

use super::{
    Args,
    series::{Figures, Series},
};
use crate::{
    failure::Failure,
    output::{GOOD, QUIET, STRONG},
    plot::{self, Ink},
    units,
};

/// Everything that was found.
#[derive(Debug)]
pub(super) struct Report {
    url: String,
    dialect: &'static str,
    size: usize,
    quic_rtt_ms: f64,
    datagrams: Option<Series>,
    streams: Option<Series>,
}

/// One line of JSON; its fields stay.
#[derive(Serialize)]
struct Json<'a> {
    url: &'a str,
    dialect: &'a str,
    size: usize,
    quic_rtt_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    datagram: Option<Figures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<Figures>,
}

impl Report {
    pub(super) fn new(
        args: &Args,
        session: &Session,
        datagrams: Option<Series>,
        streams: Option<Series>,
    ) -> Self {
        Self {
            url: args.reach.request.url.clone(),
            dialect: session.dialect().name(),
            size: args.size,
            quic_rtt_ms: session.connection().stats().rtt.as_secs_f64() * 1000.0,
            datagrams,
            streams,
        }
    }

    /// Says of what that was sent nothing came back.
    pub(super) fn missing(&self) -> Option<&'static str> {
        let missing = |series: &Option<Series>| {
            series
                .as_ref()
                .is_some_and(|series| series.figures().received == 0)
        };
        match (missing(&self.datagrams), missing(&self.streams)) {
            (false, false) => None,
            (true, false) if self.streams.is_some() => Some("no datagram"),
            (false, true) if self.datagrams.is_some() => Some("no stream"),
            _ => Some("nothing"),
        }
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
        let line = serde_json::to_string(&Json {
            url: &self.url,
            dialect: self.dialect,
            size: self.size,
            quic_rtt_ms: self.quic_rtt_ms,
            datagram: self.datagrams.as_ref().map(Series::figures),
            stream: self.streams.as_ref().map(Series::figures),
        })?;
        writeln!(io::stdout(), "{line}")
    }

    fn print_words(&self) -> io::Result<()> {
        let mut out = anstream::stdout().lock();
        let size = units::bytes(self.size as f64);
        writeln!(
            out,
            "{STRONG}{}{STRONG:#}  {size} each way, WebTransport {}, QUIC's own round trip {} ms",
            self.url,
            self.dialect,
            units::millis(self.quic_rtt_ms)
        )?;
        for (name, series) in [("datagram", &self.datagrams), ("stream", &self.streams)] {
            if let Some(series) = series {
                writeln!(out)?;
                print_series(&mut out, name, series)?;
            }
        }
        out.flush()
    }
}

fn print_series(out: &mut impl Write, name: &str, series: &Series) -> io::Result<()> {
    const INDENT: usize = 10;
    let figures = series.figures();
    let Figures {
        sent,
        received,
        lost,
        ..
    } = figures;
    let loss = units::percent(lost, sent);
    writeln!(
        out,
        "{STRONG}{name:<INDENT$}{STRONG:#}{sent} sent, {received} back, {loss} lost"
    )?;
    let (Some(min), Some(median), Some(p99), Some(max)) = (
        figures.min_ms,
        figures.median_ms,
        figures.p99_ms,
        figures.max_ms,
    ) else {
        return Ok(());
    };
    let [min, median, p99, most] = [min, median, p99, max].map(units::millis);
    writeln!(
        out,
        "{:INDENT$}min {min}  {GOOD}median {median}{GOOD:#}  p99 {p99}  max {most} ms",
        ""
    )?;
    let ink = Ink::of_stdout();
    if ink == Ink::Blocks {
        let line = plot::sparkline(series.trips());
        let gap = if lost > 0 { ", × lost" } else { "" };
        writeln!(
            out,
            "{:INDENT$}{line} {QUIET}0 to {most} ms in their order{gap}{QUIET:#}",
            ""
        )?;
    }
    for line in plot::histogram(&plot::steps(&series.sorted()), ink) {
        writeln!(out, "{:INDENT$}{line}", "")?;
    }
    Ok(())
}
