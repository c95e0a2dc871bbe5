//! The credit of sessions: what they have received, and what is announced.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use wt_proto::{SessionId, flow::Flow};

use super::{Inner, State};
use crate::{lock::lock, session::Shared};

/// The looks at what arrived for sessions and was not read.
///
/// What a peer sends is counted as it is read. One that sends more than its session may to an
/// application that does not read would go unnoticed, and would take the window of the connection
/// from the other sessions.
#[derive(Clone, Copy, Debug)]
pub(in crate::connection) struct Audit {
    pub(in crate::connection) due: Instant,
    pause: Duration,
    /// What the connection had received at the last look, in bytes.
    received: u64,
}

impl Audit {
    const MIN_PAUSE: Duration = Duration::from_secs(1);
    /// A connection on which little happens is woken this seldom.
    const MAX_PAUSE: Duration = Duration::from_secs(16);
    /// So much can go unseen.
    const LITTLE: u64 = 64 * 1024;

    pub(super) fn next(last: Option<Self>, received: u64, now: Instant) -> Self {
        let pause = last.map_or(Self::MIN_PAUSE, |last| {
            if received.saturating_sub(last.received) < Self::LITTLE {
                (last.pause * 2).min(Self::MAX_PAUSE)
            } else {
                Self::MIN_PAUSE
            }
        });
        Self {
            due: now + pause,
            pause,
            received,
        }
    }
}

impl Inner {
    pub(crate) fn credit_due(&self, id: SessionId) {
        lock(&self.due).push(id);
        self.ready.wake();
    }

    /// Takes the sessions whose credit is to be announced.
    pub(in crate::connection) fn take_due(&self) -> Vec<SessionId> {
        std::mem::take(&mut *lock(&self.due))
    }

    /// Announces the credit of a session.
    pub(in crate::connection) fn announce_credit(
        self: &Arc<Self>,
        state: &mut State,
        id: SessionId,
    ) {
        let Some(session) = state.sessions.get(&id).cloned() else {
            return;
        };
        session.credit_taken();
        if let Some(flow) = &session.flow
            && flow.recv_data.is_due_now()
        {
            // More credit would make lawful what is too much now.
            if !self.look_ahead(state, &session) {
                return;
            }
            self.widen(&session, flow, state.sessions.len());
        }
        state.proto.refresh_credit(id);
    }

    /// Counts all that arrived for a session; `false` when it was too much and ended the session.
    fn look_ahead(self: &Arc<Self>, state: &mut State, session: &Shared) -> bool {
        let result = session.look_ahead();
        if let Err(violation) = result {
            state.proto.handle_violation(session.id, violation);
            self.pump(state);
        }
        result.is_ok()
    }

    /// Looks at what the sessions have not read, when the time has come.
    pub(in crate::connection) fn audit(self: &Arc<Self>, state: &mut State, now: Instant) {
        let Some(last) = state.audit.filter(|audit| audit.due <= now) else {
            return;
        };
        let mut received = self.quic.stats().udp_rx.bytes;
        let sessions: Vec<_> = state.sessions.values().cloned().collect();
        if received.saturating_sub(last.received) < Audit::LITTLE {
            // Small amounts add up until the next look.
            received = last.received;
        } else {
            for session in sessions.iter().filter(|session| session.flow.is_some()) {
                self.look_ahead(state, session);
            }
        }
        let flowing = sessions.iter().any(|session| session.flow.is_some());
        state.audit = flowing.then(|| Audit::next(Some(last), received, now));
    }

    /// Widens the window of a session that is read faster than its credit travels.
    ///
    /// Never so far that a session could take the whole connection from the others.
    fn widen(&self, session: &Shared, flow: &Flow, sessions: usize) {
        let most = self.origin.transport.receive_window / (sessions as u64 + 1);
        let window = flow.recv_data.window();
        let quickly = session.renewed_within(self.quic.rtt() * 2);
        if self.origin.auto_scale && quickly && window < most {
            flow.recv_data.set_window((window * 2).min(most));
        }
    }
}
