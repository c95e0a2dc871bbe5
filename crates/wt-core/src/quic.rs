//! Where our configuration becomes quinn's.
//!
//! Nothing else in the crate knows how quinn is configured. The functions expect a configuration that passed its
//! `validate`; values that QUIC cannot encode would be cut to what it can.

mod crypto;
#[cfg(unix)]
mod ids;
#[cfg(unix)]
mod passing;
#[cfg(unix)]
mod switch;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{IdleTimeout, MtuDiscoveryConfig, VarInt, congestion};
use socket2::{Domain, Protocol, Socket, Type};
use tracing::debug;

#[cfg(unix)]
pub(crate) use self::{
    ids::{Secrets, Tag},
    switch::{Elder, Switch},
};
use crate::config::{ClientConfig, Congestion, ServerConfig, TransportConfig};
use crate::qlog::Qlog;
use crate::runtime::Batching;
use crate::tls::{self, Certificates, TlsError};

/// QUIC version 1 (RFC 9000), the one version that HTTP/3 runs on here.
const QUIC_V1: u32 = 1;

/// Bytes kept for one handshake that was not accepted yet. Nothing but a client's first flight comes before that.
const INCOMING_BUFFER: u64 = 64 * 1024;

/// Makes the configuration with which an endpoint accepts connections.
pub(crate) fn server_config(
    config: &ServerConfig,
    certificates: &Certificates,
    qlog: &Qlog,
) -> Result<quinn::ServerConfig, TlsError> {
    let mut quic = quinn::ServerConfig::with_crypto(server_crypto(config, certificates)?);
    quic.transport_config(transport(&config.transport, qlog))
        .max_incoming(config.transport.max_incoming)
        .incoming_buffer_size(INCOMING_BUFFER.min(config.transport.incoming_buffer))
        .incoming_buffer_size_total(config.transport.incoming_buffer);
    Ok(quic)
}

/// Makes the configuration with which an endpoint connects.
pub(crate) fn client_config(
    config: &ClientConfig,
    qlog: &Qlog,
) -> Result<quinn::ClientConfig, TlsError> {
    let mut quic = quinn::ClientConfig::new(client_crypto(config)?);
    quic.transport_config(transport(&config.transport, qlog));
    Ok(quic)
}

/// Makes what drives the TLS handshakes of a server's connections.
fn server_crypto(
    config: &ServerConfig,
    certificates: &Certificates,
) -> Result<Arc<dyn quinn::crypto::ServerConfig>, TlsError> {
    let tls = tls::server(config, certificates.shown())?;
    Ok(Arc::new(crypto::Server::new(tls, certificates.clone())?))
}

/// Makes what drives the TLS handshakes of a client's connections.
fn client_crypto(config: &ClientConfig) -> Result<Arc<dyn quinn::crypto::ClientConfig>, TlsError> {
    let tls = tls::client(config)?;
    let quic = QuicClientConfig::try_from(tls).map_err(|_| TlsError::NoInitialCipherSuite)?;
    Ok(Arc::new(quic))
}

/// Makes the settings of one side of a connection.
///
/// Stream credit starts at `initial`; raising it is left to the connection's driver.
pub(crate) fn transport(config: &TransportConfig, qlog: &Qlog) -> Arc<quinn::TransportConfig> {
    let mut quic = quinn::TransportConfig::default();
    quic.max_idle_timeout(config.idle_timeout.map(idle_timeout))
        .keep_alive_interval(config.keep_alive)
        .stream_receive_window(varint(config.stream_receive_window))
        .receive_window(varint(config.receive_window))
        .send_window(config.send_window)
        .max_concurrent_bidi_streams(varint(config.streams_bidi.initial))
        .max_concurrent_uni_streams(varint(config.streams_uni.initial))
        .datagram_send_buffer_size(config.datagram_send_buffer)
        .datagram_receive_buffer_size(Some(config.datagram_receive_buffer))
        .initial_mtu(config.initial_mtu)
        .mtu_discovery_config(mtu_discovery(config))
        .congestion_controller_factory(congestion(config.congestion));
    qlog.set(&mut quic);
    Arc::new(quic)
}

/// Makes the settings that all connections of an endpoint share.
pub(crate) fn endpoint_config(config: &TransportConfig) -> quinn::EndpointConfig {
    let mut quic = quinn::EndpointConfig::default();
    quic.supported_versions(vec![QUIC_V1]);
    if u64::from(config.mtu_upper_bound) > quic.get_max_udp_payload_size() {
        // The only error is a size below 1200.
        let _ = quic.max_udp_payload_size(config.mtu_upper_bound);
    }
    quic
}

/// Returns what runs the endpoint's tasks and timers.
pub(crate) fn runtime(config: &TransportConfig) -> Arc<dyn quinn::Runtime> {
    if config.batch_packets {
        Arc::new(Batching::default())
    } else {
        Arc::new(quinn::TokioRuntime)
    }
}

/// Opens the UDP socket of an endpoint.
///
/// `[::]` takes IPv4 too; where there is no IPv6, `0.0.0.0` takes its place.
pub(crate) fn bind_socket(address: SocketAddr, config: &TransportConfig) -> io::Result<UdpSocket> {
    let socket = match bind(address) {
        Err(error) if address.ip().is_unspecified() && lacks_ipv6(address, &error) => {
            debug!(%error, "no IPv6, binding an IPv4 address");
            bind((Ipv4Addr::UNSPECIFIED, address.port()).into())?
        }
        bound => bound?,
    };
    ask_for_buffers(&socket, config.socket_buffer);
    Ok(socket.into())
}

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Whether binding failed for want of IPv6, and not because the port is in use or may not be used.
fn lacks_ipv6(address: SocketAddr, error: &io::Error) -> bool {
    use io::ErrorKind::{AddrInUse, PermissionDenied};
    address.is_ipv6() && !matches!(error.kind(), AddrInUse | PermissionDenied)
}

/// Asks for large socket buffers, which save packets under load. What the system refuses is not an error.
fn ask_for_buffers(socket: &Socket, bytes: usize) {
    if bytes == 0 {
        return;
    }
    for (kind, result, granted) in [
        (
            "receive",
            socket.set_recv_buffer_size(bytes),
            socket.recv_buffer_size(),
        ),
        (
            "send",
            socket.set_send_buffer_size(bytes),
            socket.send_buffer_size(),
        ),
    ] {
        let granted = granted.unwrap_or_default();
        if result.is_err() || granted < bytes {
            debug!(
                kind,
                asked = bytes,
                granted,
                "socket buffer is smaller than asked for"
            );
        }
    }
}

fn mtu_discovery(config: &TransportConfig) -> Option<MtuDiscoveryConfig> {
    if config.mtu_upper_bound <= config.initial_mtu {
        return None;
    }
    let mut discovery = MtuDiscoveryConfig::default();
    discovery
        .upper_bound(config.mtu_upper_bound)
        .minimum_change(config.mtu_minimum_change);
    Some(discovery)
}

fn congestion(congestion: Congestion) -> Arc<dyn congestion::ControllerFactory + Send + Sync> {
    match congestion {
        Congestion::Cubic => Arc::new(congestion::CubicConfig::default()),
        Congestion::NewReno => Arc::new(congestion::NewRenoConfig::default()),
        Congestion::Bbr => Arc::new(congestion::BbrConfig::default()),
    }
}

fn idle_timeout(timeout: Duration) -> IdleTimeout {
    IdleTimeout::try_from(timeout).unwrap_or_else(|_| VarInt::MAX.into())
}

fn varint(value: u64) -> VarInt {
    VarInt::from_u64(value).unwrap_or(VarInt::MAX)
}

#[cfg(test)]
mod tests;
