//! What people see: colours on a terminal only, logs on standard error.

use std::io::IsTerminal;

use anstyle::{AnsiColor, Style};
use tracing_subscriber::EnvFilter;

use crate::failure::Failure;

/// What went well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// What went wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Headings.
pub(crate) const STRONG: Style = Style::new().bold();
/// What matters less.
pub(crate) const QUIET: Style = Style::new().dimmed();
/// What can be copied.
pub(crate) const VALUE: Style = AnsiColor::Cyan.on_default();

/// Says why the command failed, in one line.
pub(crate) fn error(failure: &Failure) {
    if failure.is_told() {
        return;
    }
    anstream::eprintln!("{BAD}error:{BAD:#} {failure}");
}

/// Starts logging to standard error, as `-v` or `RUST_LOG` ask for.
pub(crate) fn log_to_stderr(verbose: u8) {
    let default = match verbose {
        0 => "warn",
        1 => "warn,wtctl=info,wt_core::refusal=info",
        2 => "info,wtctl=debug,wt_core=debug,wt_server=debug,wt_client=debug",
        _ => "trace",
    };
    let asked = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let filter = EnvFilter::try_new(if asked.is_empty() { default } else { &asked });
    let filter = filter.unwrap_or_else(|error| {
        anstream::eprintln!("RUST_LOG is ignored: {error}");
        EnvFilter::new(default)
    });
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .init();
}
