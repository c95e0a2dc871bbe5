//! What is the matter with a server, if anything.

use std::{collections::BTreeMap, fmt, net::SocketAddr, time::SystemTime};

use wt_core::{
    observe::{Observe, Snapshot, State},
    tls::{CertificateHash, CertificateIssue, CertificateStatus},
};

use super::{Server, ServerStats};

/// What a server is doing, at one moment. `Display` sums it up in a few lines.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerDiagnostics {
    /// Its figures.
    pub stats: ServerStats,
    /// Whether it takes clients.
    pub is_serving: bool,
    /// The address that it listens on.
    pub local_address: Option<SocketAddr>,
    /// How many connections it may have (`limits.connections`).
    pub max_connections: Option<usize>,
    /// How many connections are in each state.
    pub connection_states: BTreeMap<&'static str, usize>,
    /// How many sessions are in each state.
    pub session_states: BTreeMap<&'static str, usize>,
    /// The SHA-256 of its default certificate.
    pub certificate: CertificateHash,
    /// When its default certificate expires.
    pub certificate_expires: SystemTime,
    /// All of its certificates, the default one first.
    #[doc(alias = "certfile_path")]
    #[doc(alias = "keyfile_path")]
    pub certificates: Vec<CertificateStatus>,
    /// When this was taken.
    pub at: SystemTime,
}

/// Something that an operator should look at.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Issue {
    /// No clients are taken.
    NotServing,
    /// More than one in ten clients was turned away, of more than twenty.
    HighRejectionRate {
        /// Clients that were turned away.
        rejected: u64,
        /// All of them.
        total: u64,
    },
    /// More than nine in ten of the connections that are allowed are in use.
    HighConnectionUsage {
        /// Connections in use.
        active: u64,
        /// Connections allowed.
        max: usize,
    },
    /// Something about a certificate: it has expired or is about to, or its new files cannot be used.
    Certificate(CertificateIssue),
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotServing => f.write_str("Server is not currently serving."),
            Self::HighRejectionRate { rejected, total } => {
                write!(f, "High connection rejection rate: {rejected}/{total}")
            }
            Self::HighConnectionUsage { active, max } => {
                let percent = *active as f64 / *max as f64 * 100.0;
                write!(f, "High connection usage: {percent:.1}%")
            }
            Self::Certificate(issue) => issue.fmt(f),
        }
    }
}

impl Server {
    /// Returns what the server is doing and, by [`ServerDiagnostics::issues`], what is wrong.
    #[must_use]
    pub fn diagnostics(&self) -> ServerDiagnostics {
        let connections = self.connections();
        let mut connection_states = BTreeMap::new();
        let mut session_states = BTreeMap::new();
        for connection in &connections {
            *connection_states
                .entry(connection.state().name())
                .or_default() += 1;
            for session in connection.sessions() {
                *session_states.entry(session.state.name()).or_default() += 1;
            }
        }
        let identity = self.certificates().identity();
        ServerDiagnostics {
            stats: self.stats(),
            is_serving: self.is_serving(),
            local_address: self.local_addr().ok(),
            max_connections: self.0.config.limits.connections,
            connection_states,
            session_states,
            certificate: identity.certificate_hash(),
            certificate_expires: identity.not_after(),
            certificates: self.certificates().status(),
            at: SystemTime::now(),
        }
    }
}

impl Observe for Server {
    fn observe(&self) -> Snapshot {
        let seen = self.diagnostics();
        let stats = &seen.stats;
        let unbound = || "unbound".to_owned();
        let id = seen
            .local_address
            .map_or_else(unbound, |address| address.to_string());
        let state = match (seen.is_serving, stats.connections_active) {
            (true, 0) => State::Idle,
            (true, _) => State::Active,
            (false, 0) => State::Closed,
            (false, _) => State::Draining,
        };
        let snapshot = Snapshot::new("server", id, state)
            .with_uptime(stats.uptime)
            .with_gauge("connections", stats.connections_active as f64)
            .with_gauge("sessions", stats.sessions_active as f64)
            .with_gauge("handshakes", stats.handshakes_active as f64)
            .with_gauge("addresses", stats.addresses_known as f64)
            .with_counter("connections_accepted", stats.connections_accepted)
            .with_counter("connections_rejected", stats.connections_rejected)
            .with_counter("addresses_validated", stats.addresses_validated)
            .with_counter("connection_errors", stats.connection_errors)
            .with_counter("protocol_errors", stats.protocol_errors)
            .with_counter("requests_rejected", stats.requests_rejected)
            .with_issues(seen.issues());
        self.certificates()
            .add_figures(self.observe_traffic(snapshot))
    }
}

impl ServerDiagnostics {
    /// Returns what an operator should look at.
    #[must_use]
    pub fn issues(&self) -> Vec<Issue> {
        let mut issues = Vec::new();
        if !self.is_serving {
            issues.push(Issue::NotServing);
        }
        let rejected = self.stats.connections_rejected;
        let total = self.stats.connections_accepted + rejected;
        if total > 20 && rejected * 10 > total {
            issues.push(Issue::HighRejectionRate { rejected, total });
        }
        let active = self.stats.connections_active;
        if let Some(max) = self.max_connections
            && active as f64 > max as f64 * 0.9
        {
            issues.push(Issue::HighConnectionUsage { active, max });
        }
        let certificates = self.certificates.iter();
        let of_certificates = certificates.flat_map(|one| one.issues(self.at));
        issues.extend(of_certificates.map(Issue::Certificate));
        issues
    }

    /// Returns the certificate that expires first.
    #[must_use]
    pub fn first_to_expire(&self) -> Option<&CertificateStatus> {
        self.certificates.iter().min_by_key(|one| one.not_after)
    }
}

impl fmt::Display for ServerDiagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = &self.stats;
        match self.local_address {
            Some(address) if self.is_serving => write!(f, "serving on {address}")?,
            _ => f.write_str("not serving")?,
        }
        writeln!(f, " for {} s", stats.uptime.as_secs())?;
        if let Some(first) = self.first_to_expire() {
            let (count, days) = (self.certificates.len(), first.days_left(self.at));
            let name = first.name();
            writeln!(
                f,
                "certificates: {count}, {days} days left of that for {name}"
            )?;
        }
        writeln!(
            f,
            "connections: {} active, {} accepted, {} rejected",
            stats.connections_active, stats.connections_accepted, stats.connections_rejected
        )?;
        write!(f, "sessions: {} active", stats.sessions_active)?;
        for issue in self.issues() {
            write!(f, "\n! {issue}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wt_core::{config::ServerConfig, tls::Identity};

    use super::*;

    async fn healthy() -> ServerDiagnostics {
        let identity = Identity::self_signed(["localhost"]).unwrap();
        let config = ServerConfig::new(identity).with_bind(([127, 0, 0, 1], 0).into());
        Server::bind(&config).unwrap().diagnostics()
    }

    #[tokio::test]
    async fn issues_have_thresholds() {
        let mut seen = healthy().await;
        assert_eq!(seen.issues(), []);
        seen.max_connections = Some(10);
        (
            seen.stats.connections_active,
            seen.stats.connections_accepted,
        ) = (9, 18);
        seen.stats.connections_rejected = 2;
        assert_eq!(seen.issues(), []);
        (
            seen.stats.connections_active,
            seen.stats.connections_rejected,
        ) = (10, 3);
        seen.is_serving = false;
        seen.at = seen.certificate_expires - Duration::from_secs(3600);
        let expires = seen.issues();
        seen.at = seen.certificate_expires + Duration::from_secs(1);
        let issues: Vec<String> = seen.issues().iter().map(Issue::to_string).collect();
        assert_eq!(
            issues,
            [
                "Server is not currently serving.",
                "High connection rejection rate: 3/21",
                "High connection usage: 100.0%",
                "The certificate for localhost has expired.",
            ]
        );
        let words = expires.last().unwrap().to_string();
        assert_eq!(
            words,
            "The certificate for localhost expires in 60 minutes."
        );
        assert!(
            seen.to_string()
                .ends_with("\n! The certificate for localhost has expired.")
        );
    }
}
