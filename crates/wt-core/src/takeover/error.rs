//! Why a port could not be taken over.

use std::{io, net::SocketAddr, path::PathBuf};

use crate::error::BindError;

/// Why a port could not be taken over, or prepared for that.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TakeoverError {
    /// There are no Unix sockets on this system.
    #[error("a port can be taken over on systems with Unix sockets only")]
    Unsupported,
    /// The control socket cannot be used.
    #[error("cannot use the control socket {}: {source}", .path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// At the path of the control socket is something else.
    #[error("{} is no socket: give the control socket a path of its own", .path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The control socket belongs to a process of another user.
    #[error("the process at {} belongs to user {uid}: only the same user takes a port over", .path.display())]
    OtherUser {
        /// The path.
        path: PathBuf,
        /// The number of the user.
        uid: u32,
    },
    /// The process at the control socket does not speak this version of the takeover.
    #[error("the process at {} does not speak this version of the takeover: stop it first", .path.display())]
    Version {
        /// The path.
        path: PathBuf,
    },
    /// Too many earlier processes still have connections.
    #[error(
        "more than {} earlier processes still have sessions: try again when some are through",
        super::MAX_EARLIER
    )]
    Busy,
    /// The other process listens on another address.
    #[error(
        "the running process listens on {theirs}, not on {asked}: ask for the same, or for port 0"
    )]
    OtherAddress {
        /// The address that was asked for.
        asked: SocketAddr,
        /// The one that there is.
        theirs: SocketAddr,
    },
    /// The other process did not answer in time.
    #[error("the process at {} does not answer", .path.display())]
    TimedOut {
        /// The path of its control socket.
        path: PathBuf,
    },
    /// The other process took its port back, because this one took too long.
    #[error("the process at {} took its port back", .path.display())]
    TakenBack {
        /// The path of its control socket.
        path: PathBuf,
    },
    /// The system has no random numbers.
    #[error("the system has no random numbers")]
    NoRandomness,
    /// The endpoint cannot be made.
    #[error(transparent)]
    Bind(#[from] BindError),
}
