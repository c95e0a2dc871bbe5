//! Structured messages, RPC and publish-subscribe over WebTransport.
//!
//! This crate has no API yet. It will hold serializers, framed messages on streams and datagrams,
//! symmetrical RPC and a publish-subscribe client with its broker, wire compatible with
//! PyWebTransport 0.8.
