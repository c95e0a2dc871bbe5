//! The two ends of raw quinn, set up as `wt` sets up its own.

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::{RootCertStore, version::TLS13};
use socket2::{Domain, Protocol, Socket, Type};
use wt::Identity;

use crate::{
    pair::{
        DATAGRAM_RECEIVE_BUFFER, DATAGRAM_SEND_BUFFER, HOST, LOOPBACK, Peer, Result, SOCKET_BUFFER,
        announce,
    },
    runtime::Batching,
    tls::provider,
};

/// Connects to the server.
pub(crate) async fn connect(peer: &Peer, batches: bool) -> Result<quinn::Connection> {
    let mut roots = RootCertStore::empty();
    roots.add(peer.certificate.clone())?;
    let mut tls = rustls::ClientConfig::builder_with_provider(provider(batches))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(quinn_transport());
    let endpoint = endpoint(None, batches)?;
    Ok(endpoint.connect_with(config, peer.address, HOST)?.await?)
}

/// Waits for the one client of a server.
pub(crate) async fn accept(batches: bool) -> Result<quinn::Connection> {
    let identity = Identity::self_signed([HOST])?;
    let mut tls = rustls::ServerConfig::builder_with_provider(provider(batches))
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(identity.chain().to_vec(), identity.key().clone_key())?;
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(quinn_transport());
    let endpoint = endpoint(Some(config), batches)?;
    announce(endpoint.local_addr()?, &identity)?;
    Ok(endpoint.accept().await.ok_or("closed")?.await?)
}

fn quinn_transport() -> Arc<quinn::TransportConfig> {
    let mut transport = quinn::TransportConfig::default();
    transport
        .datagram_send_buffer_size(DATAGRAM_SEND_BUFFER)
        .datagram_receive_buffer_size(Some(DATAGRAM_RECEIVE_BUFFER));
    Arc::new(transport)
}

/// An endpoint of quinn with the socket of a `wt` endpoint, on its own runtime or on that of `wt`.
fn endpoint(server: Option<quinn::ServerConfig>, batches: bool) -> Result<quinn::Endpoint> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.bind(&LOOPBACK.into())?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    let runtime: Arc<dyn quinn::Runtime> = match batches {
        true => Arc::new(Batching::default()),
        false => Arc::new(quinn::TokioRuntime),
    };
    let config = quinn::EndpointConfig::default();
    Ok(quinn::Endpoint::new(
        config,
        server,
        socket.into(),
        runtime,
    )?)
}
