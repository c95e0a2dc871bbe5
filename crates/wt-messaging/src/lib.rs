//! Structured messages, RPC and publish-subscribe over WebTransport.
//!
//! | Module | Has |
//! |---|---|
//! | [`pubsub`] | publish-subscribe: client and broker |
//! | [`rpc`] | calls in both directions |
//! | [`serializer`] | JSON, MessagePack and Protobuf behind one interface |
//! | [`structured`] | whole messages of an application on streams and in datagrams |
//!
//! All of it speaks the formats of PyWebTransport 0.8.
//!
//! # Features
//!
//! | Feature | Default | Brings |
//! |---|---|---|
//! | `msgpack` | no | the serializer `MessagePack` |
//! | `protobuf` | no | the serializer `Protobuf` |
//! | `ring` | yes | cryptography by ring |
//! | `aws-lc-rs` | no | cryptography by aws-lc-rs, which takes precedence |

#[doc(hidden)]
pub mod __private;
mod fault;
mod frame;
pub mod pubsub;
pub mod rpc;
pub mod serializer;
pub mod structured;
