//! Pools of streams.

use futures_util::FutureExt;
use wt_core::{BiStream, Session, SessionError};

use super::{Manage, Pool, PoolConfig};
use crate::setting::InvalidSetting;

/// A pool of bidirectional streams of one session, for exchanges that do not end the stream.
///
/// A stream comes back between two exchanges: both halves open, and all that arrived was read. A
/// stream with a byte left over is not lent again, since the next borrower would take it for the
/// answer to its own question; nor is one that either side ended. Whoever gives up in the middle
/// calls [`Pooled::discard`](super::Pooled::discard), or the rest of the answer may arrive later.
pub type StreamPool = Pool<Streams>;

/// Opens the streams of a [`StreamPool`].
#[derive(Debug)]
pub struct Streams(Session);

impl Pool<Streams> {
    /// Makes a pool of streams of `session`.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] when a value of `config` cannot work.
    pub fn new(session: Session, config: PoolConfig) -> Result<Self, InvalidSetting> {
        Self::with_manager(Streams(session), config)
    }
}

impl Manage for Streams {
    type Object = BiStream;
    type Error = SessionError;

    async fn create(&self) -> Result<BiStream, SessionError> {
        self.0.open_bi().await
    }

    fn is_healthy(&self, stream: &mut BiStream) -> bool {
        // Nothing is written, nothing arrives and nobody stops it: everything else is a surprise.
        // Ready is: written as asked; stopped or over; bytes, the end or a reset.
        matches!(stream.send.write(&[]).now_or_never(), Some(Ok(_)))
            && stream.send.stopped().now_or_never().is_none()
            && stream.recv.read_chunk(1).now_or_never().is_none()
    }

    fn dispose(&self, mut stream: BiStream) {
        // An error says that it is over already. Dropping the other half stops it.
        let _ = stream.send.finish();
    }
}
