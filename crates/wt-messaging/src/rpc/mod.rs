//! Calls in both directions.
//!
//! [`Methods`] says what the peer may call here, [`Rpc`] calls the peer. Both ends of a session are
//! equal: each may serve and call, whoever connected.
//!
//! ```
//! use wt_messaging::rpc::{Methods, Rpc, RpcConfig, RpcError};
//!
//! async fn add(a: i64, b: i64) -> Result<i64, RpcError> {
//!     a.checked_add(b).ok_or_else(|| RpcError::new(1, "too much"))
//! }
//!
//! async fn serve(session: &wt_core::Session) -> Result<(), Box<dyn std::error::Error>> {
//!     let methods = Methods::new().method("add", add);
//!     let rpc = Rpc::accept(session, methods, RpcConfig::new()).await?;
//!     println!("over: {}", rpc.closed().await);
//!     Ok(())
//! }
//!
//! async fn call(session: &wt_core::Session) -> Result<(), Box<dyn std::error::Error>> {
//!     let rpc = Rpc::open(session, Methods::new(), RpcConfig::new()).await?;
//!     let sum: i64 = rpc.call("add", (1, 2)).await?;
//!     assert_eq!(sum, 3);
//!     Ok(())
//! }
//! ```
//!
//! There are two forms. On one stream ([`Rpc::open`], [`Rpc::accept`]) it is what PyWebTransport 0.8
//! speaks: a length of 32 bits and JSON, calls and answers in any order. [`Rpc::over_session`] gives
//! each call a stream of its own, so that a large answer holds up no other. The JSON is that of
//! JSON-RPC 2.0; with [`RpcConfig::strict`] it says so and keeps to it, batches included.

#[doc(hidden)]
pub mod __fuzz;
mod batch;
mod call;
mod config;
mod driver;
mod error;
mod handle;
mod message;
mod methods;
mod multiplex;
mod pending;
mod record;
mod serving;
mod shared;
mod wire;

pub use self::batch::{Answers, Batch, BatchCall};
pub use self::call::Call;
pub use self::config::RpcConfig;
pub use self::error::{CallError, RpcEnd, RpcError, RpcErrorCode};
pub use self::handle::Rpc;
pub use self::methods::{Handler, Methods, Request};
pub use self::record::{RpcErrorResponse, RpcId, RpcRequest, RpcSuccessResponse};
