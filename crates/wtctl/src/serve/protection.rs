//! What clients may take of the server.

use wt::core::config::{Limits, Rate, Retry};

use super::service::CONNECTIONS;

/// Limits on clients, of one address and in all.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Protection")]
pub(crate) struct Protection {
    /// Connections at a time; further clients are refused
    #[arg(long, value_name = "N", default_value_t = CONNECTIONS, value_parser = number)]
    max_connections: usize,
    /// Connections at a time from one address, which is an IPv4 address or an IPv6 /64
    #[arg(long, value_name = "N", value_parser = number)]
    max_connections_per_address: Option<usize>,
    /// Connections that are taken in a time
    #[arg(long, value_name = "RATE", value_parser = rate)]
    connection_rate: Option<Rate>,
    /// Connections that are taken from one address in a time
    #[arg(long, value_name = "RATE", value_parser = rate)]
    connection_rate_per_address: Option<Rate>,
    /// Handshakes in progress; further clients wait
    #[arg(long, value_name = "N", default_value_t = Limits::default().handshakes, value_parser = number)]
    max_handshakes: usize,
    /// Handshakes in progress from one address, 7/8 of all unless said; further clients are ignored until they ask again
    #[arg(long, value_name = "N", value_parser = number)]
    max_handshakes_per_address: Option<usize>,
    /// Whether clients have to show their address by QUIC Retry: never, under-load or always
    #[arg(long, value_name = "WHEN", default_value_t, value_parser = retry)]
    retry: Retry,
    /// Sessions at a time; further requests are answered with 503
    #[arg(long, value_name = "N", value_parser = number)]
    max_sessions: Option<usize>,
    /// Sessions at a time on one connection; further requests are reset
    #[arg(long, value_name = "N", default_value_t = Limits::default().sessions_per_connection, value_parser = number)]
    max_sessions_per_connection: usize,
    /// Sessions at a time from one address; further requests are answered with 429
    #[arg(long, value_name = "N", value_parser = number)]
    max_sessions_per_address: Option<usize>,
    /// Requests for sessions in a time; further ones are answered with 429
    #[arg(long, value_name = "RATE", value_parser = rate)]
    session_rate: Option<Rate>,
    /// Requests for sessions from one address in a time; further ones are answered with 429
    #[arg(long, value_name = "RATE", value_parser = rate)]
    session_rate_per_address: Option<Rate>,
}

impl Protection {
    /// Puts into force what was asked for.
    pub(super) fn apply(&self, limits: &mut Limits) {
        limits.connections = Some(self.max_connections);
        limits.connections_per_address = self.max_connections_per_address;
        limits.connection_rate = self.connection_rate;
        limits.connection_rate_per_address = self.connection_rate_per_address;
        limits.handshakes = self.max_handshakes;
        limits.handshakes_per_address = self.max_handshakes_per_address;
        limits.retry = self.retry;
        limits.sessions = self.max_sessions;
        limits.sessions_per_connection = self.max_sessions_per_connection;
        limits.sessions_per_address = self.max_sessions_per_address;
        limits.session_rate = self.session_rate;
        limits.session_rate_per_address = self.session_rate_per_address;
    }
}

fn number(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "write a number from 1 on".to_owned())
}

fn rate(text: &str) -> Result<Rate, String> {
    let rate: Result<Rate, _> = text.parse();
    rate.map_err(|error| format!("it {}", error.reason))
}

fn retry(text: &str) -> Result<Retry, String> {
    let retry: Result<Retry, _> = text.parse();
    retry.map_err(|error| format!("it {}", error.reason))
}
