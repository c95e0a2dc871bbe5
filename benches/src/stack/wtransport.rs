//! The crate `wtransport`.

use std::net::SocketAddr;

use bytes::Bytes;
use wtransport::{
    ClientConfig, Connection, Endpoint, RecvStream, SendStream, ServerConfig,
    endpoint::endpoint_side, error::SendDatagramError,
};

use super::{
    BoxFuture, Certificate, Client, HOST, Identity, RecvHalf, Result, SendHalf, Server, Session,
    Settings, Stack, client_config, server_config, socket,
};

pub(crate) struct Wtransport;

impl Stack for Wtransport {
    type Server = Endpoint<endpoint_side::Server>;
    type Client = Dialer;
    type Session = Shared;
}

/// It does not clone.
pub(crate) type Shared = std::sync::Arc<Connection>;

impl Server for Endpoint<endpoint_side::Server> {
    type Session = Shared;

    fn bind(identity: &Identity, settings: Settings) -> Result<Self> {
        let config = ServerConfig::builder()
            .with_bind_socket(socket()?)
            .build_with_quic_config(server_config(identity, settings)?);
        Ok(Self::server(config)?)
    }

    fn address(&self) -> Result<SocketAddr> {
        Ok(self.local_addr()?)
    }

    async fn accept(&mut self) -> Option<BoxFuture<Result<Shared>>> {
        let incoming = Self::accept(self).await;
        Some(Box::pin(async move {
            Ok(incoming.await?.accept().await?.into())
        }))
    }
}

#[derive(Clone)]
pub(crate) struct Dialer {
    endpoint: std::sync::Arc<Endpoint<endpoint_side::Client>>,
    url: String,
}

impl Client for Dialer {
    type Session = Shared;

    fn bind(server: SocketAddr, certificate: &Certificate, settings: Settings) -> Result<Self> {
        let config = ClientConfig::builder()
            .with_bind_socket(socket()?)
            .build_with_quic_config(client_config(certificate, settings)?);
        Ok(Self {
            endpoint: Endpoint::client(config)?.into(),
            url: format!("https://{HOST}:{}/", server.port()),
        })
    }

    async fn connect(&self) -> Result<Shared> {
        Ok(self.endpoint.connect(self.url.as_str()).await?.into())
    }
}

impl Session for Shared {
    type Send = SendStream;
    type Recv = RecvStream;

    async fn open_bi(&self) -> Result<(SendStream, RecvStream)> {
        Ok(Connection::open_bi(self).await?.await?)
    }

    async fn open_uni(&self) -> Result<SendStream> {
        Ok(Connection::open_uni(self).await?.await?)
    }

    async fn accept_bi(&self) -> Result<(SendStream, RecvStream)> {
        Ok(Connection::accept_bi(self).await?)
    }

    async fn accept_uni(&self) -> Result<RecvStream> {
        Ok(Connection::accept_uni(self).await?)
    }

    fn max_datagram_size(&self) -> usize {
        Connection::max_datagram_size(self).unwrap_or(0)
    }

    /// It has no call that waits: this one looks for room in quinn's buffer.
    async fn send_datagram(&self, datagram: &[u8]) -> Result<()> {
        /// More than the prefix of a datagram takes.
        const PREFIX: usize = 8;
        while self.quic_connection().datagram_send_buffer_space() < datagram.len() + PREFIX {
            tokio::task::yield_now().await;
        }
        Connection::send_datagram(self, datagram).map_err(|error| match error {
            SendDatagramError::TooLarge => "a datagram too large".into(),
            other => other.into(),
        })
    }

    async fn recv_datagram(&self) -> Result<Bytes> {
        Ok(self.receive_datagram().await?.payload())
    }

    async fn closed(&self) {
        Connection::closed(self).await;
    }

    fn packets_sent(&self) -> u64 {
        self.quic_connection().stats().udp_tx.datagrams
    }
}

impl SendHalf for SendStream {
    async fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(Self::write_all(self, bytes).await?)
    }

    /// Its own `finish` waits for the peer's acknowledgement, quinn's does not.
    fn finish(&mut self) -> Result<()> {
        Ok(self.quic_stream_mut().finish()?)
    }
}

impl RecvHalf for RecvStream {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>> {
        Ok(Self::read(self, buffer).await?)
    }

    async fn drain(&mut self) -> Result<u64> {
        let mut buffer = vec![0; 64 * 1024];
        let mut total = 0;
        while let Some(read) = Self::read(self, &mut buffer).await? {
            total += read as u64;
        }
        Ok(total)
    }
}
