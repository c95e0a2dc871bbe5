//! WebTransport client: connect to a URL and get a session.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use wt_client::{Client, ClientConfig};
//!
//! let client = Client::new(ClientConfig::new())?;
//! let session = client.connect("https://example.com/chat?room=7").await?;
//! let mut stream = session.open_bi().await?;
//! stream.send.write_all(b"hello").await?;
//! stream.send.finish()?;
//! println!("{:?}", stream.recv.read_to_end(64 * 1024).await?);
//! session.close(0, "done");
//! client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! What stands on it:
//!
//! | Type | Is |
//! |---|---|
//! | [`ReconnectingClient`] | a session that is made again whenever it is lost |
//! | [`LoadBalancer`] | sessions spread over several servers |
//! | [`ClientFleet`] | several clients used as one |
//! | [`Browser`] | one session at a time, with a history |
//! | [`pool`] | connections, sessions and streams to borrow |

mod balance;
mod browser;
mod client;
mod connect;
mod dial;
mod fault;
mod fleet;
mod lock;
mod making;
mod observe;
pub mod pool;
mod reconnect;
mod setting;
mod slot;
mod stats;
mod target;
mod track;

pub use balance::{
    BalanceError, BalancerConfig, BalancerStats, LoadBalancer, Strategy, TargetStats,
    UnknownStrategy,
};
pub use browser::Browser;
pub use client::Client;
pub use connect::{Connect, ConnectError};
pub use fleet::{ClientFleet, FleetError};
pub use making::{Dial, Open};
pub use pool::{ConnectionPool, PoolConfig, PoolError, SessionPool, StreamPool};
pub use reconnect::{
    ConnectFailure, ReconnectError, ReconnectEvent, ReconnectStats, ReconnectingClient, RetryPolicy,
};
pub use setting::InvalidSetting;
pub use stats::{ClientDiagnostics, ClientIssue, ClientStats, ConnectionStates};
pub use target::{InvalidUrl, Target};
pub use wt_core::{
    BiStream, BindError, IncomingStream, RecvStream, SendStream, Session, SessionError,
    config::{ClientConfig, Limits, ProxyConfig, SessionConfig, TransportConfig},
    tls::{CertificateHash, Identity, ServerVerification},
};
