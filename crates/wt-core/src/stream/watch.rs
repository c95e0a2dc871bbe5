//! Looking at a stream that is in use elsewhere.

use std::sync::{Arc, Weak};

use wt_proto::SessionId;

use super::{Half, Slot, StreamStats};
use crate::{
    diagnostics::StreamThresholds,
    observe::{Observe, Snapshot, State},
    session::Shared,
    state::StreamState,
};

/// Looks at a stream whose handles are in use elsewhere.
///
/// A cheap handle, which keeps neither the stream nor its session alive.
#[derive(Clone, Debug)]
pub struct StreamWatch {
    slot: Arc<Slot>,
    session: SessionId,
    shared: Weak<Shared>,
}

impl StreamWatch {
    pub(super) fn new(half: &Half) -> Self {
        let shared = half.session.arc();
        Self {
            slot: half.slot.clone(),
            session: shared.id,
            shared: Arc::downgrade(shared),
        }
    }

    /// Returns figures of the stream.
    #[must_use]
    pub fn stats(&self) -> StreamStats {
        let shared = self.shared.upgrade();
        let ended = shared.is_none_or(|shared| shared.end().is_some());
        self.slot.stats(self.session, ended)
    }
}

impl Observe for StreamWatch {
    fn observe(&self) -> Snapshot {
        let stats = self.stats();
        let state = match stats.state {
            StreamState::Open => State::Active,
            StreamState::HalfClosedLocal | StreamState::HalfClosedRemote => State::Draining,
            StreamState::Closed => State::Closed,
            StreamState::ResetSent | StreamState::ResetReceived => State::Failed,
        };
        let id = format!("{}/{}", stats.info.session, stats.info.id);
        Snapshot::new("stream", id, state)
            .with_uptime(stats.info.age)
            .with_counter("sent_bytes", stats.info.bytes_sent)
            .with_counter("received_bytes", stats.info.bytes_received)
            .with_counter("reads", stats.reads.count)
            .with_counter("read_errors", stats.reads.errors)
            .with_seconds("average_read_seconds", stats.reads.average())
            .with_counter("writes", stats.writes.count)
            .with_counter("write_errors", stats.writes.errors)
            .with_seconds("average_write_seconds", stats.writes.average())
            .with_issues(stats.issues(&StreamThresholds::default()))
    }
}
