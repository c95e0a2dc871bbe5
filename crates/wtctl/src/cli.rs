//! The command line: what can be asked for, and errors of one line.

use std::process::ExitCode;

use clap::{ArgAction, Parser, Subcommand, error::ErrorKind};

use crate::{bench, cert, connect, demo, doctor, failure::Failure, output, ping, serve, top};

const EXAMPLES: &str = "\
Examples:
  wtctl demo                          show everything, then a page to try in your browser
  wtctl serve                         a test server on UDP port 4433
  wtctl serve --listen 127.0.0.1:0 --json
  wtctl cert --hostname dev.example   a certificate that browsers take by its hash
  wtctl doctor https://example.com/   what a server offers, and which browsers would connect

'wtctl help COMMAND' says more about one of them.";

/// WebTransport at the command line: a demo, a test server, clients, development certificates.
#[derive(Debug, Parser)]
#[command(name = "wtctl", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    /// Log more to standard error: -v sessions and refusals, -vv connections, -vvv everything. RUST_LOG takes
    /// precedence
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Command,
}

// What each is for stands at its arguments.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    // Far larger than the others.
    Serve(Box<serve::Args>),
    Demo(demo::Args),
    Connect(connect::Args),
    Ping(ping::Args),
    Bench(bench::Args),
    Doctor(doctor::Args),
    Top(top::Args),
    Cert(cert::Args),
}

impl Cli {
    /// Reads the arguments of the process; an error has been shown, its status is returned.
    pub(crate) fn read() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                // A reader that left early has seen what it wanted.
                let _ = error.print();
                ExitCode::SUCCESS
            }
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                let _ = error.print();
                2.into()
            }
            _ => {
                let failure = Failure::bad_argument(one_line(&error));
                output::error(&failure);
                failure.status()
            }
        })
    }
}

/// Says in one line what clap says in several.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let paragraphs = text
        .split("\n\n")
        .map(|paragraph| {
            paragraph
                .lines()
                .map(str::trim)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .filter(|paragraph| !paragraph.is_empty())
        .take_while(|paragraph| !paragraph.starts_with("Usage:"))
        .map(
            |paragraph| match paragraph.strip_prefix("For more information, ") {
                Some(advice) => advice.trim_end_matches('.').to_owned(),
                None => paragraph,
            },
        );
    paragraphs.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    fn refused(args: &str) -> String {
        one_line(&Cli::try_parse_from(args.split(' ')).unwrap_err())
    }

    #[test]
    fn errors_have_one_line_and_say_what_to_do() {
        for args in [
            "wtctl sreve",
            "wtctl serve --lisen x",
            "wtctl serve --listen nowhere",
            "wtctl serve --cert a.pem",
            "wtctl serve --grace soon",
            "wtctl serve --protocols a,,b",
            "wtctl cert --days 14",
            "wtctl demo extra",
        ] {
            let line = refused(args);
            assert!(!line.contains('\n'), "{line}");
            assert!(!line.contains("Usage"), "{line}");
        }
        assert!(refused("wtctl serve --lisen x").contains("'--listen'"));
        assert!(refused("wtctl serve --cert a.pem").contains("--key <FILE>"));
        assert!(refused("wtctl serve --listen nowhere").contains("127.0.0.1:4433"));
        assert!(refused("wtctl cert --days 14").contains("1..=13"));
    }
}
