//! This stack, through its facade.

use std::net::SocketAddr;

use bytes::Bytes;
use wt::{
    RecvStream, SendStream, ServerVerification,
    core::config::{ClientConfig, ServerConfig, SessionConfig, StreamCredit, TransportConfig},
};

use super::{
    BoxFuture, Certificate, Client, DATAGRAM_RECEIVE_BUFFER, DATAGRAM_SEND_BUFFER, HOST, Identity,
    LOOPBACK, RecvHalf, Result, SEND_WINDOW, SOCKET_BUFFER, STREAM_WINDOW, SendHalf, Server,
    Session, Settings, Stack, WINDOW,
};
use crate::workload::FEW_STREAMS;

/// Sessions on one connection, when a workload wants several.
const SESSIONS: usize = 128;

pub(crate) struct Wt;

impl Stack for Wt {
    type Server = wt::Server;
    type Client = Dialer;
    type Session = wt::Session;
}

fn transport(settings: Settings) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport.stream_receive_window = STREAM_WINDOW.into();
    transport.receive_window = WINDOW.into();
    transport.send_window = SEND_WINDOW;
    if settings.streams > FEW_STREAMS {
        // As with the others, there is nothing to grow. Where few are wanted, growing is the way of
        // this stack.
        let streams = StreamCredit::new(settings.streams.into(), settings.streams.into());
        transport.streams_bidi = streams;
        transport.streams_uni = streams;
    }
    transport.datagram_send_buffer = DATAGRAM_SEND_BUFFER;
    transport.datagram_receive_buffer = DATAGRAM_RECEIVE_BUFFER;
    transport.socket_buffer = SOCKET_BUFFER;
    transport.batch_packets = settings.batches;
    transport
}

fn session(settings: Settings) -> SessionConfig {
    let mut session = SessionConfig::default();
    session.max_streams_bidi = settings.streams.max(1000).into();
    session.max_streams_uni = settings.streams.max(1000).into();
    session
}

impl Server for wt::Server {
    type Session = wt::Session;

    fn bind(identity: &Identity, settings: Settings) -> Result<Self> {
        let chain = vec![identity.certificate.clone()];
        let identity = wt::Identity::from_der(chain, identity.key.clone_key())?;
        let mut config = ServerConfig::new(identity)
            .with_bind(LOOPBACK)
            .with_transport(transport(settings))
            .with_session(session(settings));
        config.limits.sessions_per_connection = SESSIONS;
        Ok(Self::bind(&config)?)
    }

    fn address(&self) -> Result<SocketAddr> {
        Ok(self.local_addr()?)
    }

    async fn accept(&mut self) -> Option<BoxFuture<Result<wt::Session>>> {
        let request = Self::accept(self).await?;
        Some(Box::pin(async move { Ok(request.accept().await?) }))
    }
}

#[derive(Clone)]
pub(crate) struct Dialer {
    client: wt::Client,
    url: String,
}

impl Client for Dialer {
    type Session = wt::Session;

    fn bind(server: SocketAddr, certificate: &Certificate, settings: Settings) -> Result<Self> {
        let roots = ServerVerification::Roots(vec![certificate.clone()]);
        let mut config = ClientConfig::new()
            .with_bind(LOOPBACK)
            .with_verification(roots)
            .with_transport(transport(settings))
            .with_session(session(settings));
        config.limits.sessions_per_connection = SESSIONS;
        Ok(Self {
            client: wt::Client::new(config)?,
            url: format!("https://{HOST}:{}/", server.port()),
        })
    }

    async fn connect(&self) -> Result<wt::Session> {
        Ok(self.client.connect(self.url.as_str()).await?)
    }

    async fn connect_early(&self) -> Result<wt::Session> {
        Ok(self.client.connect(self.url.as_str()).early(true).await?)
    }

    async fn share(&self, session: &wt::Session) -> Result<wt::Session> {
        let connection = session.connection();
        let headers = session.headers().clone();
        Ok(connection
            .open_session(session.authority(), "/", headers, &[])
            .await?)
    }
}

impl Session for wt::Session {
    type Send = SendStream;
    type Recv = RecvStream;

    async fn open_bi(&self) -> Result<(SendStream, RecvStream)> {
        Ok(Self::open_bi(self).await?.split())
    }

    async fn open_uni(&self) -> Result<SendStream> {
        Ok(Self::open_uni(self).await?)
    }

    async fn accept_bi(&self) -> Result<(SendStream, RecvStream)> {
        Ok(Self::accept_bi(self).await?.split())
    }

    async fn accept_uni(&self) -> Result<RecvStream> {
        Ok(Self::accept_uni(self).await?)
    }

    fn max_datagram_size(&self) -> usize {
        Self::max_datagram_size(self).unwrap_or(0)
    }

    async fn send_datagram(&self, datagram: &[u8]) -> Result<()> {
        Ok(self.send_datagram_wait(datagram).await?)
    }

    async fn recv_datagram(&self) -> Result<Bytes> {
        Ok(Self::recv_datagram(self).await?)
    }

    async fn closed(&self) {
        Self::closed(self).await;
    }

    fn packets_sent(&self) -> u64 {
        self.connection().stats().packets_sent
    }
}

impl SendHalf for SendStream {
    async fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(Self::write_all(self, bytes).await?)
    }

    fn finish(&mut self) -> Result<()> {
        Ok(Self::finish(self)?)
    }
}

impl RecvHalf for RecvStream {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>> {
        Ok(Self::read(self, buffer).await?)
    }

    async fn drain(&mut self) -> Result<u64> {
        let mut total = 0;
        while let Some(chunk) = self.read_chunk(usize::MAX).await? {
            total += chunk.len() as u64;
        }
        Ok(total)
    }
}
