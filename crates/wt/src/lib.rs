//! WebTransport for Rust: clients and servers for browsers and native programs.
//!
//! This is the facade: one name for the layers of the stack, chosen by cargo features. What most
//! programs need is at the root, the rest is in the module of its layer.
//!
//! # A server
//!
//! ```no_run
//! use wt::{Identity, ServerApp, ServerConfig, Session, server::extract::Path};
//!
//! async fn chat(session: Session, Path(room): Path<String>) {
//!     println!("{} enters {room}", session.remote_address());
//!     session.closed().await;
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let config = ServerConfig::new(Identity::self_signed(["localhost"])?);
//!     ServerApp::new(config).route("/chat/{room}", chat).serve().await?;
//!     Ok(())
//! }
//! ```
//!
//! Or by hand, one request after the other:
//!
//! ```no_run
//! use wt::{Identity, Server, ServerConfig};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let server = Server::bind(&ServerConfig::new(Identity::self_signed(["localhost"])?))?;
//!     while let Some(request) = server.accept().await {
//!         tokio::spawn(async move {
//!             let Ok(session) = request.accept().await else { return };
//!             while let Ok(mut stream) = session.accept_bi().await {
//!                 if tokio::io::copy(&mut stream.recv, &mut stream.send).await.is_ok() {
//!                     let _ = stream.send.finish();
//!                 }
//!             }
//!         });
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # A client
//!
//! ```no_run
//! use wt::{Client, ClientConfig};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let client = Client::new(ClientConfig::new())?;
//!     let session = client.connect("https://example.com/").await?;
//!     let mut stream = session.open_bi().await?;
//!     stream.send.write_all(b"hello").await?;
//!     stream.send.finish()?;
//!     println!("{:?}", stream.recv.read_to_end(64 * 1024).await?);
//!     session.close(0, "done");
//!     client.close().await;
//!     Ok(())
//! }
//! ```
//!
//! # Features
//!
//! | Feature | Default | Brings |
//! |---|---|---|
//! | `client` | yes | [`Client`], and what stands on it: [`client`] |
//! | `server` | yes | [`ServerApp`], [`Server`] |
//! | `qlog` | no | what QUIC does, packet by packet, in files |
//! | `serde` | no | configurations read from files and written |
//! | `ring` | yes | cryptography by ring |
//! | `aws-lc-rs` | no | cryptography by aws-lc-rs, which takes precedence |
//! | `datagram` | no | `wt::datagram`: queues, priorities and reliability for datagrams |
//! | `messaging` | no | `wt::messaging`: structured messages, RPC, publish-subscribe |
//! | `msgpack`, `protobuf` | no | MessagePack and Protobuf for messages, besides JSON |
//! | `monitor` | no | `wt::monitor`: history, alerts and health of clients, servers and datagram transports |
//! | `metrics` | no | `wt::monitor::metrics`: figures through the crate `metrics` |
//! | `prometheus` | no | those figures for Prometheus, on a page: `wt::monitor::http` |
//! | `dashboard` | no | samples on a route, and a page that shows them: `wt::monitor::feed`, `wt::monitor::dashboard` |

#[cfg(feature = "client")]
pub use wt_client as client;
#[cfg(feature = "client")]
pub use wt_client::{
    BalancerConfig, Browser, Client, ClientConfig, ClientFleet, ConnectionPool, LoadBalancer,
    PoolConfig, ReconnectEvent, ReconnectingClient, RetryPolicy, SessionPool, Strategy, StreamPool,
};
pub use wt_core as core;
pub use wt_core::{
    Accept, BiStream, ConnectError, ConnectionError, ConnectionState, Dialect, DialectSet,
    ErrorCode, IncomingStream, Initiator, ProtocolViolation, ReadError, RecvStream,
    SendDatagramError, SendStream, Session, SessionError, SessionId, SessionRequest, SessionState,
    StreamDirection, StreamId, StreamState, WriteError, bytes, config,
    events::{self, Emitter, Event, EventKind, Events},
    fault::{self, Category, Fault},
    http,
    tls::{CertificateEvent, CertificateHash, Certificates, Identity, ServerVerification},
};
#[cfg(feature = "datagram")]
pub use wt_datagram as datagram;
#[cfg(feature = "messaging")]
pub use wt_messaging as messaging;
#[cfg(feature = "monitor")]
pub use wt_monitor as monitor;
#[cfg(feature = "monitor")]
pub use wt_monitor::{ClientMonitor, DatagramMonitor, Monitor, ServerMonitor};
pub use wt_proto as proto;
#[cfg(feature = "server")]
pub use wt_server as server;
#[cfg(feature = "server")]
pub use wt_server::{Router, Server, ServerApp, ServerConfig};

/// The version of this crate.
#[doc(alias = "__version__")]
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
