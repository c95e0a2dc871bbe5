//! A new process takes the port of a running one over, and no session is cut off for it.
//!
//! The two meet at a *control socket*, a Unix socket at a path that both are given. The old process
//! gives its UDP socket away and from then on reads nothing from it. The new one reads it for both:
//! what belongs to connections of the old process it passes on. Which those are it sees by their
//! connection ids, wherever a client has moved to meanwhile. The old process goes on with the sessions
//! that it has, shuts down in its own time, and leaves.
//!
//! ```no_run
//! use wt_core::{Endpoint, config::ServerConfig, takeover::Takeover};
//!
//! # async fn run(config: ServerConfig) -> Result<(), Box<dyn std::error::Error>> {
//! let takeover = Takeover::begin("/run/chat/control").await?;
//! let (endpoint, pending) = takeover.server(&config)?;
//! // Everything that may fail comes here; until now the old process serves.
//! let handover = pending.complete().await?;
//! // Now this process serves, until the next one comes.
//! handover.handed_over().await;
//! # drop(endpoint);
//! # Ok(())
//! # }
//! ```
//!
//! For systems with Unix sockets; elsewhere [`Takeover::begin`] fails with
//! [`TakeoverError::Unsupported`].

#[cfg(unix)]
mod control;
mod error;
#[cfg(unix)]
mod messages;
#[cfg(unix)]
mod path;
#[cfg_attr(not(unix), path = "elsewhere.rs")]
pub(crate) mod unix;

use std::path::PathBuf;

pub use self::error::TakeoverError;
use crate::{config::ServerConfig, endpoint::Endpoint};

/// How many earlier processes may still have connections when another one takes over.
pub const MAX_EARLIER: usize = 8;

/// What happened to packets of connections that earlier processes have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PassedOn {
    /// UDP datagrams that were passed on.
    pub passed: u64,
    /// UDP datagrams for which there was no room, as if the network had lost them.
    pub lost: u64,
}

/// The beginning of a takeover: the process that has the port was asked, and goes on serving.
///
/// Dropping it calls the takeover off.
#[derive(Debug)]
pub struct Takeover(unix::Takeover);

impl Takeover {
    /// Looks for a process that listens on the control socket at `path`, and asks it for its port.
    ///
    /// When there is none, because nothing is at `path` or what is there was left behind by a process
    /// that is gone, the port will be bound as usual.
    ///
    /// The control socket can be used by processes of the same user only. It is created with mode
    /// 0600; let its folder be one that nobody else can write to. Its path is shorter than about 90
    /// bytes.
    ///
    /// # Errors
    ///
    /// See [`TakeoverError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, the other process goes on.
    pub async fn begin(path: impl Into<PathBuf>) -> Result<Self, TakeoverError> {
        unix::Takeover::begin(path.into()).await.map(Self)
    }

    /// Returns whether there is a process to take the port from.
    #[must_use]
    pub const fn has_predecessor(&self) -> bool {
        self.0.has_predecessor()
    }

    /// Makes the endpoint of a server on the port that is taken over, or binds it.
    ///
    /// One that takes over gets no packets before [`PendingTakeover::complete`].
    ///
    /// # Errors
    ///
    /// See [`TakeoverError`]; among them that `config` asks for another address than the one that the
    /// other process has. Port 0 takes any.
    pub fn server(
        self,
        config: &ServerConfig,
    ) -> Result<(Endpoint, PendingTakeover), TakeoverError> {
        let (endpoint, pending) = Endpoint::taking_over(config, self.0)?;
        Ok((endpoint, PendingTakeover(pending)))
    }
}

/// A takeover that can be completed.
///
/// Dropping it calls the takeover off.
#[derive(Debug)]
#[must_use = "the other process has the port until the takeover is completed"]
pub struct PendingTakeover(pub(crate) unix::Pending);

impl PendingTakeover {
    /// Takes the port: the other process stops to read, this one begins, and the other one is told to
    /// finish. Then listens on the control socket for the next.
    ///
    /// Call it when everything is there to serve clients. No packet is lost between the two, and when
    /// one of them fails in the middle, the other one serves.
    ///
    /// # Errors
    ///
    /// See [`TakeoverError`]. The endpoint is of no use then: drop it.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: if the future is dropped, the other process serves on, unless it was told that
    /// it need not already. Drop the endpoint too.
    pub async fn complete(self) -> Result<Handover, TakeoverError> {
        self.0.complete().await.map(Handover)
    }
}

/// What is ready to hand the port over to the next process.
///
/// One task listens on the control socket. It ends when the port was handed over, or when this is
/// dropped, and the file of the control socket goes with it.
#[derive(Debug)]
pub struct Handover(unix::Handover);

impl Handover {
    /// Waits until another process has taken the port over: it accepts clients by then.
    ///
    /// From now on no client comes here. Connections go on as if nothing had happened for as long as
    /// the other process runs: have their sessions finish, and end the process.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn handed_over(&self) {
        self.0.handed_over().await;
    }

    /// Returns whether another process has taken the port over.
    #[must_use]
    pub fn is_handed_over(&self) -> bool {
        self.0.is_handed_over()
    }

    /// Returns how many packets were passed on to earlier processes so far.
    #[must_use]
    pub fn passed_on(&self) -> PassedOn {
        let (passed, lost) = self.0.counts();
        PassedOn { passed, lost }
    }
}
