//! Looks at a server: who answers, what it offers, how each dialect's handshake ends.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue};
use tokio::{
    task::JoinSet,
    time::{sleep_until, timeout},
};
use wt::{
    Dialect, DialectSet, ServerVerification,
    client::{ClientConfig, Target},
    core::{ConnectError, Connection, ConnectionError, Endpoint, tls::CertificateDer},
    proto::{dialect, settings::Settings},
};

use super::{Args, problem::Problem};
use crate::{
    failure::{Failure, chain},
    reach::{self, canonical},
};

/// No more addresses of a host are tried.
const MOST_ADDRESSES: usize = 8;
/// How much longer than the first address that answers the others may take, at least.
const OTHERS: Duration = Duration::from_secs(1);
/// What there is to say of an address that is silent.
const NO_ANSWER: &str = "no answer";
/// How long the end of a session may take: nothing depends on it.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What one address of the server did.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) address: SocketAddr,
    /// How long the handshake took, or why there was none.
    pub(super) result: Result<Duration, String>,
}

/// What the server says of itself.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) settings: Settings,
    pub(super) dialects: DialectSet,
    /// The largest QUIC datagram that it takes.
    pub(super) quic_datagrams: Option<usize>,
}

/// How a dialect's handshake ended.
#[derive(Debug)]
pub(super) enum Handshake {
    /// The server does not offer the dialect.
    NotOffered,
    /// There was a session.
    Session(Opened),
    /// There was none.
    Failed {
        status: Option<u16>,
        problem: Problem,
    },
}

/// A session that there was.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) status: u16,
    pub(super) took: Duration,
    pub(super) protocol: Option<String>,
    pub(super) max_datagram: Option<usize>,
}

/// What a client needs to look at a server.
#[derive(Debug)]
pub(super) struct Look<'a> {
    args: &'a Args,
    target: Target,
    headers: HeaderMap,
    authorities: ServerVerification,
}

impl<'a> Look<'a> {
    pub(super) fn new(args: &'a Args) -> Result<Self, Failure> {
        let request = &args.reach.request;
        let target = Target::parse(&request.url).map_err(|error| Failure::cannot_start(&error))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            headers.append(name, value.clone());
        }
        // Pages always send one.
        if !headers.contains_key(http::header::ORIGIN) {
            let origin = HeaderValue::from_str(&format!("https://{}", target.authority));
            let origin = origin.map_err(|error| Failure::cannot_start(&error))?;
            headers.insert(http::header::ORIGIN, origin);
        }
        Ok(Self {
            args,
            target,
            headers,
            authorities: args.reach.authorities()?,
        })
    }

    pub(super) const fn target(&self) -> &Target {
        &self.target
    }

    fn timeout(&self) -> Duration {
        self.args.reach.request.timeout
    }

    fn endpoint(
        &self,
        verification: ServerVerification,
        dialects: DialectSet,
    ) -> Result<Endpoint, Failure> {
        let mut config = ClientConfig::new()
            .with_verification(verification)
            .with_connect_timeout(self.timeout());
        config.limits.close_timeout = LAST_WORDS;
        config.limits.settings_timeout = self.timeout();
        config.dialects = dialects;
        Endpoint::client(&config).map_err(|error| Failure::cannot_start(&error))
    }

    /// Finds the addresses of the host, each once.
    async fn resolve(&self) -> Result<Vec<SocketAddr>, Failure> {
        let Target { host, port, .. } = &self.target;
        let failed = |words: &str| {
            Failure::during_work(format!(
                "cannot find host {host:?}: {words}; check its name"
            ))
        };
        let found = tokio::net::lookup_host((&host[..], *port)).await;
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in found.map_err(|error| failed(&error.to_string()))? {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        // Chromium looks there and nowhere else, whatever the system says.
        let v6: SocketAddr = (IpAddr::from(Ipv6Addr::LOCALHOST), *port).into();
        if host == "localhost" && !addresses.contains(&v6) {
            addresses.push(v6);
        }
        addresses.truncate(MOST_ADDRESSES);
        match addresses.len() {
            0 => Err(failed("it has no address")),
            _ => Ok(addresses),
        }
    }

    /// Connects to every address of the host. Returns what each did, and the connection to the first that answered.
    ///
    /// Any certificate will do: it is judged later.
    pub(super) async fn reach(&self) -> Result<(Vec<Answer>, Connection), Failure> {
        let endpoint = self.endpoint(ServerVerification::Insecure, DialectSet::ALL)?;
        let addresses = self.resolve().await?;
        let started = Instant::now();
        let mut tries = JoinSet::new();
        for (index, address) in addresses.iter().copied().enumerate() {
            let (endpoint, host) = (endpoint.clone(), self.target.host.clone());
            tries.spawn(async move {
                let result = endpoint.connect(address, &host).await;
                (index, result, started.elapsed())
            });
        }
        let mut results: Vec<Option<(Result<Connection, ConnectError>, Duration)>> =
            addresses.iter().map(|_| None).collect();
        let mut until = started + self.timeout();
        loop {
            tokio::select! {
                done = tries.join_next() => match done {
                    Some(Ok((index, result, took))) => {
                        if result.is_ok() {
                            until = until.min(Instant::now() + OTHERS.max(3 * took));
                        }
                        results[index] = Some((result, took));
                    }
                    // It cannot panic, and nobody stops it.
                    Some(Err(_)) => {}
                    None => break,
                },
                () = sleep_until(until.into()) => break,
            }
        }
        tries.shutdown().await;

        let mut first = None;
        let mut error = None;
        let mut answers = Vec::new();
        for (address, result) in addresses.into_iter().zip(results) {
            let result = match result {
                Some((Ok(connection), took)) => {
                    first.get_or_insert(connection);
                    Ok(took)
                }
                Some((Err(failed), _)) if !failed.is_timeout() => {
                    let words = chain(&failed);
                    error.get_or_insert(failed);
                    Err(words)
                }
                _ => Err(NO_ANSWER.to_owned()),
            };
            answers.push(Answer { address, result });
        }
        let Some(connection) = first else {
            let silent = answers.iter().find(|answer| match &answer.result {
                Ok(_) => false,
                Err(words) => words == NO_ANSWER,
            });
            // What a server says tells more than silence, which tells more than what the system says.
            return Err(match (error, silent) {
                (Some(ConnectError::Address { .. }) | None, Some(Answer { address, .. })) => {
                    let address = canonical(*address);
                    reach::no_session(&wt::client::ConnectError::NoAnswer { address })
                }
                (Some(error), _) => reach::no_session(&error.into()),
                (None, None) => Failure::during_work("no address could be tried"),
            });
        };
        Ok((answers, connection))
    }

    /// Reads what the server says of itself.
    pub(super) async fn offer(&self, connection: &Connection) -> Result<Offer, Failure> {
        match timeout(self.timeout(), connection.ready()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let words = chain(&error);
                return Err(Failure::during_work(format!(
                    "no SETTINGS of the server: {words}; is it an HTTP/3 server?"
                )));
            }
            Err(_) => {
                return Err(Failure::during_work(format!(
                    "no SETTINGS of the server after {} s; it has to send them on its control stream at once",
                    self.timeout().as_secs_f32()
                )));
            }
        }
        Ok(Offer {
            settings: connection.peer_settings().unwrap_or_default(),
            dialects: connection.peer_dialects(),
            quic_datagrams: connection.max_datagram_size(),
        })
    }

    /// Says why the certificate is not trusted for the sake of its issuer, as far as the TLS library sees it.
    pub(super) async fn authority(&self, address: SocketAddr) -> Result<(), String> {
        let endpoint = match self.endpoint(self.authorities.clone(), DialectSet::ALL) {
            Ok(endpoint) => endpoint,
            Err(failure) => return Err(format!("cannot be judged here: {failure}")),
        };
        let attempt = endpoint.connect(address, &self.target.host);
        match timeout(self.timeout(), attempt).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(ConnectError::Connection(ConnectionError::Tls { reason, .. }))) => {
                let words = reason.trim_start_matches("invalid peer certificate: ");
                Err(match words {
                    "UnknownIssuer" => "no authority that is known here issued it".to_owned(),
                    _ => words.escape_debug().to_string(),
                })
            }
            Ok(Err(error)) => Err(format!("cannot be judged: {}", chain(&error))),
            Err(_) => Err("cannot be judged: no answer".to_owned()),
        }
    }

    /// Plays the handshake of one dialect as a client that speaks no other.
    pub(super) async fn play(
        &self,
        address: SocketAddr,
        offer: &Offer,
        dialect: Dialect,
    ) -> Result<Handshake, Failure> {
        if !offer.dialects.contains(dialect) {
            return Ok(Handshake::NotOffered);
        }
        if let Some(problem) = companions(offer, dialect) {
            return Ok(Handshake::Failed {
                status: None,
                problem,
            });
        }
        let only = DialectSet::only(dialect);
        let endpoint = self.endpoint(ServerVerification::Insecure, only)?;
        let started = Instant::now();
        let played = timeout(self.timeout(), self.session(&endpoint, address)).await;
        let handshake = match played {
            Ok(Ok((connection, mut opened))) => {
                opened.took = started.elapsed();
                connection.close(0, "").await;
                Handshake::Session(opened)
            }
            Ok(Err(error)) => self.failed(&error),
            Err(_) => self.failed(&ConnectError::TimedOut(self.timeout())),
        };
        endpoint.wait_idle(LAST_WORDS).await;
        Ok(handshake)
    }

    async fn session(
        &self,
        endpoint: &Endpoint,
        address: SocketAddr,
    ) -> Result<(Connection, Opened), ConnectError> {
        let Target {
            host,
            authority,
            path,
            ..
        } = &self.target;
        let connection = endpoint.connect(address, host).await?;
        let protocols = &self.args.reach.request.protocols;
        let session = connection
            .open_session(authority, path, self.headers.clone(), protocols)
            .await?;
        let opened = Opened {
            status: session.status().as_u16(),
            took: Duration::ZERO,
            protocol: session.protocol().map(ToOwned::to_owned),
            max_datagram: session.max_datagram_size(),
        };
        Ok((connection, opened))
    }

    /// Says why there was no session, and what to do.
    fn failed(&self, error: &ConnectError) -> Handshake {
        let fix = match error {
            ConnectError::Refused { status, .. } => match status.as_u16() {
                401 => "pass what the server asks for with -H 'Authorization: ...'".to_owned(),
                403 => {
                    let origin = self.headers.get(http::header::ORIGIN);
                    let origin = origin.and_then(|origin| origin.to_str().ok());
                    format!(
                        "let the server accept the Origin {}, or pass another with -H 'Origin: ...'",
                        origin.unwrap_or_default()
                    )
                }
                404 | 405 => "see whether the server knows this path".to_owned(),
                429 | 503 => "the server has no room now: try again".to_owned(),
                300..=399 => {
                    "browsers follow no redirects: use the address that it leads to".to_owned()
                }
                _ => "see the log of the server".to_owned(),
            },
            ConnectError::TimedOut(_) => {
                "have the server answer the CONNECT request with a status".to_owned()
            }
            _ => "see the log of the server".to_owned(),
        };
        Handshake::Failed {
            status: error.status().map(|status| status.as_u16()),
            problem: Problem::new(chain(error), fix),
        }
    }
}

/// Reads the certificate that the server shows.
pub(super) fn certificate(connection: &Connection) -> Option<CertificateDer<'static>> {
    connection.peer_certificates().into_iter().next()
}

/// Says what the server lacks that its dialect needs.
fn companions(offer: &Offer, dialect: Dialect) -> Option<Problem> {
    if offer.quic_datagrams.is_none() {
        return Some(Problem::new(
            "the server takes no QUIC datagrams",
            "switch QUIC datagrams on (transport parameter max_datagram_frame_size)",
        ));
    }
    let only = DialectSet::only(dialect);
    if dialect::client_choice(only, &offer.settings).is_none() {
        let needed = match dialect {
            Dialect::Draft15 => {
                "SETTINGS_H3_DATAGRAM (0x33) = 1 and SETTINGS_ENABLE_CONNECT_PROTOCOL (0x8) = 1"
            }
            _ => "SETTINGS_H3_DATAGRAM (0x33) = 1",
        };
        return Some(Problem::new(
            "the server offers it without what it needs",
            format!("have the server send {needed}"),
        ));
    }
    None
}
