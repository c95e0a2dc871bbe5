//! What is compared, behind one trait, so that each workload is written once.

mod quinn;
mod web_transport_quinn;
mod wt;
mod wtransport;

use std::{
    error::Error,
    future::Future,
    net::{SocketAddr, UdpSocket},
    pin::Pin,
    sync::Arc,
};

use ::quinn::{
    VarInt,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use bytes::Bytes;
use clap::ValueEnum;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer},
    version::TLS13,
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::tls::provider;

pub(crate) use self::{
    quinn::Quinn, web_transport_quinn::WebTransportQuinn, wt::Wt, wtransport::Wtransport,
};

/// Whatever went wrong: the run is reported as failed.
pub(crate) type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// A future with a name.
pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StackName {
    /// QUIC alone, as people use it: quinn on tokio.
    Quinn,
    /// QUIC alone, on the runtime of `wt-core` that keeps packets full.
    QuinnBatching,
    /// This stack.
    Wt,
    /// This stack on quinn's own runtime.
    WtUnbatched,
    /// The crate `wtransport`.
    Wtransport,
    /// The crate `web-transport-quinn`.
    WebTransportQuinn,
}

impl StackName {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Quinn => "quinn",
            Self::QuinnBatching => "quinn-batching",
            Self::Wt => "wt",
            Self::WtUnbatched => "wt-unbatched",
            Self::Wtransport => "wtransport",
            Self::WebTransportQuinn => "web-transport-quinn",
        }
    }

    /// Whether connections run on the runtime of `wt-core`, with the cipher suite that `wt` prefers.
    pub(crate) const fn batches(self) -> bool {
        matches!(self, Self::QuinnBatching | Self::Wt)
    }
}

/// What both ends of all stacks are set to, as far as they can be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Streams of each kind that the peer may have open.
    pub(crate) streams: u32,
    /// Whether connections run on the runtime of `wt-core`, with the cipher suite that `wt` prefers, where there is a choice.
    pub(crate) batches: bool,
}

/// Bytes that may be under way on a stream, on a connection, and written ahead.
const STREAM_WINDOW: u32 = 1_250_000;
const WINDOW: u32 = 16 * 1024 * 1024;
const SEND_WINDOW: u64 = 10_000_000;
/// Bytes of datagrams that wait to be sent, or to be read.
const DATAGRAM_SEND_BUFFER: usize = 256 * 1024;
const DATAGRAM_RECEIVE_BUFFER: usize = 1024 * 1024;
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

/// The server's name in its certificate, an address so that nobody asks for one, and where it listens.
const HOST: &str = "127.0.0.1";
const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// The certificate that the server shows and the client trusts.
pub(crate) type Certificate = CertificateDer<'static>;

/// What a server listens with.
pub(crate) struct Identity {
    pub(crate) certificate: Certificate,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    pub(crate) fn new() -> Result<Self> {
        let identity = ::wt::core::tls::Identity::self_signed([HOST])?;
        let [certificate, ..] = identity.chain() else {
            return Err("an identity without a certificate".into());
        };
        Ok(Self {
            certificate: certificate.clone(),
            key: identity.key().clone_key(),
        })
    }
}

/// One of the stacks.
pub(crate) trait Stack: 'static {
    type Server: Server<Session = Self::Session>;
    type Client: Client<Session = Self::Session>;
    type Session: Session;
}

/// An endpoint that listens on loopback.
pub(crate) trait Server: Sized + Send {
    type Session;

    fn bind(identity: &Identity, settings: Settings) -> Result<Self>;
    fn address(&self) -> Result<SocketAddr>;
    /// Waits for a client; what it gives finishes its session.
    fn accept(&mut self) -> impl Future<Output = Option<BoxFuture<Result<Self::Session>>>> + Send;
}

/// An endpoint that connects.
pub(crate) trait Client: Sized + Clone + Send + Sync + 'static {
    type Session;

    fn bind(server: SocketAddr, certificate: &Certificate, settings: Settings) -> Result<Self>;
    /// Makes a connection with one session.
    fn connect(&self) -> impl Future<Output = Result<Self::Session>> + Send;
    /// Makes a connection with one session whose streams go out before the server's answer, where the stack can.
    fn connect_early(&self) -> impl Future<Output = Result<Self::Session>> + Send {
        self.connect()
    }
    /// Makes another session on the connection of `session`, where the stack can.
    fn share(&self, session: &Self::Session) -> impl Future<Output = Result<Self::Session>> + Send {
        let _ = session;
        async { Err("no more than one session per connection".into()) }
    }
}

/// A session.
pub(crate) trait Session: Clone + Send + Sync + 'static {
    type Send: SendHalf;
    type Recv: RecvHalf;

    fn open_bi(&self) -> impl Future<Output = Result<(Self::Send, Self::Recv)>> + Send;
    fn open_uni(&self) -> impl Future<Output = Result<Self::Send>> + Send;
    fn accept_bi(&self) -> impl Future<Output = Result<(Self::Send, Self::Recv)>> + Send;
    fn accept_uni(&self) -> impl Future<Output = Result<Self::Recv>> + Send;
    fn max_datagram_size(&self) -> usize;
    /// Sends a datagram, waiting for room in the send buffer. The caller goes on to change its bytes.
    fn send_datagram(&self, datagram: &[u8]) -> impl Future<Output = Result<()>> + Send;
    fn recv_datagram(&self) -> impl Future<Output = Result<Bytes>> + Send;
    fn closed(&self) -> impl Future<Output = ()> + Send;
    /// Packets that the connection has sent.
    fn packets_sent(&self) -> u64;
}

/// The sending half of a stream.
pub(crate) trait SendHalf: Send + 'static {
    fn write_all(&mut self, bytes: &[u8]) -> impl Future<Output = Result<()>> + Send;
    /// Ends the stream, without waiting for the peer.
    fn finish(&mut self) -> Result<()>;
}

/// The receiving half of a stream.
pub(crate) trait RecvHalf: Send + 'static {
    fn read(&mut self, buffer: &mut [u8]) -> impl Future<Output = Result<Option<usize>>> + Send;
    /// Reads and forgets all up to the end, as cheaply as the stack can; the number of bytes.
    fn drain(&mut self) -> impl Future<Output = Result<u64>> + Send;
}

/// The settings of a connection, for the stacks that take quinn's.
fn transport(settings: Settings) -> ::quinn::TransportConfig {
    let mut transport = ::quinn::TransportConfig::default();
    transport
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(WINDOW.into())
        .send_window(SEND_WINDOW)
        .max_concurrent_bidi_streams(VarInt::from_u32(settings.streams))
        .max_concurrent_uni_streams(VarInt::from_u32(settings.streams))
        .datagram_send_buffer_size(DATAGRAM_SEND_BUFFER)
        .datagram_receive_buffer_size(Some(DATAGRAM_RECEIVE_BUFFER));
    transport
}

fn server_config(identity: &Identity, settings: Settings) -> Result<::quinn::ServerConfig> {
    let mut tls = rustls::ServerConfig::builder_with_provider(provider(settings.batches))
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate.clone()], identity.key.clone_key())?;
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let crypto = QuicServerConfig::try_from(tls)?;
    let mut config = ::quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport(settings)));
    Ok(config)
}

fn client_config(certificate: &Certificate, settings: Settings) -> Result<::quinn::ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone())?;
    let mut tls = rustls::ClientConfig::builder_with_provider(provider(settings.batches))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let crypto = QuicClientConfig::try_from(tls)?;
    let mut config = ::quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport(settings)));
    Ok(config)
}

fn socket() -> Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.bind(&LOOPBACK.into())?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    Ok(socket.into())
}

fn runtime(settings: Settings) -> Arc<dyn ::quinn::Runtime> {
    if settings.batches {
        Arc::new(crate::runtime::Batching::default())
    } else {
        Arc::new(::quinn::TokioRuntime)
    }
}

fn endpoint(
    server: Option<::quinn::ServerConfig>,
    settings: Settings,
) -> Result<::quinn::Endpoint> {
    let config = ::quinn::EndpointConfig::default();
    let endpoint = ::quinn::Endpoint::new(config, server, socket()?, runtime(settings))?;
    Ok(endpoint)
}
