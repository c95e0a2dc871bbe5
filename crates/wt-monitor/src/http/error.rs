//! Why a listener could not start.

use std::{io, net::SocketAddr, sync::Arc};

use wt_core::config::ConfigError;

/// An [`HttpListener`](super::HttpListener) could not start.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The address cannot be listened on: it is in use, not of this machine, or not allowed.
    #[error("cannot listen for HTTP on {address} (TCP)")]
    Bind {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// A page cannot be served as it was registered.
    #[error("cannot serve a page at {path:?}: {reason}")]
    Page {
        /// Its path.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The configuration holds a value that cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
}
