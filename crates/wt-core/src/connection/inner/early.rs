//! Streams of the peer on the way to their session, which may not be there yet.

use std::{sync::Arc, time::Instant};

use wt_proto::{ErrorCode, SessionId, connection::Route};

use super::{EarlyStream, Inner, State};
use crate::{report::DatagramDrop, stream::Slot};

impl Inner {
    /// Brings a stream of the peer, whose header has been read with so many bytes behind it, to its session; `true` when
    /// it got there.
    pub(in crate::connection) fn place_stream(
        &self,
        state: &mut State,
        id: SessionId,
        slot: Arc<Slot>,
        bytes: usize,
    ) -> bool {
        let code = match state.proto.accept_stream(id, slot.dir) {
            Route::Deliver => {
                if let Some(session) = state.sessions.get(&id) {
                    match session.flow_arrived(bytes) {
                        Ok(()) => {
                            session.push_stream(slot);
                            return true;
                        }
                        Err(violation) => state.proto.handle_violation(id, violation),
                    }
                }
                ErrorCode::WT_SESSION_GONE
            }
            Route::Early => {
                let stream = EarlyStream { slot, bytes };
                if let Err(stream) = state.early.push_stream(id, stream, bytes, Instant::now()) {
                    self.drop_early(&stream);
                }
                return false;
            }
            Route::Reject(code) => code,
        };
        self.allowance.ended(slot.dir);
        slot.abort(code);
        false
    }

    /// Rejects the early streams that waited too long.
    pub(in crate::connection) fn expire_early(&self, state: &mut State, now: Instant) {
        let before = state.early.datagrams();
        for stream in state.early.expire(now) {
            self.drop_early(&stream);
        }
        let expired = before - state.early.datagrams();
        if expired > 0 {
            self.drop_datagrams(DatagramDrop::EarlyExpired, expired as u64);
        }
    }

    fn drop_early(&self, stream: &EarlyStream) {
        self.allowance.ended(stream.slot.dir);
        stream.slot.abort(ErrorCode::WT_BUFFERED_STREAM_REJECTED);
    }
}
