//! QUIC alone: a session is a connection, a stream has no header.

use std::net::SocketAddr;

use bytes::Bytes;
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream};

use super::{
    BoxFuture, Certificate, Client, HOST, Identity, RecvHalf, Result, SendHalf, Server, Session,
    Settings, Stack, client_config, endpoint, server_config,
};

pub(crate) struct Quinn;

impl Stack for Quinn {
    type Server = Endpoint;
    type Client = Dialer;
    type Session = Connection;
}

impl Server for Endpoint {
    type Session = Connection;

    fn bind(identity: &Identity, settings: Settings) -> Result<Self> {
        endpoint(Some(server_config(identity, settings)?), settings)
    }

    fn address(&self) -> Result<SocketAddr> {
        Ok(self.local_addr()?)
    }

    async fn accept(&mut self) -> Option<BoxFuture<Result<Connection>>> {
        let incoming = Self::accept(self).await?;
        Some(Box::pin(async move { Ok(incoming.await?) }))
    }
}

#[derive(Clone)]
pub(crate) struct Dialer {
    endpoint: Endpoint,
    config: ClientConfig,
    server: SocketAddr,
}

impl Client for Dialer {
    type Session = Connection;

    fn bind(server: SocketAddr, certificate: &Certificate, settings: Settings) -> Result<Self> {
        Ok(Self {
            endpoint: endpoint(None, settings)?,
            config: client_config(certificate, settings)?,
            server,
        })
    }

    async fn connect(&self) -> Result<Connection> {
        let config = self.config.clone();
        Ok(self
            .endpoint
            .connect_with(config, self.server, HOST)?
            .await?)
    }
}

impl Session for Connection {
    type Send = SendStream;
    type Recv = RecvStream;

    async fn open_bi(&self) -> Result<(SendStream, RecvStream)> {
        Ok(Self::open_bi(self).await?)
    }

    async fn open_uni(&self) -> Result<SendStream> {
        Ok(Self::open_uni(self).await?)
    }

    async fn accept_bi(&self) -> Result<(SendStream, RecvStream)> {
        Ok(Self::accept_bi(self).await?)
    }

    async fn accept_uni(&self) -> Result<RecvStream> {
        Ok(Self::accept_uni(self).await?)
    }

    fn max_datagram_size(&self) -> usize {
        Self::max_datagram_size(self).unwrap_or(0)
    }

    async fn send_datagram(&self, datagram: &[u8]) -> Result<()> {
        let datagram = Bytes::copy_from_slice(datagram);
        Ok(self.send_datagram_wait(datagram).await?)
    }

    async fn recv_datagram(&self) -> Result<Bytes> {
        Ok(self.read_datagram().await?)
    }

    async fn closed(&self) {
        Self::closed(self).await;
    }

    fn packets_sent(&self) -> u64 {
        self.stats().udp_tx.datagrams
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
        while let Some(chunk) = self.read_chunk(usize::MAX, true).await? {
            total += chunk.bytes.len() as u64;
        }
        Ok(total)
    }
}
