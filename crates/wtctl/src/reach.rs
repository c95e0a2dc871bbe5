//! How a client reaches its server: what `connect`, `ping`, `bench` and `doctor` have in common.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use http::{HeaderName, HeaderValue};
use wt::{
    CertificateHash, Client, ClientConfig, ServerVerification, Session,
    client::{Connect, ConnectError, Target},
    core::ConnectionError,
    proto::subprotocol,
};

use crate::{
    failure::{Failure, chain},
    stop::Stop,
    units,
};

/// Where to, and what to ask for.
#[derive(Debug, clap::Args)]
pub(crate) struct Request {
    /// Server and path.
    #[arg(
        value_name = "URL",
        value_parser = url,
        help = "Server and path: https://host[:port]/path[?query]"
    )]
    pub(crate) url: String,
    /// Header field of the request; can be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// Subprotocol to offer, the preferred one first; can be repeated
    #[arg(long = "protocol", value_name = "NAME", value_parser = protocol)]
    pub(crate) protocols: Vec<String>,
    /// How long the connection may take
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::some_time)]
    pub(crate) timeout: Duration,
}

/// Whom to trust.
#[derive(Debug, clap::Args)]
pub(crate) struct Trust {
    /// Trust the certificate with this SHA-256, as pages do by serverCertificateHashes; can be
    /// repeated
    #[arg(long, value_name = "HASH")]
    cert_hash: Vec<CertificateHash>,
    /// Trust the certificates in this PEM file instead of those of the system
    #[arg(long, value_name = "FILE", conflicts_with = "cert_hash")]
    ca: Option<PathBuf>,
    /// Trust anybody: for tests only
    #[arg(long, conflicts_with_all = ["cert_hash", "ca"])]
    insecure: bool,
}

/// Where to, whom to trust and what to ask for.
#[derive(Debug, clap::Args)]
pub(crate) struct Reach {
    #[command(flatten)]
    pub(crate) request: Request,
    #[command(flatten)]
    trust: Trust,
}

impl Trust {
    fn verification(&self) -> Result<ServerVerification, Failure> {
        if self.insecure {
            return Ok(ServerVerification::Insecure);
        }
        if !self.cert_hash.is_empty() {
            return Ok(ServerVerification::Hashes(self.cert_hash.clone()));
        }
        self.authorities()
    }

    fn authorities(&self) -> Result<ServerVerification, Failure> {
        match &self.ca {
            Some(file) => ServerVerification::roots_from_pem_file(file)
                .map_err(|error| Failure::cannot_start(&error)),
            None => Ok(ServerVerification::SystemRoots),
        }
    }
}

impl Reach {
    /// Returns the hashes of certificates to trust.
    pub(crate) fn hashes(&self) -> &[CertificateHash] {
        &self.trust.cert_hash
    }

    /// Returns whether anybody is trusted.
    pub(crate) const fn is_insecure(&self) -> bool {
        self.trust.insecure
    }

    /// Returns the authorities to trust, whatever else is trusted.
    pub(crate) fn authorities(&self) -> Result<ServerVerification, Failure> {
        self.trust.authorities()
    }

    /// Makes a client that trusts whom the arguments say.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let config = ClientConfig::new()
            .with_verification(self.trust.verification()?)
            .with_connect_timeout(self.request.timeout);
        Client::new(config).map_err(|error| Failure::cannot_start(&error))
    }

    /// Asks for a session as the arguments say.
    pub(crate) fn connect(&self, client: &Client) -> Connect {
        let connect = client.connect(&self.request.url);
        let connect = connect.protocols(self.request.protocols.iter().cloned());
        let headers = self.request.headers.iter();
        headers.fold(connect, |connect, (name, value)| {
            connect.header(name.as_str(), String::from_utf8_lossy(value.as_bytes()))
        })
    }

    /// Waits for a session, unless the process is asked to stop before.
    pub(crate) async fn session(
        &self,
        client: &Client,
        stop: &mut Stop,
    ) -> Result<Session, Failure> {
        tokio::select! {
            result = self.connect(client) => result.map_err(|error| no_session(&error)),
            () = stop.asked() => Err(Failure::during_work("interrupted before there was a session")),
        }
    }
}

/// Says in one line why there is no session, and what to do.
pub(crate) fn no_session(error: &ConnectError) -> Failure {
    let text = chain(error).replace(
        "invalid peer certificate: UnknownIssuer",
        "no authority that is trusted here issued the server's certificate",
    );
    Failure::during_work(match advice(error) {
        Some(advice) => format!("{text}; {advice}"),
        None => text,
    })
}

/// Says what to do, where that is known.
fn advice(error: &ConnectError) -> Option<&'static str> {
    use wt::core::ConnectError as E;
    Some(match error {
        ConnectError::Session(E::Connection(ConnectionError::Tls {
            by: wt::Initiator::Local,
            reason,
            ..
        })) if !reason.contains("hash") => {
            "--ca FILE trusts an authority of your own, --cert-hash HASH this one certificate \
             ('wtctl doctor' shows its hash)"
        }
        ConnectError::Session(E::Connection(ConnectionError::Tls {
            alert: ConnectionError::NO_APPLICATION_PROTOCOL,
            ..
        })) => "the server speaks QUIC, but not HTTP/3",
        ConnectError::Session(E::Refused { .. }) => "see whether the server knows this path",
        ConnectError::Session(E::Unavailable(_)) => "'wtctl doctor' says what the server offers",
        ConnectError::Session(E::Connection(ConnectionError::TimedOut))
        | ConnectError::TimedOut(_) => {
            "'wtctl doctor' looks closer; WebTransport needs UDP, which firewalls may drop"
        }
        _ => return None,
    })
}

/// Writes an IPv4 address as such.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    (address.ip().to_canonical(), address.port()).into()
}

/// Checks a URL.
fn url(text: &str) -> Result<String, String> {
    match Target::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.reason),
    }
}

/// Reads a header field.
fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let field = text.split_once(':').and_then(|(name, value)| {
        let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(value.trim()).ok()?))
    });
    field.ok_or_else(|| {
        "write a name, a colon and a value, such as 'Origin: https://a.b'".to_owned()
    })
}

/// Reads the name of a subprotocol.
pub(crate) fn protocol(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name.is_empty() {
        return Err("a name is empty; separate names by single commas".to_owned());
    }
    match subprotocol::encode_choice(name) {
        Ok(_) => Ok(name.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_fields_have_a_name_and_a_value() {
        let (name, value) = header("X-Room:  a: b ").unwrap();
        assert_eq!((name.as_str(), value.as_bytes()), ("x-room", &b"a: b"[..]));
        assert_eq!(header("x:").unwrap().1, "");
        for text in ["", "x", ": y", "a b: c", "x: a\nb"] {
            assert!(header(text).is_err(), "{text:?}");
        }
    }
}
