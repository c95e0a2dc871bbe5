//! Middleware: what sees a request before its handler, and the session from outside.
//!
//! Routing and handling are a [`tower_service::Service`] that makes a [`Response`] of a [`Request`],
//! so middleware is a [`tower_layer::Layer`], and composes as layers do
//! (`tower::ServiceBuilder`). There are four ways to get one:
//!
//! - those that are here: [`Auth`], [`Origins`], [`RateLimit`], [`SessionsPerPeer`],
//!   [`Subprotocols`], [`AccessLog`];
//! - [`from_fn`], an async function of the request and of what comes [`Next`];
//! - [`Guard`], which lets a request pass or refuses it, made a layer by [`guard`];
//! - layers of `tower` and `tower-http` that are generic over the bodies: time-outs, load shedding,
//!   concurrency limits, mapping, request ids, header fields. Their errors refuse the session with
//!   503.
//!
//! # Where layers end
//!
//! A layer wraps the *decision*: its future is ready as soon as the answer is there, which is before
//! the session begins. `tower`'s time-out limits how long a request waits for its answer, not how
//! long a session lasts; its concurrency limit counts requests, not sessions. Middleware that means
//! the session wraps the [`Outcome`](crate::Outcome::wrap) in the answer:
//!
//! ```
//! use std::time::Duration;
//! use wt_server::{Close, IntoEnding, Request, Response, Router, Session, middleware::{self, Next}};
//!
//! /// Ends sessions after an hour.
//! async fn an_hour(request: Request, next: Next) -> Response {
//!     next.run(request).await.map(|outcome| {
//!         outcome.wrap(|_session, serving| async {
//!             let limit = Duration::from_secs(3600);
//!             let late = |_| Close::new(4008, "time is up").into_ending();
//!             tokio::time::timeout(limit, serving).await.unwrap_or_else(late)
//!         })
//!     })
//! }
//!
//! let router: Router = Router::new()
//!     .route("/chat", async |session: Session| drop(session.closed().await))
//!     .layer(middleware::from_fn(an_hour));
//! ```
//!
//! Layers that read bodies (compression, tracing of bodies) do not fit: there are none.
//!
//! # Order
//!
//! The layer that was added last sees the request first, and the answer last.

mod access_log;
mod auth;
mod from_fn;
mod guard;
mod origin;
mod rate_limit;
mod sessions_per_peer;
mod subprotocols;

pub use self::{
    access_log::{AccessLog, AccessLogService},
    auth::{Auth, AuthError},
    from_fn::{FromFn, FromFnLayer, Middleware, Next, from_fn, from_fn_with_state},
    guard::{Guard, GuardLayer, Guarded, guard},
    origin::{InvalidOrigin, Origins},
    rate_limit::RateLimit,
    sessions_per_peer::{SessionsPerPeer, SessionsPerPeerService},
    subprotocols::{Subprotocols, SubprotocolsService},
};
use crate::message::Request;
#[cfg(doc)]
use crate::message::Response;
pub use wt_core::PeerKey;

/// Returns the address that a request counts for.
fn peer(request: &Request) -> PeerKey {
    PeerKey::new(request.body().remote_address().ip())
}
