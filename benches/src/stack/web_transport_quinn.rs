//! The crate `web-transport-quinn`.

use std::net::SocketAddr;

use bytes::Bytes;
use url::Url;
use web_transport_quinn::{RecvStream, SendStream};

use super::{
    BoxFuture, Certificate, Client, HOST, Identity, RecvHalf, Result, SendHalf, Server, Session,
    Settings, Stack, client_config, endpoint, server_config,
};

pub(crate) struct WebTransportQuinn;

impl Stack for WebTransportQuinn {
    type Server = web_transport_quinn::Server;
    type Client = Dialer;
    type Session = web_transport_quinn::Session;
}

impl Server for web_transport_quinn::Server {
    type Session = web_transport_quinn::Session;

    fn bind(identity: &Identity, settings: Settings) -> Result<Self> {
        let config = server_config(identity, settings)?;
        Ok(Self::new(endpoint(Some(config), settings)?))
    }

    fn address(&self) -> Result<SocketAddr> {
        Ok(self.local_addr()?)
    }

    async fn accept(&mut self) -> Option<BoxFuture<Result<Self::Session>>> {
        let request = Self::accept(self).await?;
        Some(Box::pin(async move { Ok(request.ok().await?) }))
    }
}

#[derive(Clone)]
pub(crate) struct Dialer {
    client: web_transport_quinn::Client,
    url: Url,
}

impl Client for Dialer {
    type Session = web_transport_quinn::Session;

    fn bind(server: SocketAddr, certificate: &Certificate, settings: Settings) -> Result<Self> {
        let config = client_config(certificate, settings)?;
        Ok(Self {
            client: web_transport_quinn::Client::new(endpoint(None, settings)?, config),
            url: format!("https://{HOST}:{}/", server.port()).parse()?,
        })
    }

    async fn connect(&self) -> Result<Self::Session> {
        Ok(self.client.connect(self.url.clone()).await?)
    }
}

impl Session for web_transport_quinn::Session {
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
        Self::max_datagram_size(self)
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
        let connection: &quinn::Connection = self;
        connection.stats().udp_tx.datagrams
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
