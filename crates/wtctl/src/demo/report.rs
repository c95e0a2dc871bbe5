//! What the demo prints: a line for each step, with its time.

use std::{
    error::Error,
    io::Write,
    time::{Duration, Instant},
};

use anstream::AutoStream;

use crate::{
    failure,
    output::{BAD, GOOD, QUIET, STRONG},
};

/// The time that a step may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Why a step failed.
pub(super) type Problem = Box<dyn Error + Send + Sync>;

/// What a step gives: something for later steps, and what it has to say.
pub(super) type Outcome<T> = Result<(T, String), Problem>;

/// A step failed and has been reported.
#[derive(Debug)]
pub(super) struct Failed;

/// Prints the steps.
#[derive(Debug)]
pub(super) struct Report {
    good: &'static str,
    bad: &'static str,
}

impl Report {
    /// Prints the heading.
    pub(super) fn begin() -> Self {
        lines(&[&format!("{STRONG}WebTransport demo{STRONG:#}"), ""]);
        let stdout = std::io::stdout();
        let signs = AutoStream::choice(&stdout) != anstream::ColorChoice::Never;
        Self {
            good: if signs { "✓" } else { "ok" },
            bad: if signs { "✗" } else { "failed" },
        }
    }

    /// Prints a step that went well.
    pub(super) fn done(&self, name: &str, detail: &str, started: Instant) {
        self.line(GOOD, self.good, name, detail, started);
    }

    /// Carries out a step and prints how it went.
    pub(super) async fn step<T>(
        &self,
        name: &str,
        work: impl Future<Output = Outcome<T>>,
    ) -> Result<T, Failed> {
        let started = Instant::now();
        let problem = match tokio::time::timeout(LIMIT, work).await {
            Ok(Ok((value, detail))) => {
                self.done(name, &detail, started);
                return Ok(value);
            }
            Ok(Err(error)) => failure::chain(&*error),
            Err(_) => format!("no end after {} s", LIMIT.as_secs()),
        };
        self.line(BAD, self.bad, name, &problem, started);
        Err(Failed)
    }

    fn line(&self, style: anstyle::Style, sign: &str, name: &str, detail: &str, started: Instant) {
        let ms = started.elapsed().as_secs_f64() * 1000.0;
        lines(&[&format!(
            "{style}{sign}{style:#} {QUIET}{ms:>8.1} ms{QUIET:#}  {name:<22} {detail}"
        )]);
    }
}

/// Prints lines and has them seen at once.
pub(super) fn lines(lines: &[&str]) {
    let mut out = anstream::stdout().lock();
    for line in lines {
        // A reader that left early misses the rest.
        let _ = writeln!(out, "{line}");
    }
    let _ = out.flush();
}
