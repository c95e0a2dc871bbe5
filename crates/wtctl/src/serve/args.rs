//! The arguments of `wtctl serve`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use wt::{Identity, monitor::feed::Token};

use super::{NAMES, protection::Protection};
use crate::{failure::Failure, reach::protocol};

const EXAMPLES: &str = "\
Examples:
  wtctl serve
      Listen on UDP port 4433, IPv6 and IPv4, with a certificate in memory.
  wtctl serve --listen 127.0.0.1:0 --json
      Take a free port and say which in one line of JSON.
  wtctl serve --cert cert.pem --key key.pem
      Show a certificate of your own; 'wtctl cert' makes one.
  wtctl serve --cert a.pem --key a.key --cert b.pem --key b.key
      Show who asks for a name of the second certificate the second, and all others the first.
  wtctl serve --metrics 127.0.0.1:9090
      Let Prometheus, or curl, fetch metrics from http://127.0.0.1:9090/metrics.
  wtctl serve --cert cert.pem --key key.pem --takeover /run/wtctl/control
      Take the port of the process that runs with the same path, which then finishes.
  wtctl serve --protocols chat-2,chat-1
      Answer a client with the first subprotocol of its offer that is one of these.
  wtctl serve --max-connections-per-address 20 --connection-rate-per-address 50/10s
      Let no client take more than its share.
  wtctl serve --dashboard 127.0.0.1:8080 --dashboard-token 5f1c
      Show what it does at http://localhost:8080/?token=5f1c, and to 'wtctl top'.

Paths:
  /, /echo, /echo/...          streams and datagrams go back as they come
  /discard                     read everything and drop it
  /source?bytes=N              N bytes on each bidirectional stream that the client opens
  /push?uni=5&bidi=5&size=1000 open that many streams of that many bytes, then echo
  /close?code=C&reason=R       close the session at once
  /reset?code=C                reset and stop each stream at its first bytes
  /drain                       ask the client to finish, then echo
  /headers                     the request's fields as JSON on a stream, then echo
  /status/NNN                  refuse the session with that status
  /slow?ms=N                   answer after N milliseconds, then echo
  /monitor?token=TOKEN         what the server does, as lines of JSON; with --dashboard only

Any other path is refused with 404, a bad parameter with 400; a number that is left out is 0.
The files of --cert and --key are read again when they change, and at SIGHUP; sessions notice nothing.
SIGINT or SIGTERM asks the sessions to finish, closes them with code 0 and exits with status 0.
So does another process that takes the port over: both run with the same --takeover.";

/// Run the test server for browsers and tools.
///
/// Listens for WebTransport (HTTP/3 over QUIC, UDP) and does what the path of a session says.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    // As a doc comment, `[::]` would be a link.
    #[arg(
        long,
        value_name = "ADDR",
        help = "Address and UDP port; [::] takes IPv4 too, port 0 picks a free one",
        default_value = "[::]:4433",
        value_parser = address
    )]
    pub(super) listen: SocketAddr,
    /// Certificate chain in PEM, the server's own first; without it one is made in memory. Can be
    /// repeated: the others are for clients that ask for one of their names
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Vec<PathBuf>,
    /// Private key of the certificate in PEM, one for each --cert, in the same order
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Vec<PathBuf>,
    /// Name or address that the certificate in memory is for besides localhost, 127.0.0.1 and ::1;
    /// can be repeated
    #[arg(long = "hostname", value_name = "NAME", conflicts_with = "cert")]
    hostnames: Vec<String>,
    /// Subprotocols that the server speaks
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = protocol)]
    pub(super) protocols: Vec<String>,
    /// Say in one line of JSON where it listens
    #[arg(long)]
    pub(super) json: bool,
    /// Serve a page that shows what the server does, over TCP, with its feed at /monitor; without ADDR on a free
    /// port of 127.0.0.1
    #[arg(
        long,
        value_name = "ADDR",
        num_args = 0..=1,
        default_missing_value = "127.0.0.1:0",
        value_parser = address
    )]
    pub(super) dashboard: Option<SocketAddr>,
    /// Show page and feed only to those who have this in the query of their URL, as ?token=TOKEN
    #[arg(long, value_name = "TOKEN", requires = "dashboard")]
    pub(super) dashboard_token: Option<Token>,
    /// Serve metrics for Prometheus by HTTP on this address and TCP port, at /metrics; port 0 picks a
    /// free one, --json and the log say which
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(super) metrics: Option<SocketAddr>,
    /// Seconds in which sessions may finish after SIGINT, SIGTERM or a takeover
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(..=3600))]
    grace: u32,
    /// Control socket by which this process takes the port of a running one over, and the next one
    /// takes it from this one; give both the same certificate
    #[arg(long, value_name = "PATH")]
    pub(super) takeover: Option<PathBuf>,
    #[command(flatten)]
    pub(super) protection: Protection,
}

impl Args {
    /// Loads the certificates, or makes one; the default one is first.
    pub(super) fn identities(&self) -> Result<Vec<Identity>, Failure> {
        let (certs, keys) = (self.cert.len(), self.key.len());
        if certs != keys {
            return Err(Failure::bad_argument(format!(
                "as many --key as --cert are needed, in the same order: there are {keys} and {certs}"
            )));
        }
        let pairs = self.cert.iter().zip(&self.key);
        let mut identities: Result<Vec<_>, _> = pairs
            .map(|(cert, key)| Identity::from_pem_files(cert, key))
            .collect();
        if certs == 0 {
            let names = NAMES.into_iter().map(str::to_owned);
            let made = Identity::self_signed(names.chain(self.hostnames.iter().cloned()));
            identities = made.map(|identity| vec![identity]);
        }
        identities.map_err(|error| Failure::cannot_start(&error))
    }

    pub(super) fn grace(&self) -> Duration {
        Duration::from_secs(self.grace.into())
    }
}

/// Reads the address of a socket.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "write an address and a port, such as 127.0.0.1:4433, [::1]:4433 or [::]:0".to_owned()
    })
}
