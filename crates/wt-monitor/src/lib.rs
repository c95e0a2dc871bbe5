//! Watches WebTransport clients, servers and datagram transports.
//!
//! This crate has no API yet. It will hold one generic monitor with bounded history, alert rules as
//! data and health status, on top of what `wt-core` counts.

#[cfg(feature = "http")]
pub mod http;
