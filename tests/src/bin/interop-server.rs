//! A server for public interoperability runners.
//!
//! Without arguments it takes part in the QUIC interop runner, as the environment says; with `--listen` it
//! serves the paths that other runners and the web-platform tests ask for.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use wt::Identity;
use wt_tests::interop::runner::{self, Role};
use wt_tests::interop::site::Site;
use wt_tests::interop::{Failure, init_log};

/// Serves /echo, /webtransport/devious-baton and /webtransport/handlers/NAME.py.
///
/// Without --listen, plays the server of the QUIC interop runner's WebTransport cases, which the environment
/// describes: TESTCASE, REQUESTS, PROTOCOLS, SSLKEYLOGFILE.
#[derive(Parser)]
struct Args {
    /// Address and UDP port to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Certificate chain, PEM. Without it one is made.
    #[arg(long, value_name = "FILE", requires_all = ["key", "listen"])]
    cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE", requires_all = ["cert", "listen"])]
    key: Option<PathBuf>,
    /// Serve the paths that PyWebTransport 0.8's end-to-end tests 01 to 10 ask for instead.
    #[arg(long, requires = "listen")]
    pywebtransport: bool,
    /// Say in JSON where it listens.
    #[arg(long, requires = "listen")]
    json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    init_log();
    let args = Args::parse();
    let Some(listen) = args.listen else {
        return runner::run(Role::Server).await;
    };
    let site = match bind(listen, &args) {
        Ok(site) => site,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    match site.run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bind(listen: SocketAddr, args: &Args) -> Result<Site, Failure> {
    let identity = match (&args.cert, &args.key) {
        (Some(cert), Some(key)) => Identity::from_pem_files(cert, key)?,
        _ => Identity::self_signed(["localhost", "127.0.0.1", "::1"])?,
    };
    let mut site = Site::bind(listen, identity)?;
    if args.pywebtransport {
        site = site.for_pywebtransport();
    }
    println!("{}", site.start_line(args.json)?);
    Ok(site)
}
