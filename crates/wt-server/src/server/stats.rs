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
    /// Clients that got no connection: over the limit, or the handshake failed.
    pub connections_rejected: u64,
    /// Those of them whose handshake failed.
    pub connection_errors: u64,
    /// Clients that had to come back with a token, since more than half of `limits.handshakes` were
    /// in progress: so they showed that they are where they say (QUIC Retry).
    pub addresses_validated: u64,
    /// Connections and requests that were ended because the client broke the protocol.
    pub protocol_errors: u64,
    /// Requests that were refused or not answered, for whatever reason.
    pub requests_rejected: u64,
    /// Connections that are alive.
    pub connections_active: u64,
    /// Sessions that are open or being opened.
    pub sessions_active: u64,
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
        let too_many = refusals.get(RefusalCause::TooManyConnections);
        let protocol_errors = sum(&[
            RefusalCause::Malformed,
            RefusalCause::NoSettings,
            RefusalCause::RequirementsNotMet,
        ]);
        ServerStats {
            uptime: self.0.started.elapsed(),
            connections_accepted: self.0.connections.0.accepted.load(Relaxed),
            connections_rejected: too_many + connection_errors,
            connection_errors,
            addresses_validated: self.0.connections.0.retries.load(Relaxed),
            protocol_errors,
            requests_rejected: refusals.total() - too_many - connection_errors - protocol_errors,
            connections_active: connections.len() as u64,
            sessions_active: sessions,
        }
    }
}
