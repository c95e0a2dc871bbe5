//! `wtctl`: WebTransport at the command line.
//!
//! `wtctl serve` is a server for browsers and test tools, `wtctl demo` shows the whole stack in one
//! command, `wtctl connect`, `ping`, `bench` and `doctor` are clients for servers of any make, `wtctl top`
//! watches a server, and `wtctl cert` makes development certificates.

mod bench;
mod cert;
mod cli;
mod connect;
mod demo;
mod doctor;
mod failure;
mod output;
mod ping;
mod plot;
mod progress;
mod reach;
mod serve;
mod stop;
mod top;
mod units;

use std::{process::ExitCode, time::Duration};

use cli::{Cli, Command};
use failure::Failure;

/// How long background work may hold up the end of the process.
const LAST_WORK: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(status) => return status,
    };
    output::log_to_stderr(cli.verbose);
    match run(&cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::error(&failure);
            failure.status()
        }
    }
}

fn run(command: &Command) -> Result<(), Failure> {
    if let Command::Cert(args) = command {
        return cert::run(args);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::cannot_start(&error))?;
    let result = runtime.block_on(async {
        match command {
            Command::Serve(args) => serve::run(args).await,
            Command::Demo(args) => demo::run(args).await,
            Command::Connect(args) => connect::run(args).await,
            Command::Ping(args) => ping::run(args).await,
            Command::Bench(args) => bench::run(args).await,
            Command::Doctor(args) => doctor::run(args).await,
            Command::Top(args) => top::run(args).await,
            Command::Cert(args) => cert::run(args),
        }
    });
    runtime.shutdown_timeout(LAST_WORK);
    result
}
