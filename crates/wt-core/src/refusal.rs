//! Why clients and requests were turned away, in words and in numbers.

use std::{
    fmt,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use wt_proto::{ProtocolViolation, connection::Refusal};

use crate::error::ConnectionError;

macro_rules! causes {
    ($($(#[$doc:meta])+ $name:ident, $text:literal = $words:literal,)+) => {
        /// Why a server turned away a client or a request. `Display` says it in words.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum RefusalCause {
            $($(#[$doc])+ $name,)+
        }

        impl RefusalCause {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Returns the name in snake case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            const fn words(self) -> &'static str {
                match self {
                    $(Self::$name => $words,)+
                }
            }
        }
    };
}

causes! {
    /// `limits.connections` were open.
    TooManyConnections, "too_many_connections" = "as many connections as allowed are open",
    /// `limits.connections_per_address` were open from the address.
    ConnectionsPerAddress, "connections_per_address" = "as many connections as allowed are open from the address",
    /// `limits.handshakes_per_address` were in progress from the address; the client was not told, and asks again.
    HandshakesPerAddress, "handshakes_per_address" = "as many handshakes as allowed are in progress from the address",
    /// Connections come faster than `limits.connection_rate`.
    ConnectionRate, "connection_rate" = "connections come faster than allowed",
    /// Connections come from the address faster than `limits.connection_rate_per_address`.
    ConnectionRatePerAddress, "connection_rate_per_address" = "connections come from the address faster than allowed",
    /// The client offered none of the server's application protocols (`h3`).
    NoCommonAlpn, "no_common_alpn" = "no common application protocol (ALPN)",
    /// QUIC or TLS came to no agreement: the client refused the certificate, went away, or showed
    /// no certificate of its own where one is required.
    Handshake, "handshake" = "the handshake failed",
    /// The client's SETTINGS did not arrive in time, or something else came first.
    NoSettings, "no_settings" = "the client sent no SETTINGS",
    /// The client's SETTINGS lack what its version of WebTransport requires.
    RequirementsNotMet, "requirements_not_met" = "the client's SETTINGS lack what its version of WebTransport requires",
    /// The client broke the protocol; the request or the connection was ended for it.
    Malformed, "malformed" = "the client broke the protocol",
    /// The request's header fields were larger than `limits.field_section_size`.
    TooLarge, "too_large" = "the request's header fields are larger than allowed",
    /// The request was not for a WebTransport session.
    NotWebTransport, "not_webtransport" = "not a request for a WebTransport session",
    /// `limits.sessions_per_connection` were open on the connection.
    TooManySessions, "too_many_sessions" = "the connection carries as many sessions as it may",
    /// `limits.sessions` were open on the server.
    Sessions, "sessions" = "the server carries as many sessions as it may",
    /// `limits.sessions_per_address` were open from the address.
    SessionsPerAddress, "sessions_per_address" = "as many sessions as allowed are open from the address",
    /// Requests come faster than `limits.session_rate`.
    SessionRate, "session_rate" = "requests for sessions come faster than allowed",
    /// Requests come from the address faster than `limits.session_rate_per_address`.
    SessionRatePerAddress, "session_rate_per_address" = "requests for sessions come from the address faster than allowed",
    /// `limits.pending_requests` waited to be answered on the connection.
    TooManyRequests, "too_many_requests" = "too many requests wait to be answered",
    /// GOAWAY was sent before the request came.
    GoingAway, "going_away" = "the connection takes no new sessions (GOAWAY sent)",
    /// The application refused the session with a status of its choice: an unknown path, a wrong
    /// origin.
    Application, "application" = "the application refused the session",
    /// The application's answer could not be sent, for its status or a header field; the client got
    /// 500.
    BadAnswer, "bad_answer" = "the application's answer cannot be sent",
    /// The application dropped the request; the client got 503.
    Unanswered, "unanswered" = "the application did not answer",
}

impl RefusalCause {
    /// The causes for which a server gives a client no connection without looking at more than its first packet.
    pub const AT_THE_DOOR: &[Self] = &[
        Self::TooManyConnections,
        Self::ConnectionsPerAddress,
        Self::HandshakesPerAddress,
        Self::ConnectionRate,
        Self::ConnectionRatePerAddress,
    ];
}

impl fmt::Display for RefusalCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.words())
    }
}

impl From<&ConnectionError> for RefusalCause {
    fn from(error: &ConnectionError) -> Self {
        const NO_ALPN: u8 = ConnectionError::NO_APPLICATION_PROTOCOL;
        match error {
            ConnectionError::Tls { alert: NO_ALPN, .. } => Self::NoCommonAlpn,
            ConnectionError::Violation(violation) => (*violation).into(),
            _ => Self::Handshake,
        }
    }
}

impl From<ProtocolViolation> for RefusalCause {
    fn from(violation: ProtocolViolation) -> Self {
        match violation {
            ProtocolViolation::MissingSettings => Self::NoSettings,
            _ => Self::Malformed,
        }
    }
}

impl From<Refusal> for RefusalCause {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotWebTransport(_) => Self::NotWebTransport,
            Refusal::TooManySessions => Self::TooManySessions,
            Refusal::GoingAway => Self::GoingAway,
            Refusal::RequirementsNotMet => Self::RequirementsNotMet,
            Refusal::TooLarge => Self::TooLarge,
            Refusal::Violation(violation) => violation.into(),
            _ => Self::Malformed,
        }
    }
}

/// How often each cause occurred at an endpoint, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals([u64; RefusalCause::ALL.len()]);

impl Refusals {
    /// Returns how often something was refused for `cause`.
    #[must_use]
    pub const fn get(&self, cause: RefusalCause) -> u64 {
        self.0[cause as usize]
    }

    /// Returns how often something was refused.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Returns the causes that occurred, with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (RefusalCause, u64)> {
        let all = RefusalCause::ALL.iter();
        all.map(|cause| (*cause, self.get(*cause)))
            .filter(|(_, count)| *count > 0)
    }
}

/// The counters behind [`Refusals`]; one set for each endpoint.
#[derive(Debug, Default)]
pub(crate) struct Counters([AtomicU64; RefusalCause::ALL.len()]);

impl Counters {
    /// Counts a refusal and logs it; `detail` says what the cause leaves open.
    pub(crate) fn note(&self, cause: RefusalCause, peer: SocketAddr, detail: &dyn fmt::Display) {
        let count = self.0[cause as usize].fetch_add(1, Relaxed) + 1;
        // An IPv4 address, where the socket takes both.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        if is_worth_a_line(cause, count) {
            tracing::info!(%peer, %cause, %detail, "refused");
        } else {
            tracing::debug!(%peer, %cause, %detail, "refused");
        }
    }

    pub(crate) fn snapshot(&self) -> Refusals {
        Refusals(std::array::from_fn(|index| self.0[index].load(Relaxed)))
    }
}

/// Whether a refusal is logged at level INFO, which is the `count`th for its cause.
fn is_worth_a_line(cause: RefusalCause, count: u64) -> bool {
    if RefusalCause::AT_THE_DOOR.contains(&cause) {
        // A packet is enough to cause it: a flood of them must not become one of lines.
        count.is_power_of_two()
    } else {
        // The application knows why it refuses, and says so where it wants.
        cause != RefusalCause::Application
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_that_a_packet_is_enough_for_do_not_flood_the_log() {
        let lines = |cause| (1..=1000).filter(|n| is_worth_a_line(cause, *n)).count();
        assert_eq!(lines(RefusalCause::ConnectionRate), 10);
        assert_eq!(lines(RefusalCause::Handshake), 1000);
        assert_eq!(lines(RefusalCause::Application), 0);
    }

    #[test]
    fn each_cause_is_counted_by_itself() {
        let counters = Counters::default();
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        for (index, cause) in RefusalCause::ALL.iter().enumerate() {
            for _ in 0..=index {
                counters.note(*cause, peer, &"for a test");
            }
        }
        let seen = counters.snapshot();
        for (index, cause) in RefusalCause::ALL.iter().enumerate() {
            assert_eq!(seen.get(*cause), index as u64 + 1, "{cause}");
        }
        assert_eq!(
            seen.iter().map(|(_, count)| count).sum::<u64>(),
            seen.total()
        );
    }
}
