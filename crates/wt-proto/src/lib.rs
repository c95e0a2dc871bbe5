//! WebTransport over HTTP/3 as a protocol library: wire formats and state machines.
//!
//! This crate holds everything about WebTransport that can be said without a network: how streams, datagrams, frames,
//! capsules and settings look on the wire, which order they may come in, and which error code answers a peer that
//! breaks a rule. It implements draft-ietf-webtrans-http3-16 and the older drafts still in use, on top of HTTP/3
//! (RFC 9114), QPACK (RFC 9204), extended CONNECT (RFC 9220) and HTTP datagrams (RFC 9297).
//!
//! # Without IO
//!
//! Nothing here opens a socket, reads a clock, spawns a task or is `async`. Bytes that arrived are handed in, and a
//! caller takes out what they mean and what has to be sent next. The same code therefore runs over any QUIC library,
//! and a test can play both ends and decide what time it is.
//!
//! Two rules hold for every decoder:
//!
//! - It answers with a value, with "need more bytes" or with a [`ProtocolViolation`]. An item that is not whole yet is
//!   not consumed; a reader that is fed piece by piece keeps it.
//! - Type and length are read first, meaning comes second. What is unknown is skipped as its bytes arrive and never
//!   stored, however long it says it is.
//!
//! # Modules
//!
//! | Module | Content |
//! |---|---|
//! | [`coding`] | The [`Encode`](coding::Encode) and [`Decode`](coding::Decode) traits and the reserved ("GREASE") numbers |
//! | [`code`] | [`ErrorCode`] and its registry, the mapping of application codes |
//! | [`frame`] | HTTP/3 frames |
//! | [`settings`] | The SETTINGS of every dialect |
//! | [`stream_header`] | The first bytes of unidirectional and bidirectional streams |
//! | [`datagram`] | The session id in front of a datagram |
//! | [`capsule`] | The capsules on the CONNECT stream |
//! | [`head`], [`qpack`], [`subprotocol`], [`priority`] | Requests and responses, their compression, fields with a meaning of their own |
//! | [`dialect`] | The versions of WebTransport in use and how two endpoints settle on one |
//! | [`flow`] | Credit of a session for bytes and streams |
//! | [`early`] | What arrives before its session |
//! | [`connection`] | The state of a connection and of its sessions |
//!
//! The small types everything is written in, [`VarInt`], [`StreamId`], [`SessionId`], [`Side`], [`Dir`], [`ErrorCode`]
//! and [`ProtocolViolation`], are at the root.

mod error;
mod id;
mod session;
mod tlv;
mod varint;

#[cfg(test)]
mod tests;

pub mod capsule;
pub mod code;
pub mod coding;
pub mod connection;
pub mod datagram;
pub mod dialect;
pub mod early;
pub mod flow;
pub mod frame;
pub mod head;
pub mod priority;
pub mod qpack;
pub mod settings;
pub mod stream_header;
pub mod subprotocol;

pub use code::ErrorCode;
pub use dialect::{Dialect, DialectSet, InitialLimits};
pub use error::{ProtocolViolation, Scope};
pub use id::{Dir, InvalidSessionId, SessionId, Side, StreamId};
pub use session::{Counter, FlowInfo, Initiator, SessionEnd, SessionInfo, SessionState};
pub use varint::{VarInt, VarIntBoundsExceeded};
