//! One datagram for many sessions.

use std::sync::Mutex;

use bytes::Bytes;

use crate::{DatagramTransport, Payload, SendOptions, lock::lock};

/// Sends a datagram to many sessions.
///
/// The receivers share one payload, and none of them waits for another: a datagram for which a transport has no room
/// is dropped as its [policy](crate::DropPolicy) says, and counted there. Transports that have ended are removed by the
/// next broadcast.
///
/// The broadcaster holds its transports, and so their sessions, until they end or are removed.
///
/// # Examples
///
/// ```
/// use wt_core::Session;
/// use wt_datagram::{Broadcaster, DatagramTransport, SendOptions};
///
/// fn join(game: &Broadcaster, session: Session) -> Result<(), Box<dyn std::error::Error>> {
///     game.add(&DatagramTransport::new(session)?)?;
///     let report = game.broadcast("somebody joined", SendOptions::new());
///     println!("told {} players", report.sent);
///     Ok(())
/// }
/// ```
#[derive(Debug)]
#[doc(alias = "DatagramBroadcaster")]
pub struct Broadcaster {
    transports: Mutex<Vec<DatagramTransport>>,
    limit: usize,
}

/// What became of a broadcast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Transports that took the datagram.
    pub sent: usize,
    /// Transports that refused it: no room, too large, or no more time.
    pub refused: usize,
    /// Transports that had ended and were removed.
    pub removed: usize,
}

/// Why a transport was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// There are as many as allowed.
    #[error("{limit} transports are there already; make the broadcaster with a higher limit")]
    Full {
        /// How many are allowed.
        limit: usize,
    },
    /// The transport or its session has ended.
    #[error("the transport is closed")]
    Closed,
}

impl Default for Broadcaster {
    fn default() -> Self {
        Self::new()
    }
}

impl Broadcaster {
    /// How many transports a broadcaster holds unless somebody says otherwise.
    pub const LIMIT: usize = 10_000;

    /// Makes a broadcaster for at most [`Self::LIMIT`] transports.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_limit(Self::LIMIT)
    }

    /// Makes a broadcaster for at most so many transports.
    #[must_use]
    pub const fn with_limit(limit: usize) -> Self {
        Self {
            transports: Mutex::new(Vec::new()),
            limit,
        }
    }

    /// Adds a transport; returns whether it was not there yet.
    ///
    /// # Errors
    ///
    /// [`AddError`] when it has ended, or when there are too many.
    #[doc(alias = "add_transport")]
    pub fn add(&self, transport: &DatagramTransport) -> Result<bool, AddError> {
        if transport.is_closed() {
            return Err(AddError::Closed);
        }
        let mut transports = lock(&self.transports);
        if transports.iter().any(|other| other.is_same(transport)) {
            return Ok(false);
        }
        if transports.len() >= self.limit {
            transports.retain(|other| !other.is_closed());
        }
        if transports.len() >= self.limit {
            return Err(AddError::Full { limit: self.limit });
        }
        transports.push(transport.clone());
        Ok(true)
    }

    /// Removes a transport; returns whether it was there. The transport is not closed.
    #[doc(alias = "remove_transport")]
    pub fn remove(&self, transport: &DatagramTransport) -> bool {
        let mut transports = lock(&self.transports);
        let found = transports.iter().position(|other| other.is_same(transport));
        let gone = found.map(|at| transports.swap_remove(at));
        drop(transports);
        gone.is_some()
    }

    /// Returns how many transports there are, those that have ended since the last broadcast among them.
    #[doc(alias = "get_transport_count")]
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.transports).len()
    }

    /// Returns whether there are no transports.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sends a datagram to all transports. Does not wait.
    pub fn broadcast(&self, data: impl Payload, options: SendOptions) -> Report {
        self.send(None, &data.into_bytes(), options)
    }

    /// Sends a datagram to all transports but one, such as that of its author. Does not wait.
    pub fn broadcast_except(
        &self,
        author: &DatagramTransport,
        data: impl Payload,
        options: SendOptions,
    ) -> Report {
        self.send(Some(author), &data.into_bytes(), options)
    }

    fn send(
        &self,
        except: Option<&DatagramTransport>,
        data: &Bytes,
        options: SendOptions,
    ) -> Report {
        let mut report = Report::default();
        let mut gone = Vec::new();
        let mut transports = lock(&self.transports);
        let mut at = 0;
        while let Some(transport) = transports.get(at) {
            let skip = except.is_some_and(|except| except.is_same(transport));
            match (!skip).then(|| transport.try_send_with(data, options)) {
                None => {}
                Some(Ok(())) => report.sent += 1,
                Some(Err(error)) if error.is_fatal() => {
                    report.removed += 1;
                    gone.push(transports.swap_remove(at));
                    continue;
                }
                Some(Err(_)) => report.refused += 1,
            }
            at += 1;
        }
        drop(transports);
        // What goes with the last handle of a transport need not happen under the lock.
        drop(gone);
        report
    }

    /// Removes all transports, without closing them; returns how many.
    #[doc(alias = "shutdown")]
    pub fn clear(&self) -> usize {
        let gone = std::mem::take(&mut *lock(&self.transports));
        gone.len()
    }
}
