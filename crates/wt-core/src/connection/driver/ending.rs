//! Time-outs, and how a connection ends.

use std::{
    hash::{BuildHasher, RandomState},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use wt_proto::{ErrorCode, Side, coding, connection::Action};

use super::{super::inner::State, Driver, Step};
use crate::lock::lock;

/// The last moments of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaving {
    /// STREAM frames that were sent before GOAWAY. Its stream goes before all others.
    frames: u64,
    /// When to look again.
    look: Instant,
    /// When not to wait any longer.
    until: Instant,
}

impl Leaving {
    const PAUSE: Duration = Duration::from_millis(1);
    /// A path that takes nothing now.
    const LIMIT: Duration = Duration::from_millis(50);
}

impl Driver {
    pub(super) fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        let due = self.deadline();
        if due != self.due {
            self.due = due;
            if let Some(due) = due {
                self.timer.as_mut().reset(due.into());
            }
        }
        if self.due.is_none() {
            return Poll::Pending;
        }
        ready!(self.timer.poll_unpin(cx));
        self.due = None;
        Poll::Ready(self.handle_timeout(Instant::now()))
    }

    fn deadline(&self) -> Option<Instant> {
        let parked = self.headers_due.first().map(|(due, _)| *due);
        let mut state = lock(&self.inner.state);
        while let Some((_, id)) = state.closing.front()
            && !self.requests.contains_key(id)
        {
            state.closing.pop_front();
        }
        let all = [
            state.proto.deadline(),
            state.early.deadline(),
            parked,
            self.linger_until(&state),
            state.closing.front().map(|(due, _)| *due),
            state.audit.map(|audit| audit.due),
            self.closing_until.filter(|_| self.leaving.is_none()),
            self.leaving.map(|leaving| leaving.look),
        ];
        all.into_iter().flatten().min()
    }

    /// Returns until when a server keeps the connection without a session.
    fn linger_until(&self, state: &State) -> Option<Instant> {
        if self.side == Side::Client {
            return None;
        }
        if let Some(since) = state.unused_since {
            return Some(since + self.inner.limits().unused_timeout);
        }
        let since = state.idle_since?;
        let limits = self.inner.limits();
        // The peer has to learn how its last session ended.
        let words = if !self.requests.is_empty() {
            limits.close_timeout
        } else {
            Duration::ZERO
        };
        Some(since + limits.linger.max(words))
    }

    fn handle_timeout(&mut self, now: Instant) -> Step {
        while let Some((due, id)) = self.headers_due.first().copied()
            && due <= now
            && let Some(parked) = self.unpark(id)
        {
            self.refuse_headless(id, parked.send, parked.recv);
        }
        let inner = self.inner.clone();
        let mut state = lock(&inner.state);
        self.inner.expire_early(&mut state, now);
        self.inner.audit(&mut state, now);
        self.expire_closing(&mut state, now);
        let over = self.lingered(&mut state, now);
        drop(state);
        if over {
            self.leave(now);
        }
        self.poll_leaving(now);
        self.proto(|proto| proto.handle_timeout(now))
    }

    /// Tears down the streams of ended sessions that the peer does not end.
    fn expire_closing(&mut self, state: &mut State, now: Instant) {
        while let Some((due, id)) = state.closing.front().copied()
            && due <= now
        {
            state.closing.pop_front();
            if let Some(io) = self.requests.get_mut(&id) {
                io.push(Action::Reset(ErrorCode::WT_SESSION_GONE));
                io.push(Action::Stop(ErrorCode::WT_SESSION_GONE));
            }
        }
    }

    /// Returns whether a server has carried no session for long enough: browsers leave without a
    /// word.
    fn lingered(&self, state: &mut State, now: Instant) -> bool {
        if self.linger_until(state).is_none_or(|until| until > now) {
            return false;
        }
        state.idle_since = None;
        state.unused_since = None;
        state.proto.session_count() == 0
    }

    /// Closes the connection when nobody holds it and the peer knows how its sessions ended.
    pub(super) fn poll_end(&mut self) -> bool {
        if !self.inner.is_released() {
            return false;
        }
        let now = Instant::now();
        let limit = self.inner.limits().close_timeout;
        let until = *self.closing_until.get_or_insert_with(|| now + limit);
        let over = (self.requests.is_empty() || now >= until) && self.leaving.is_none();
        if over {
            self.leave(now);
        }
        over
    }

    /// Says GOAWAY, after which the connection is closed (RFC 9114, 3.3).
    fn leave(&mut self, now: Instant) {
        if self.leaving.is_some() {
            return;
        }
        self.leaving = Some(Leaving {
            frames: self.inner.quic().stats().frame_tx.stream,
            look: now + Leaving::PAUSE,
            until: now + Leaving::LIMIT,
        });
        self.inner.goaway();
    }

    /// Closes the connection when GOAWAY has been sent.
    fn poll_leaving(&mut self, now: Instant) {
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        let sent = self.inner.quic().stats().frame_tx.stream > leaving.frames;
        if sent || leaving.until <= now {
            self.close();
        } else if leaving.look <= now {
            leaving.look = now + Leaving::PAUSE;
        }
    }

    /// Reads what is left on the request streams of a connection that is over: how a session ended
    /// may have arrived together with the end of the connection.
    pub(super) fn last_words(&mut self) {
        if self.inner.end().is_some() {
            // It was closed here for a violation.
            return;
        }
        let requests: Vec<_> = self.requests.keys().copied().collect();
        for id in requests {
            // A violation does not matter any more.
            let _ = self.poll_request(id);
        }
    }

    fn close(&self) {
        let code = parting_code(RandomState::new().hash_one(()));
        self.inner.quic().close(crate::stream::quic_code(code), b"");
    }
}

/// Returns the code with which a connection ends in order.
///
/// Once in a while a reserved one, so that peers learn to take what they do not know for no error
/// (RFC 9114, 8.1).
fn parting_code(random: u64) -> ErrorCode {
    if random.is_multiple_of(32) {
        coding::grease((random >> 32) as u32).into()
    } else {
        ErrorCode::H3_NO_ERROR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_connections_end_with_a_reserved_code() {
        assert_eq!(parting_code(1), ErrorCode::H3_NO_ERROR);
        for random in [0, 32, 64 << 32, u64::MAX - 31] {
            let code = parting_code(random);
            assert!(coding::is_grease(code.get()), "{code}");
        }
        let reserved = (0..3200).filter(|n| coding::is_grease(parting_code(*n).get()));
        assert_eq!(reserved.count(), 100);
    }
}
