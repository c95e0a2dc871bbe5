//! The streams of a session, with a limit of our own.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use wt_proto::{Initiator, StreamId};

use super::{ManagerError, ManagerStats};
use crate::{
    lock::lock,
    session::Session,
    stream::{BiStream, SendStream, StreamStats},
};

/// Opens the streams of a session, at most so many at a time, and tells what streams there are.
///
/// A slot is taken as long as the stream has a handle; there is nothing to give back. Streams of the peer are known as
/// well, and take none. The peer's own limits hold beside this one, and are waited for.
#[derive(Debug)]
pub struct StreamManager {
    session: Session,
    limit: usize,
    /// Streams that are about to be opened.
    opening: Mutex<usize>,
    total: AtomicU64,
    peak: AtomicUsize,
}

impl StreamManager {
    /// How many streams are opened at a time unless [`Self::with_limit`] says otherwise.
    pub const LIMIT: usize = 100;

    /// Opens at most [`Self::LIMIT`] streams of `session` at a time.
    #[must_use]
    pub const fn new(session: Session) -> Self {
        Self::with_limit(session, Self::LIMIT)
    }

    /// Opens at most `limit` streams of `session` at a time.
    #[must_use]
    pub const fn with_limit(session: Session, limit: usize) -> Self {
        Self {
            session,
            limit,
            opening: Mutex::new(0),
            total: AtomicU64::new(0),
            peak: AtomicUsize::new(0),
        }
    }

    /// Returns the session.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// Opens a bidirectional stream.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, no stream was opened and no slot taken.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Full`] at once when all slots are taken, [`ManagerError::Session`] when the session is over.
    #[doc(alias = "create_bidirectional_stream")]
    pub async fn open_bi(&self) -> Result<BiStream, ManagerError> {
        let opening = self.reserve()?;
        let stream = self.session.open_bi().await?;
        opening.done();
        Ok(stream)
    }

    /// Opens a unidirectional stream; otherwise like [`Self::open_bi`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, no stream was opened and no slot taken.
    ///
    /// # Errors
    ///
    /// As [`Self::open_bi`].
    #[doc(alias = "create_unidirectional_stream")]
    pub async fn open_uni(&self) -> Result<SendStream, ManagerError> {
        let opening = self.reserve()?;
        let stream = self.session.open_uni().await?;
        opening.done();
        Ok(stream)
    }

    fn reserve(&self) -> Result<Opening<'_>, ManagerError> {
        let mut opening = lock(&self.opening);
        let taken = self.own() + *opening;
        if taken >= self.limit {
            return Err(ManagerError::Full {
                what: "streams",
                limit: self.limit,
            });
        }
        *opening += 1;
        Ok(Opening(self))
    }

    /// Returns how many streams of our own are open.
    fn own(&self) -> usize {
        let all = self.session.streams();
        let own = all.iter().filter(|info| info.opened_by == Initiator::Local);
        own.count()
    }

    /// Returns what is known of each stream that is open, those of the peer among them, in no particular order.
    #[must_use]
    pub fn all(&self) -> Vec<StreamStats> {
        self.session.stream_stats()
    }

    /// Returns what is known of a stream; `None` when it is not open.
    #[must_use]
    pub fn get(&self, id: StreamId) -> Option<StreamStats> {
        let mut all = self.all().into_iter();
        all.find(|stream| stream.info.id == id)
    }

    /// Returns whether a stream is open.
    #[must_use]
    pub fn contains(&self, id: StreamId) -> bool {
        self.get(id).is_some()
    }

    /// Returns how many streams are open, those of the peer among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.session.streams().len()
    }

    /// Returns whether no stream is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many streams can be opened now.
    #[doc(alias = "semaphore_value")]
    #[must_use]
    pub fn free_slots(&self) -> usize {
        let opening = *lock(&self.opening);
        self.limit.saturating_sub(self.own() + opening)
    }

    /// Returns figures: of streams opened here, but for the states, which are of all.
    #[must_use]
    pub fn stats(&self) -> ManagerStats {
        let current = self.own();
        let total = self.total.load(Relaxed);
        let mut stats = ManagerStats {
            total,
            closed: total.saturating_sub(current as u64),
            current,
            peak: self.peak.load(Relaxed),
            limit: self.limit,
            ..ManagerStats::default()
        };
        for stream in self.all() {
            *stats.states.entry(stream.state.name()).or_default() += 1;
        }
        stats
    }
}

/// A slot, until the session knows the stream.
struct Opening<'a>(&'a StreamManager);

impl Opening<'_> {
    fn done(self) {
        self.0.total.fetch_add(1, Relaxed);
        self.0.peak.fetch_max(self.0.own(), Relaxed);
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        *lock(&self.0.opening) -= 1;
    }
}
