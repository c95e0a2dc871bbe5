//! WebTransport server: an application of routes and handlers, or session requests taken by hand.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use wt_server::{BoxError, Identity, ServerApp, ServerConfig, Session, extract::Path};
//!
//! async fn greet(session: Session, Path(name): Path<String>) -> Result<(), BoxError> {
//!     let mut stream = session.open_uni().await?;
//!     stream.write_all(format!("hello, {name}").as_bytes()).await?;
//!     stream.finish()?;
//!     // The end of the handler closes the session: leave it to the client, which reads first.
//!     session.closed().await;
//!     Ok(())
//! }
//!
//! let config = ServerConfig::new(Identity::self_signed(["localhost"])?);
//! ServerApp::new(config).route("/greet/{name}", greet).serve().await?;
//! # Ok(())
//! # }
//! ```
//!
//! | Type | Is |
//! |---|---|
//! | [`ServerApp`] | routes, middleware, startup and shutdown; runs until it is told to stop |
//! | [`Router`] | which [`Handler`] answers which path |
//! | [`extract`] | what the arguments of handlers are made from |
//! | [`middleware`] | what sees requests before handlers do: authentication, limits, logs |
//! | [`ServerCluster`] | the same routes on several addresses |
//! | [`Server`] | the server beneath, whose requests are taken one by one |
//!
//! # By hand
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use wt_server::{Identity, Server, ServerConfig};
//!
//! let server = Server::bind(&ServerConfig::new(Identity::self_signed(["localhost"])?))?;
//! while let Some(request) = server.accept().await {
//!     tokio::spawn(async move {
//!         let Ok(session) = request.accept().await else { return };
//!         while let Ok(stream) = session.accept_bi().await {
//!             let (mut send, mut recv) = stream.split();
//!             let _ = tokio::io::copy(&mut recv, &mut send).await;
//!             let _ = send.finish();
//!         }
//!     });
//! }
//! # Ok(())
//! # }
//! ```

mod app;
mod cluster;
pub mod extract;
mod handler;
mod message;
#[cfg(feature = "metrics")]
mod metrics;
pub mod middleware;
mod response;
mod routing;
mod server;

pub use app::{
    AppConfig, AppError, AppStats, AppWatch, HookResult, Resource, RunningApp, ServerApp,
};
pub use cluster::{ClusterStats, ServerCluster};
pub use handler::{Close, Decide, Ending, Handler, IntoEnding, decide};
pub use message::{BoxError, Outcome, Peer, Request, Response, accept, refuse};
#[cfg(feature = "metrics")]
pub use metrics::HandlerTimer;
pub use response::IntoResponse;
pub use routing::{Route, RouteError, RouteStats, Router, Routes};
pub use server::{Issue, Server, ServerDiagnostics, ServerStats, Shutdown};
/// Status codes and header fields, as requests and answers have them.
pub use wt_core::http;
pub use wt_core::{
    Accept, AnswerError, BiStream, BindError, RecvStream, RefusalCause, Refusals, SendStream,
    Session, SessionError, SessionRequest,
    config::{CertificateConfig, Limits, ServerConfig, SessionConfig, TransportConfig},
    tls::{
        CertificateEvent, CertificateIssue, CertificateStatus, Certificates, ClientAuth, Identity,
    },
};
