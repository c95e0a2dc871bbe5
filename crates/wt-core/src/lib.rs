//! WebTransport connections, sessions and streams on quinn and tokio.
//!
//! This crate joins the protocol of [`wt_proto`] to a QUIC stack. It gives nearly direct access to
//! QUIC: after its header a WebTransport stream is a QUIC stream, and one task per connection does
//! everything else. Applications usually come here through `wt-client` and `wt-server`, or through
//! the facade `wt`.
//!
//! | Type | Is |
//! |---|---|
//! | [`Endpoint`] | a UDP socket; accepts and makes connections |
//! | [`Connection`] | a QUIC connection that carries sessions |
//! | [`Session`] | what an application works with: streams, datagrams, and an end with a reason |
//! | [`SessionRequest`] | a session before the server has answered |
//! | [`BiStream`], [`SendStream`], [`RecvStream`] | streams; they implement tokio's IO traits |
//!
//! Handles are cheap clones. The last one closes what it stands for.

pub mod config;
mod connection;
pub mod diagnostics;
mod endpoint;
mod error;
pub mod events;
pub mod fault;
mod gate;
mod lock;
pub mod manager;
pub mod observe;
mod qlog;
mod quic;
mod refusal;
mod report;
mod runtime;
mod session;
mod state;
mod stats;
mod stream;
pub mod takeover;
pub mod tls;
pub mod util;

/// Buffers, as the methods here take and give them.
pub use bytes;
pub use connection::{Connection, WeakConnection};
pub use endpoint::{Endpoint, Incoming};
pub use error::{BindError, ConnectError, ConnectionError, SessionError};
pub use gate::PeerKey;
/// Status codes and header fields, as the methods here take and give them.
pub use http;
pub use refusal::{RefusalCause, Refusals};
pub use report::{DatagramDrop, EndpointReport, HandshakeOutcome, Handshakes, Holdings, Traffic};
pub use session::{
    Accept, AnswerError, DatagramClaim, ExportError, IncomingStream, SendDatagramError, Session,
    SessionRequest, WeakSession,
};
pub use state::{ConnectionState, StreamDirection, StreamState};
pub use stats::{ConnectionStats, EndpointStats, SessionStats};
pub use stream::{
    BiStream, OperationStats, ReadError, ReadExactError, ReadToEndError, ReadUntilError,
    RecvStream, SendStream, StopError, StreamInfo, StreamStats, StreamWatch, WriteError,
};
pub use wt_proto::{
    Dialect, DialectSet, Dir, ErrorCode, Initiator, ProtocolViolation, SessionId, SessionInfo,
    SessionState, StreamId,
};
