//! Endpoints: where connections come from.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use tokio::runtime::Handle;
use wt_proto::{DialectSet, ErrorCode, InitialLimits, Side};

use crate::{
    config::{ClientConfig, Limits, ServerConfig, SessionConfig, TransportConfig},
    connection::{self, Connection, Inner, Lookout, Origin},
    error::{BindError, ConnectError, ConnectionError},
    events::{Emitter, Event, Events},
    gate::{Gate, Place, Turned},
    observe::{Observe, Snapshot, State},
    qlog::Qlog,
    quic,
    refusal::{RefusalCause, Refusals},
    report::{self, EndpointReport},
    stats::{EndpointStats, count},
    stream::quic_code,
    takeover::{self, TakeoverError},
    tls::{Certificates, TlsError, Watch},
};

/// A UDP socket with everything that makes it an end of connections.
///
/// A cheap handle: clones speak of the same endpoint. A server accepts connections with
/// [`Self::accept`], a client makes them with [`Self::connect`].
#[derive(Clone, Debug)]
pub struct Endpoint(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    quic: quinn::Endpoint,
    origin: Arc<Origin>,
    /// Has a place for each connection of a server, and for those who want to become one.
    gate: Arc<Gate>,
    client: Option<quinn::ClientConfig>,
    /// Of a server, and what keeps them fresh until the endpoint is closed.
    certificates: Option<(Certificates, Watch)>,
    created: Instant,
    closed: AtomicBool,
    /// Its socket is one that other processes have too, or may get.
    shares_port: bool,
    /// Goes on, whatever configuration comes later.
    qlog: Qlog,
}

fn open_qlog(transport: &TransportConfig, side: &str) -> Result<Qlog, BindError> {
    Qlog::open(transport, side).map_err(|source| BindError::Qlog {
        directory: transport.qlog.clone().unwrap_or_default(),
        source,
    })
}

fn origin(
    side: Side,
    transport: &TransportConfig,
    session: &SessionConfig,
    limits: &Limits,
    dialects: DialectSet,
) -> Arc<Origin> {
    let mut proto = wt_proto::connection::Config::new(side);
    proto.dialects = dialects;
    proto.max_sessions = limits.sessions_per_connection as u64;
    proto.max_field_section = limits.field_section_size;
    proto.head_timeout = limits.header_timeout;
    proto.settings_timeout = limits.settings_timeout;
    proto.initial = if session.flow_control {
        InitialLimits {
            max_data: session.max_data,
            max_streams_bidi: session.max_streams_bidi,
            max_streams_uni: session.max_streams_uni,
        }
    } else {
        InitialLimits::default()
    };
    Arc::new(Origin {
        limits: Arc::new(limits.clone()),
        transport: transport.clone(),
        auto_scale: session.auto_scale,
        refusals: Default::default(),
        events: Emitter::new(),
        totals: Default::default(),
        lookout: Lookout::new(Handle::current()),
        proto: Arc::new(proto),
    })
}

impl Endpoint {
    /// Binds the endpoint of a server.
    ///
    /// # Errors
    ///
    /// See [`BindError`].
    pub fn server(config: &ServerConfig) -> Result<Self, BindError> {
        config.validate()?;
        let qlog = open_qlog(&config.transport, "server")?;
        let certificates = Certificates::new(config);
        let server = quic::server_config(config, &certificates, &qlog)?;
        let quic = bind(config.bind, &config.transport, Some(server))?;
        Ok(Self::of_server(config, quic, &certificates, qlog, false))
    }

    /// Makes the endpoint of a server on a port that is taken over, or can be.
    pub(crate) fn taking_over(
        config: &ServerConfig,
        takeover: takeover::unix::Takeover,
    ) -> Result<(Self, takeover::unix::Pending), TakeoverError> {
        config.validate().map_err(BindError::from)?;
        let qlog = open_qlog(&config.transport, "server")?;
        let certificates = Certificates::new(config);
        let server = quic::server_config(config, &certificates, &qlog).map_err(BindError::from)?;
        if Handle::try_current().is_err() {
            return Err(BindError::NoRuntime.into());
        }
        let (quic, pending) = takeover.endpoint(config, server)?;
        Ok((
            Self::of_server(config, quic, &certificates, qlog, true),
            pending,
        ))
    }

    fn of_server(
        config: &ServerConfig,
        quic: quinn::Endpoint,
        certificates: &Certificates,
        qlog: Qlog,
        shares_port: bool,
    ) -> Self {
        let origin = origin(
            Side::Server,
            &config.transport,
            &config.session,
            &config.limits,
            config.dialects,
        );
        Self(Arc::new(Shared {
            quic,
            gate: Arc::new(Gate::new(origin.limits.clone())),
            origin,
            client: None,
            certificates: Some((certificates.clone(), certificates.watch())),
            created: Instant::now(),
            closed: AtomicBool::new(false),
            shares_port,
            qlog,
        }))
    }

    /// Binds the endpoint of a client.
    ///
    /// # Errors
    ///
    /// See [`BindError`].
    pub fn client(config: &ClientConfig) -> Result<Self, BindError> {
        config.validate()?;
        let qlog = open_qlog(&config.transport, "client")?;
        let client = quic::client_config(config, &qlog)?;
        let quic = bind(config.bind, &config.transport, None)?;
        let origin = origin(
            Side::Client,
            &config.transport,
            &config.session,
            &config.limits,
            config.dialects,
        );
        Ok(Self(Arc::new(Shared {
            quic,
            gate: Arc::new(Gate::new(origin.limits.clone())),
            origin,
            client: Some(client),
            certificates: None,
            created: Instant::now(),
            closed: AtomicBool::new(false),
            shares_port: false,
            qlog,
        })))
    }

    /// Returns the address that the socket is bound to.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.quic.local_addr()
    }

    /// Returns how many connections are alive, those that are closing among them.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.0.quic.open_connections()
    }

    /// Returns how many clients and requests were turned away so far, by cause. For servers.
    ///
    /// Each is logged as well, with its cause in words, by `tracing` at level INFO; of those that come before a handshake,
    /// the first, the second, the fourth and so on, the others at level DEBUG.
    #[must_use]
    pub fn refusals(&self) -> Refusals {
        self.0.origin.refusals.snapshot()
    }

    /// Returns whether [`Self::close`] was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.closed.load(SeqCst)
    }

    /// Returns what the endpoint has seen so far.
    #[must_use]
    pub fn stats(&self) -> EndpointStats {
        let totals = &self.0.origin.totals;
        let gate = self.0.gate.stats();
        EndpointStats {
            connections: self.open_connections() as u64,
            connections_made: totals.connections_made.load(Relaxed),
            connections_failed: totals.connections_failed.load(Relaxed),
            connections_lost: totals.connections_lost.load(Relaxed),
            sessions_made: totals.sessions_made.load(Relaxed),
            sessions_ended: totals.sessions_ended.load(Relaxed),
            handshakes: gate.handshakes as u64,
            addresses: gate.addresses as u64,
            addresses_validated: gate.retries,
            refusals: self.refusals().total(),
        }
    }

    /// Adds up what the endpoint and all its connections have done and hold, and samples at most `samples` connections,
    /// each time others.
    ///
    /// It locks each connection that is alive for a moment; with many thousands of them it takes milliseconds, so that
    /// asynchronous code better calls it by `tokio::task::spawn_blocking`.
    #[must_use]
    pub fn report(&self, samples: usize) -> EndpointReport {
        let totals = &self.0.origin.totals;
        report::report(
            &totals.registry,
            self.stats(),
            self.refusals(),
            &totals.handshakes,
            samples,
        )
    }

    /// Listens to what happens on all connections of the endpoint from now on.
    ///
    /// A listener that is more than [`CAPACITY`](crate::events::CAPACITY) events behind loses the oldest and is told so.
    pub fn events(&self) -> Events<Event> {
        self.0.origin.events.subscribe()
    }

    /// Waits for the next client; `None` when the endpoint was closed. For servers.
    ///
    /// A client beyond a limit on connections, in total or of its address, is refused without disturbing the others, and
    /// one whose address may be forged is asked to show it as [`Retry`](crate::config::Retry) says. Each client that comes
    /// out holds its place among the connections and the handshakes from then on.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, no client is lost.
    pub async fn accept(&self) -> Option<Incoming> {
        loop {
            // Turning away as fast as packets come must not keep the thread from everything else.
            tokio::task::consume_budget().await;
            let incoming = self.0.quic.accept().await?;
            let gate = &self.0.gate;
            let (peer, shown) = (
                incoming.remote_address(),
                incoming.remote_address_validated(),
            );
            let place = match gate.enter(peer, shown) {
                Ok(place) => place,
                Err(Turned::Retry) => {
                    // Who has not shown its address yet can be asked to.
                    if incoming.retry().is_ok() {
                        gate.retried();
                    }
                    continue;
                }
                Err(Turned::Away(cause)) => {
                    let refusals = &self.0.origin.refusals;
                    refusals.note(cause, peer, &"before the handshake");
                    if cause == RefusalCause::HandshakesPerAddress {
                        // There is room in a moment, and the client asks again.
                        incoming.ignore();
                    } else {
                        incoming.refuse();
                    }
                    continue;
                }
            };
            return Some(Incoming {
                incoming,
                origin: self.0.origin.clone(),
                place,
            });
        }
    }

    /// Connects to a server. For clients.
    ///
    /// `server_name` is the name that the server's certificate must carry. The connection may be
    /// used as soon as the handshake is over.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, the attempt is given up.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub async fn connect(
        &self,
        address: SocketAddr,
        server_name: &str,
    ) -> Result<Connection, ConnectError> {
        let refuse = |reason: String| ConnectError::Address { address, reason };
        let Some(config) = self.0.client.clone() else {
            return Err(refuse("this endpoint was made for a server".to_owned()));
        };
        let target = self.map_address(address);
        let connecting = self.0.quic.connect_with(config, target, server_name);
        let connecting = connecting.map_err(|error| refuse(error.to_string()))?;
        let quic = connecting.await.map_err(|error| {
            let error = ConnectionError::from(error);
            count(&self.0.origin.totals.connections_failed);
            self.0.origin.events.emit_with(|| Event::ConnectionFailed {
                remote: address,
                error: error.clone(),
            });
            error
        })?;
        let inner = Inner::new(quic, self.0.origin.clone(), None);
        inner.tell_established();
        connection::drive(&inner, None);
        Ok(Connection::new(inner))
    }

    /// Writes an IPv4 address in the form that a dual-stack socket takes.
    fn map_address(&self, address: SocketAddr) -> SocketAddr {
        match (address, self.0.quic.local_addr()) {
            (SocketAddr::V4(v4), Ok(SocketAddr::V6(_))) => {
                (v4.ip().to_ipv6_mapped(), v4.port()).into()
            }
            _ => address,
        }
    }

    /// Returns the certificates that clients are shown; `None` on the endpoint of a client.
    ///
    /// They can be replaced there while the endpoint is in use.
    #[must_use]
    pub fn certificates(&self) -> Option<&Certificates> {
        let (certificates, _) = self.0.certificates.as_ref()?;
        Some(certificates)
    }

    /// Replaces certificates, keys and client authentication for connections from now on.
    ///
    /// Where certificates are all that changes, see [`Self::certificates`]. How they are kept fresh
    /// ([`ServerConfig::certificates`]) stays as it was. On the endpoint of a client this does nothing.
    ///
    /// # Errors
    ///
    /// [`TlsError`] when they cannot be used; the old ones stay then.
    pub fn set_server_config(&self, config: &ServerConfig) -> Result<(), TlsError> {
        if let Some(certificates) = self.certificates() {
            let quic = quic::server_config(config, certificates, &self.0.qlog)?;
            certificates.replace_all(&config.identity, &config.identities)?;
            self.0.quic.set_server_config(Some(quic));
        }
        Ok(())
    }

    /// Moves the endpoint to another socket; connections of a client move along.
    ///
    /// # Errors
    ///
    /// What the system says; and that it cannot be done to an endpoint whose port can be taken over
    /// ([`Takeover::server`](crate::takeover::Takeover::server)).
    pub fn rebind(&self, socket: UdpSocket) -> io::Result<()> {
        if self.0.shares_port {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.0.quic.rebind(socket)
    }

    /// Stops accepting connections: new clients get no answer, those that are here stay.
    pub fn stop_accepting(&self) {
        self.0.quic.set_server_config(None);
    }

    /// Closes all connections at once with an HTTP/3 error code; [`Self::accept`] returns `None`.
    pub fn close(&self, code: ErrorCode, reason: &str) {
        self.0.closed.store(true, SeqCst);
        if let Some((_, watch)) = &self.0.certificates {
            watch.stop();
        }
        self.0.quic.close(quic_code(code), reason.as_bytes());
    }

    /// Waits until no connection is left and all last words are sent, at most for `limit`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn wait_idle(&self, limit: Duration) {
        let _ = tokio::time::timeout(limit, self.0.quic.wait_idle()).await;
    }
}

impl Observe for Endpoint {
    fn observe(&self) -> Snapshot {
        let id = match self.local_addr() {
            Ok(address) => address.to_string(),
            Err(_) => "unbound".to_owned(),
        };
        let stats = self.stats();
        let state = match stats.connections {
            _ if self.is_closed() => State::Closed,
            0 => State::Idle,
            _ => State::Active,
        };
        let snapshot = Snapshot::new("endpoint", id, state)
            .with_uptime(self.0.created.elapsed())
            .with_gauge("connections", stats.connections as f64)
            .with_counter("connections_made", stats.connections_made)
            .with_counter("connections_failed", stats.connections_failed)
            .with_counter("connections_lost", stats.connections_lost)
            .with_counter("sessions_made", stats.sessions_made)
            .with_counter("sessions_ended", stats.sessions_ended)
            .with_gauge("handshakes", stats.handshakes as f64)
            .with_gauge("addresses", stats.addresses as f64)
            .with_counter("addresses_validated", stats.addresses_validated)
            .with_counter("refusals", stats.refusals);
        match self.certificates() {
            Some(certificates) => certificates.add_figures(snapshot),
            None => snapshot,
        }
    }
}

fn bind(
    address: SocketAddr,
    transport: &TransportConfig,
    server: Option<quinn::ServerConfig>,
) -> Result<quinn::Endpoint, BindError> {
    if Handle::try_current().is_err() {
        return Err(BindError::NoRuntime);
    }
    let failed = |source| BindError::Socket { address, source };
    let socket = quic::bind_socket(address, transport).map_err(failed)?;
    let config = quic::endpoint_config(transport);
    quinn::Endpoint::new(config, server, socket, quic::runtime(transport)).map_err(failed)
}

/// A client that wants to connect.
#[derive(Debug)]
pub struct Incoming {
    incoming: quinn::Incoming,
    origin: Arc<Origin>,
    place: Place,
}

impl Incoming {
    /// Returns the UDP address of the client; it may be forged unless it was validated.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.incoming.remote_address()
    }

    /// Returns whether the client has shown that it receives what is sent to its address.
    #[must_use]
    pub fn is_validated(&self) -> bool {
        self.incoming.remote_address_validated()
    }

    /// Asks the client to come back with a token, which validates its address (RFC 9000, 8.1.2).
    ///
    /// Gives the client back when it has come with one already.
    ///
    /// # Errors
    ///
    /// The client itself, to be accepted or refused.
    pub fn retry(self) -> Result<(), Box<Self>> {
        let Self {
            incoming,
            origin,
            place,
        } = self;
        let result = incoming.retry().map_err(|error| error.into_incoming());
        match result {
            Ok(()) => {
                place.retried();
                Ok(())
            }
            Err(incoming) => Err(Box::new(Self {
                incoming,
                origin,
                place,
            })),
        }
    }

    /// Refuses the client.
    pub fn refuse(self) {
        self.incoming.refuse();
    }

    /// Takes the client and completes the handshake.
    ///
    /// SETTINGS leave with the first flight of the server.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, the connection is given up.
    ///
    /// # Errors
    ///
    /// [`ConnectionError`] when the handshake fails.
    pub async fn accept(self) -> Result<Connection, ConnectionError> {
        let peer = self.incoming.remote_address();
        let origin = self.origin.clone();
        let result = self.handshake().await;
        if let Err(error) = &result {
            count(&origin.totals.connections_failed);
            origin.events.emit_with(|| Event::ConnectionFailed {
                remote: peer,
                error: error.clone(),
            });
        }
        // Who broke the protocol in the middle of the handshake was counted for that.
        if let Err(error) = &result
            && !matches!(error, ConnectionError::Violation(_))
        {
            origin.refusals.note(error.into(), peer, error);
        }
        result
    }

    async fn handshake(self) -> Result<Connection, ConnectionError> {
        let connecting = self.incoming.accept()?;
        let (quic, complete) = match connecting.into_0rtt() {
            Ok((quic, accepted)) => (quic, Some(accepted)),
            Err(connecting) => (connecting.await?, None),
        };
        let member = self.place.member();
        let inner = Inner::new(quic, self.origin, Some(member.clone()));
        let connection = Connection::new(inner.clone());
        connection::drive(&inner, Some(self.place));
        if let Some(complete) = complete {
            complete.await;
        }
        // QUIC knows of a failed handshake before the driver does.
        match inner.quic().close_reason() {
            Some(error) => Err(inner.end().unwrap_or_else(|| error.into())),
            None => {
                member.established();
                inner.tell_established();
                Ok(connection)
            }
        }
    }
}
