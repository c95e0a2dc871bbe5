//! Figures of a server.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use serde::Serialize;
use wt_core::RefusalCause;

use super::Server;

/// Figures of a server at one moment. By serde they are a map with these names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ServerStats {
    /// How long the server has listened.
    pub uptime: Duration,
    /// Clients whose handshake succeeded.
    pub connections_accepted: u64,
    /// Clients that got no connection: beyond a limit, or the handshake failed.
    pub connections_rejected: u64,
    /// Those of them whose handshake failed.
    pub connection_errors: u64,
    /// Clients that had to come back with a token, as `limits.retry` has it: so they showed that they
    /// are where they say (QUIC Retry).
    pub addresses_validated: u64,
    /// Connections and requests that were ended because the client broke the protocol.
    pub protocol_errors: u64,
    /// Requests that were refused or not answered, for whatever reason.
    pub requests_rejected: u64,
    /// Connections that are alive.
    pub connections_active: u64,
    /// Sessions that are open or being opened.
    pub sessions_active: u64,
    /// Clients whose handshake is in progress.
    pub handshakes_active: u64,
    /// Addresses that hold something, or have used up something of a rate.
    pub addresses_known: u64,
}

impl Server {
    /// Returns figures of the server.
    ///
    /// It costs one short lock for each connection that is alive.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        let refusals = self.refusals();
        let sum = |causes: &[RefusalCause]| causes.iter().map(|cause| refusals.get(*cause)).sum();
        let connections = self.connections();
        let sessions = connections.iter().map(|one| one.session_count()).sum();
        let connection_errors = sum(&[RefusalCause::Handshake, RefusalCause::NoCommonAlpn]);
        let turned_away: u64 = sum(RefusalCause::AT_THE_DOOR);
        let endpoint = self.0.endpoint.stats();
        let protocol_errors = sum(&[
            RefusalCause::Malformed,
            RefusalCause::NoSettings,
            RefusalCause::RequirementsNotMet,
        ]);
        ServerStats {
            uptime: self.0.started.elapsed(),
            connections_accepted: self.0.connections.0.accepted.load(Relaxed),
            connections_rejected: turned_away + connection_errors,
            connection_errors,
            addresses_validated: endpoint.addresses_validated,
            protocol_errors,
            requests_rejected: refusals.total() - turned_away - connection_errors - protocol_errors,
            connections_active: connections.len() as u64,
            sessions_active: sessions,
            handshakes_active: endpoint.handshakes,
            addresses_known: endpoint.addresses,
        }
    }
}
