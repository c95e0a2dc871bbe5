//! What handles have a connection do with its sessions.

use std::sync::{Arc, atomic::Ordering::SeqCst};

use wt_proto::{Initiator, ProtocolViolation, SessionId, connection::Connection as Proto};

use super::Inner;
use crate::{error::SessionError, lock::lock};

impl Inner {
    /// Runs a command on the protocol and has its outcome carried out.
    fn command(self: &Arc<Self>, f: impl FnOnce(&mut Proto)) {
        let mut state = lock(&self.state);
        f(&mut state.proto);
        self.pump(&mut state);
        drop(state);
        self.ready.wake();
    }

    pub(crate) fn close_session(self: &Arc<Self>, id: SessionId, code: u32, reason: &str) {
        let asked = lock(&self.state).asked.remove(&id);
        self.command(|proto| proto.close(id, code, reason));
        if let Some(asked) = asked {
            // Given up before it was answered.
            asked.terminate(SessionError::Closed {
                by: Initiator::Local,
                code,
                reason: reason.to_owned(),
            });
        }
    }

    pub(crate) fn close_session_silently(self: &Arc<Self>, id: SessionId) {
        self.command(|proto| proto.close_silently(id));
    }

    pub(crate) fn close_sessions(self: &Arc<Self>, code: u32, reason: &str) {
        self.command(|proto| {
            let open: Vec<_> = proto.open_sessions().collect();
            for id in open {
                proto.close(id, code, reason);
            }
        });
    }

    pub(crate) fn drain_session(self: &Arc<Self>, id: SessionId) {
        self.command(|proto| proto.drain(id));
    }

    pub(crate) fn goaway(self: &Arc<Self>) {
        self.going_away.store(true, SeqCst);
        self.command(Proto::goaway);
    }

    pub(crate) fn session_violation(self: &Arc<Self>, id: SessionId, violation: ProtocolViolation) {
        self.command(|proto| proto.handle_violation(id, violation));
    }
}
