//! Datagrams: who takes them from QUIC, and where they go.

use std::{sync::atomic::Ordering::SeqCst, time::Instant};

use bytes::Bytes;
use wt_proto::{Dir, ProtocolViolation, SessionId, connection::Route};

use super::Inner;
use crate::{lock::lock, report::DatagramDrop};

impl Inner {
    /// Returns whether a session takes datagrams from QUIC itself.
    pub(in crate::connection) fn has_datagram_reader(&self) -> bool {
        self.reads_datagrams_itself() && self.datagram_readers.load(SeqCst) > 0
    }

    /// Returns whether a session that wants datagrams takes them from QUIC itself.
    ///
    /// That is the shortest way while only one session wants them. If several waited in QUIC, each
    /// datagram would wake all of them.
    pub(crate) fn reads_datagrams_itself(&self) -> bool {
        !self.shares_datagrams.load(SeqCst)
    }

    pub(crate) fn datagram_reader_came(&self) {
        if self.datagram_readers.fetch_add(1, SeqCst) > 0 {
            // It stays so: who waits for the driver would not learn of the change.
            self.shares_datagrams.store(true, SeqCst);
            self.ready.wake();
        }
    }

    pub(crate) fn datagram_reader_left(&self) {
        if self.datagram_readers.fetch_sub(1, SeqCst) == 1 {
            self.ready.wake();
        }
    }

    /// Brings a datagram to its session; gives it back when that is `reader`.
    pub(crate) fn route_datagram(&self, datagram: Bytes, reader: SessionId) -> Option<Bytes> {
        let placed = match wt_proto::datagram::decode(datagram) {
            Ok((id, payload)) if id == reader => return Some(payload),
            Ok((id, payload)) => self.place_datagram(id, payload),
            Err(violation) => Err(violation),
        };
        if let Err(violation) = placed {
            self.violated(violation);
        }
        None
    }

    pub(in crate::connection) fn place_datagram(
        &self,
        id: SessionId,
        payload: Bytes,
    ) -> Result<(), ProtocolViolation> {
        let mut state = lock(&self.state);
        let allowed = self.allowance.granted(Dir::Bi);
        match state.proto.handle_datagram(id, allowed)? {
            Route::Deliver => {
                if let Some(session) = state.sessions.get(&id) {
                    session.push_datagram(payload);
                }
            }
            Route::Early => {
                if !state.early.push_datagram(id, payload, Instant::now()) {
                    self.drop_datagrams(DatagramDrop::EarlyFull, 1);
                }
                drop(state);
                // The driver drops it when it grows too old.
                self.ready.wake();
            }
            Route::Reject(_) => self.drop_datagrams(DatagramDrop::NoSession, 1),
        }
        Ok(())
    }
}
