//! A client for public interoperability runners.
//!
//! Without arguments it takes part in the QUIC interop runner, as the environment says; with them it checks a
//! server that echoes, or one that plays devious baton.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use wt::{Client, ClientConfig, ServerVerification, Session};
use wt_tests::interop::runner::{self, Role};
use wt_tests::interop::{Failure, baton, echo, init_log};

/// Checks servers.
///
/// Without a command, plays the client of the QUIC interop runner's WebTransport cases, which the environment
/// describes: TESTCASE, REQUESTS, PROTOCOLS, SSLKEYLOGFILE.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Have a server echo streams and a datagram; exit status 0 when all comes back.
    Echo {
        #[command(flatten)]
        target: Target,
        /// Leave out the unidirectional stream.
        #[arg(long)]
        no_uni: bool,
    },
    /// Play devious baton with a server until it closes the session; exit status 0 when all batons ended.
    Baton {
        #[command(flatten)]
        target: Target,
    },
}

#[derive(clap::Args)]
struct Target {
    /// `https://HOST[:PORT]/PATH`
    url: String,
    /// Take any certificate.
    #[arg(long, conflicts_with = "ca")]
    insecure: bool,
    /// Trust the certificates in this PEM file instead of the system's.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl Target {
    fn client(&self) -> Result<Client, Failure> {
        let verification = match &self.ca {
            Some(file) => ServerVerification::roots_from_pem_file(file)?,
            None if self.insecure => ServerVerification::Insecure,
            None => ServerVerification::SystemRoots,
        };
        let mut config = ClientConfig::new().with_verification(verification);
        config.key_log = std::env::var_os("SSLKEYLOGFILE").is_some();
        Ok(Client::new(config)?)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    init_log();
    let Some(command) = Args::parse().command else {
        return runner::run(Role::Client).await;
    };
    match run(&command).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: &Command) -> Result<bool, Failure> {
    let (Command::Echo { target, .. } | Command::Baton { target }) = command;
    let client = target.client()?;
    let mut session = None;
    let connected = echo::report("connect", async {
        session = Some(client.connect(&target.url).await?);
        Ok(())
    });
    let connected = connected.await;
    let passed = match &session {
        Some(session) => act(command, session).await,
        None => false,
    };
    drop(session);
    client.close().await;
    Ok(connected && passed)
}

async fn act(command: &Command, session: &Session) -> bool {
    match command {
        Command::Echo { no_uni, .. } => {
            let passed = echo::check(session, !no_uni).await;
            session.close(0, "");
            passed
        }
        Command::Baton { .. } => echo::report("devious baton", baton::play(session)).await,
    }
}
