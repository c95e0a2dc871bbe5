//! The names that the facade gives.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

/// The overview of PyWebTransport, by what its names are here.
#[allow(unused_imports, reason = "that they are there is the test")]
mod overview {
    use std::net::SocketAddr as Address;
    use wt::{
        BiStream as WebTransportStream, Client as WebTransportClient, ClientConfig,
        ConnectError as ClientError, ConnectionError, Emitter as EventEmitter, Event,
        ProtocolViolation as ProtocolError, ReadError, RecvStream as WebTransportReceiveStream,
        SendDatagramError as DatagramError, SendStream as WebTransportSendStream, ServerConfig,
        Session as WebTransportSession, SessionError, WriteError as StreamError,
        config::ConfigError as ConfigurationError, fault::Fault as WebTransportError,
        http::HeaderMap as Headers,
    };
}

#[test]
fn the_version_is_that_of_the_package() {
    assert_eq!(wt::VERSION, env!("CARGO_PKG_VERSION"));
    let mut parts = wt::VERSION.split('.');
    assert!(
        parts
            .by_ref()
            .take(3)
            .all(|part| part.parse::<u32>().is_ok())
    );
    let agent = wt::ClientConfig::new().user_agent.unwrap();
    assert_eq!(agent, format!("wt/{}", wt::VERSION));
}
