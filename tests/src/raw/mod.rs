//! A peer on bare QUIC that sends any bytes on any stream and tells what came back.
//!
//! It knows none of the rules that it breaks: what it sends is made with [`wire`], and what it sees are QUIC's own
//! answers (CONNECTION_CLOSE, RESET_STREAM, STOP_SENDING) and the frames of streams. Every wait has a limit, after which
//! the test fails.

#![allow(clippy::unwrap_used, reason = "a test peer fails by panicking")]

pub mod wire;

use std::{
    any::Any,
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, ReadError, RecvStream, SendStream,
    ServerConfig, TransportConfig, VarInt,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

/// The limit of every wait.
pub const WAIT: Duration = Duration::from_secs(10);

/// Waits for `what`, at most [`WAIT`].
///
/// # Panics
///
/// When it takes longer.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    within_time(WAIT, what, future).await
}

/// Waits for `what`, at most `limit`.
///
/// # Panics
///
/// When it takes longer.
pub async fn within_time<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {limit:?}"),
    }
}

/// The settings of a peer that takes nearly everything: nothing on this side slows the other one down.
#[must_use]
pub fn transport() -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(10_000))
        .max_concurrent_uni_streams(VarInt::from_u32(10_000))
        .max_idle_timeout(Some(VarInt::from_u32(60_000).into()));
    config
}

/// How a receiving side ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "QUIC has no other end")]
pub enum End {
    /// By FIN.
    Fin,
    /// By RESET_STREAM with this code.
    Reset(u64),
}

/// One end of a QUIC connection without anything on top.
#[derive(Debug)]
pub struct Raw {
    /// The connection.
    pub quic: Connection,
    _endpoint: Endpoint,
    kept: Mutex<Vec<Box<dyn Any + Send>>>,
}

impl Raw {
    /// Connects to a port of 127.0.0.1 and sends nothing.
    pub async fn client(port: u16) -> Self {
        Self::client_with(port, transport()).await
    }

    /// Connects with other transport settings and sends nothing.
    ///
    /// # Panics
    ///
    /// When it cannot connect.
    pub async fn client_with(port: u16, transport: TransportConfig) -> Self {
        let endpoint = client_endpoint(transport);
        let quic = connect(&endpoint, port).await;
        Self::new(quic, endpoint)
    }

    /// Connects and sends the SETTINGS of draft-16.
    pub async fn hello(port: u16) -> Self {
        let raw = Self::client(port).await;
        raw.settings(wire::CLIENT_SETTINGS).await;
        raw
    }

    /// Takes over a connection that was made with [`connect`].
    #[must_use]
    pub fn over(quic: Connection, endpoint: &Endpoint) -> Self {
        Self::new(quic, endpoint.clone())
    }

    fn new(quic: Connection, endpoint: Endpoint) -> Self {
        Self {
            quic,
            _endpoint: endpoint,
            kept: Mutex::default(),
        }
    }

    /// Keeps a stream open as long as the connection: QUIC ends a stream whose handle is dropped.
    pub fn keep<T: Any + Send>(&self, stream: T) {
        self.kept.lock().unwrap().push(Box::new(stream));
    }

    /// Opens a unidirectional stream and writes `bytes`.
    pub async fn uni(&self, bytes: &[u8]) -> SendStream {
        within("a unidirectional stream", async {
            let mut send = self.quic.open_uni().await.unwrap();
            send.write_all(bytes).await.unwrap();
            send
        })
        .await
    }

    /// Opens a bidirectional stream and writes `bytes`.
    pub async fn bi(&self, bytes: &[u8]) -> (SendStream, RecvStream) {
        within("a bidirectional stream", async {
            let (mut send, recv) = self.quic.open_bi().await.unwrap();
            send.write_all(bytes).await.unwrap();
            (send, recv)
        })
        .await
    }

    /// Opens a unidirectional stream, writes `bytes` and keeps it.
    pub async fn keep_uni(&self, bytes: &[u8]) {
        let stream = self.uni(bytes).await;
        self.keep(stream);
    }

    /// Opens a bidirectional stream, writes `bytes` and keeps it.
    pub async fn keep_bi(&self, bytes: &[u8]) {
        let stream = self.bi(bytes).await;
        self.keep(stream);
    }

    /// Opens the control stream with these SETTINGS.
    pub async fn settings(&self, entries: &[(u64, u64)]) {
        let bytes = [wire::varint(0), wire::settings(entries)].concat();
        self.keep_uni(&bytes).await;
    }

    /// Sends a datagram.
    ///
    /// # Panics
    ///
    /// When QUIC does not take it.
    pub async fn datagram(&self, bytes: Vec<u8>) {
        self.quic.send_datagram_wait(bytes.into()).await.unwrap();
    }

    /// Waits for CONNECTION_CLOSE and returns its code.
    ///
    /// # Panics
    ///
    /// When the connection ends in another way.
    pub async fn closed(&self) -> u64 {
        match within("CONNECTION_CLOSE", self.quic.closed()).await {
            ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
            other => panic!("not a CONNECTION_CLOSE of HTTP/3: {other}"),
        }
    }

    /// Asks for a session and returns it with the status that came, whatever that is.
    pub async fn try_session(&self, head: &[u8]) -> (Session, u16) {
        let (send, recv) = self.bi(head).await;
        let id = u64::from(send.id());
        let mut frames = Frames::new(recv);
        let status = frames.status().await;
        (Session { id, send, frames }, status)
    }

    /// Opens a session of draft-16.
    ///
    /// # Panics
    ///
    /// When the answer is not 200.
    pub async fn session(&self, path: &str) -> Session {
        let (session, status) = self.try_session(&wire::connect(path)).await;
        assert_eq!(status, 200, "the answer to {path}");
        session
    }

    /// Sends `body` on a new bidirectional stream of the session and asserts that it comes back.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub async fn echo(&self, session: u64, body: &[u8]) {
        let (mut send, mut recv) = self.bi(&wire::stream(wire::WT_BIDI, session, body)).await;
        send.finish().unwrap();
        let answer = within("the echo", recv.read_to_end(body.len() + 1)).await;
        assert_eq!(answer.as_deref(), Ok(body), "the echo");
    }

    /// Waits for a request on the next bidirectional stream, as a server.
    pub async fn request(&self) -> Session {
        let (send, recv) = within("a request", self.quic.accept_bi()).await.unwrap();
        let mut frames = Frames::new(recv);
        let head = frames.next().await.unwrap().unwrap();
        assert_eq!(head.0, wire::HEADERS, "the first frame of a request");
        let id = u64::from(send.id());
        Session { id, send, frames }
    }

    /// Waits for a request and answers it with 200, as a server.
    pub async fn accept_session(&self) -> Session {
        let mut session = self.request().await;
        session
            .send
            .write_all(&wire::response("200"))
            .await
            .unwrap();
        session
    }
}

/// Waits for STOP_SENDING and returns its code.
///
/// # Panics
///
/// When the stream ends in another way.
pub async fn stopped(send: &SendStream) -> u64 {
    match within("STOP_SENDING", send.stopped()).await {
        Ok(Some(code)) => code.into_inner(),
        other => panic!("no STOP_SENDING: {other:?}"),
    }
}

/// What is sent on a new connection.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_enums, reason = "of use in tests only")]
pub enum Attack {
    /// On a new unidirectional stream.
    Uni(Vec<u8>),
    /// Likewise, with FIN.
    UniFin(Vec<u8>),
    /// Likewise, with RESET_STREAM once it was read.
    UniReset(Vec<u8>),
    /// On the control stream, behind SETTINGS.
    Control(Vec<u8>),
    /// On a new bidirectional stream.
    Bidi(Vec<u8>),
    /// Likewise, with FIN.
    BidiFin(Vec<u8>),
}

impl Attack {
    /// Sends it. `fence` is ready when the other side has read what was sent before it was polled.
    ///
    /// # Panics
    ///
    /// When QUIC does not take it.
    pub async fn launch(
        &self,
        raw: &Raw,
        settings: &[(u64, u64)],
        fence: impl Future<Output = ()>,
    ) {
        match self {
            Self::Uni(bytes) => raw.keep_uni(bytes).await,
            Self::UniFin(bytes) => raw.uni(bytes).await.finish().unwrap(),
            Self::UniReset(bytes) => {
                let mut send = raw.uni(bytes).await;
                // A reset takes unread bytes with it.
                within("the fence", fence).await;
                send.reset(7_u32.into()).unwrap();
                raw.keep(send);
            }
            Self::Control(bytes) => {
                let settings = wire::settings(settings);
                let bytes = [&[0], &settings[..], bytes].concat();
                raw.keep_uni(&bytes).await;
            }
            Self::Bidi(bytes) => raw.keep_bi(bytes).await,
            Self::BidiFin(bytes) => {
                let (mut send, recv) = raw.bi(bytes).await;
                send.finish().unwrap();
                raw.keep((send, recv));
            }
        }
    }
}

/// Reads and forgets until the end of a stream.
///
/// # Panics
///
/// When the connection ends first.
pub async fn ended(recv: &mut RecvStream) -> End {
    within("the end of the stream", async {
        loop {
            match recv.read_chunk(usize::MAX, true).await {
                Ok(Some(_)) => {}
                Ok(None) => return End::Fin,
                Err(ReadError::Reset(code)) => return End::Reset(code.into_inner()),
                Err(error) => panic!("the stream did not end: {error}"),
            }
        }
    })
    .await
}

/// The CONNECT stream of a session.
#[derive(Debug)]
pub struct Session {
    /// The id of the session.
    pub id: u64,
    /// Our side of the stream.
    pub send: SendStream,
    /// The other side.
    pub frames: Frames,
}

impl Session {
    /// Writes bytes.
    ///
    /// # Panics
    ///
    /// When the stream takes none.
    pub async fn write(&mut self, bytes: &[u8]) {
        within("a write on CONNECT", self.send.write_all(bytes))
            .await
            .unwrap();
    }

    /// Reads up to the next capsule of this type and returns its value; `Err` when the stream ended before.
    pub async fn capsule(&mut self, kind: u64) -> Result<Vec<u8>, End> {
        loop {
            let (found, value) = self.frames.capsule().await?;
            if found == kind {
                return Ok(value);
            }
        }
    }

    /// Reads up to the end of the stream.
    pub async fn ended(&mut self) -> End {
        loop {
            if let Err(end) = self.frames.next().await.and_then(|f| f.ok_or(End::Fin)) {
                return end;
            }
        }
    }

    /// Asserts that both sides of the stream were ended with this code.
    ///
    /// # Panics
    ///
    /// When they were not.
    pub async fn assert_reset(&mut self, code: u64) {
        assert_eq!(stopped(&self.send).await, code, "STOP_SENDING on CONNECT");
        assert_eq!(
            self.ended().await,
            End::Reset(code),
            "RESET_STREAM on CONNECT"
        );
    }
}

/// Reads the frames of a stream, and the capsules in them.
#[derive(Debug)]
pub struct Frames {
    recv: RecvStream,
    buffer: Vec<u8>,
    capsules: Vec<u8>,
}

impl Frames {
    /// Reads the frames of `recv`.
    #[must_use]
    pub const fn new(recv: RecvStream) -> Self {
        Self {
            recv,
            buffer: Vec::new(),
            capsules: Vec::new(),
        }
    }

    /// Returns type and payload of the next frame; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<(u64, Vec<u8>)>, End> {
        loop {
            if let Some(frame) = take_tlv(&mut self.buffer) {
                return Ok(Some(frame));
            }
            let chunk = within("a frame", self.recv.read_chunk(usize::MAX, true)).await;
            match chunk {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk.bytes),
                Ok(None) => return Ok(None),
                Err(ReadError::Reset(code)) => return Err(End::Reset(code.into_inner())),
                Err(error) => panic!("the stream did not end: {error}"),
            }
        }
    }

    /// Returns type and value of the next capsule.
    pub async fn capsule(&mut self) -> Result<(u64, Vec<u8>), End> {
        loop {
            if let Some(capsule) = take_tlv(&mut self.capsules) {
                return Ok(capsule);
            }
            let (kind, payload) = self.next().await?.ok_or(End::Fin)?;
            if kind == wire::DATA {
                self.capsules.extend_from_slice(&payload);
            }
        }
    }

    /// Returns the status of the response.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub async fn status(&mut self) -> u16 {
        loop {
            let (kind, block) = self.next().await.unwrap().expect("a response");
            if kind == wire::HEADERS {
                let head = wt::proto::head::ResponseHead::decode(&block, 65_536).unwrap();
                return head.status.as_u16();
            }
        }
    }

    /// Stops reading, with a code.
    pub fn stop(&mut self, code: u32) {
        let _ = self.recv.stop(VarInt::from_u32(code));
    }
}

/// Takes a type, a length and a value off the front, if they are all there.
fn take_tlv(buffer: &mut Vec<u8>) -> Option<(u64, Vec<u8>)> {
    let mut rest = &buffer[..];
    let kind = wire::read_varint(&mut rest)?;
    let len = usize::try_from(wire::read_varint(&mut rest)?).unwrap();
    let value = rest.get(..len)?.to_vec();
    let used = buffer.len() - rest.len() + len;
    buffer.drain(..used);
    Some((kind, value))
}

/// A server on bare QUIC.
#[derive(Debug)]
pub struct RawServer {
    endpoint: Endpoint,
    /// The URL of the server, by number.
    pub url: String,
    /// Its port.
    pub port: u16,
    /// Its certificate, for clients to pin.
    pub identity: wt::Identity,
}

impl RawServer {
    /// Listens on a free port of 127.0.0.1.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(transport())
    }

    /// Listens with other transport settings.
    ///
    /// # Panics
    ///
    /// When it cannot.
    #[must_use]
    pub fn start_with(transport: TransportConfig) -> Self {
        let identity = wt::Identity::self_signed(["localhost", "127.0.0.1"]).unwrap();
        let tls = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(identity.chain().to_vec(), identity.key().clone_key());
        let mut tls = tls.unwrap();
        tls.alpn_protocols = vec![b"h3".to_vec()];
        let crypto = QuicServerConfig::try_from(tls).unwrap();
        let mut config = ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(Arc::new(transport));
        let endpoint = Endpoint::server(config, loopback(0)).unwrap();
        let port = endpoint.local_addr().unwrap().port();
        Self {
            endpoint,
            url: format!("https://127.0.0.1:{port}/"),
            port,
            identity,
        }
    }

    /// Waits for the next client and sends nothing.
    pub async fn accept(&self) -> Raw {
        let quic = within("a client", async {
            self.endpoint.accept().await.unwrap().await.unwrap()
        })
        .await;
        Raw::new(quic, self.endpoint.clone())
    }
}

/// Makes the endpoint of a client that trusts everybody.
///
/// # Panics
///
/// When there is no socket for it.
#[must_use]
pub fn client_endpoint(transport: TransportConfig) -> Endpoint {
    let provider = Arc::new(ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap();
    let mut tls = tls
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible(provider)))
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let crypto = QuicClientConfig::try_from(tls).unwrap();
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    let mut endpoint = Endpoint::client(loopback(0)).unwrap();
    endpoint.set_default_client_config(config);
    endpoint
}

/// Connects an endpoint to a port of 127.0.0.1.
///
/// # Panics
///
/// When it cannot.
pub async fn connect(endpoint: &Endpoint, port: u16) -> Connection {
    let connecting = endpoint.connect(loopback(port), "localhost").unwrap();
    within("the handshake", connecting).await.unwrap()
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Believes every certificate: it is not TLS that is tested here.
#[derive(Debug)]
struct Gullible(Arc<CryptoProvider>);

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A megabyte of zeros, for those that send many.
#[must_use]
pub fn megabyte() -> Bytes {
    Bytes::from(vec![0; 1 << 20])
}
