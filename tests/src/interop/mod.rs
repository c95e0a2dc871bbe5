//! The programs `interop-server` and `interop-client`.
//!
//! - [`runner`]: their part in the public QUIC interop runner, told by the environment;
//! - [`site`]: a server with the paths that other runners and the web-platform tests ask for: [`echo`],
//!   [`baton`] and the handlers in [`wpt`], or those of PyWebTransport's own tests, [`pywebtransport`];
//! - [`echo`] and [`baton`] also play the client.

pub mod baton;
pub mod echo;
pub mod pywebtransport;
pub mod runner;
pub mod site;
pub mod wpt;

use std::error::Error;
use std::io;

use tracing_subscriber::EnvFilter;

/// Any failure, for people to read.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Sends the log to standard error; `RUST_LOG` chooses what of it.
pub fn init_log() {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_writer(io::stderr)
        .init();
}

/// Whether TLS secrets are to be written; the file's name is read elsewhere.
fn wants_key_log() -> bool {
    std::env::var_os("SSLKEYLOGFILE").is_some()
}

/// Waits until somebody wants this program to end: SIGINT or SIGTERM.
///
/// # Errors
///
/// What the system says when signals cannot be waited for.
pub async fn end_asked() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}
