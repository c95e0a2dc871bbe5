//! WebTransport server: bind, accept or refuse session requests.
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

mod server;

pub use server::Server;
pub use wt_core::{
    Accept, AnswerError, BiStream, BindError, RecvStream, RefusalCause, Refusals, SendStream,
    Session, SessionError, SessionRequest,
    config::{Limits, ServerConfig, SessionConfig, TransportConfig},
    tls::{ClientAuth, Identity},
};
