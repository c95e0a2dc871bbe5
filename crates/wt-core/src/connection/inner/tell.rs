//! What a connection tells of itself: events, its state and its figures.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst},
    time::Instant,
};

use wt_proto::{Dialect, Dir};

use super::Inner;
use crate::{
    error::{ConnectionError, SessionError},
    events::{Emitter, Event},
    lock::lock,
    report::{DatagramDrop, HandshakeOutcome, Holdings, Traffic},
    session::Shared,
    state::ConnectionState,
    stats::{ConnectionStats, count},
};

impl Inner {
    /// Tells what happened to those who listen to the connection or to its endpoint.
    pub(crate) fn tell(&self, event: impl Fn() -> Event) {
        if let Some(events) = self.events.get() {
            events.emit_with(&event);
        }
        self.origin.events.emit_with(&event);
    }

    /// Tells that the handshake is over.
    pub(crate) fn tell_established(&self) {
        count(&self.origin.totals.connections_made);
        let mut told = lock(&self.told);
        told.established = true;
        self.tell(|| Event::ConnectionEstablished {
            connection: self.id,
            remote: self.quic.remote_address(),
        });
        // It may have ended in the meantime.
        if told.ended
            && let Some(error) = self.end()
        {
            self.tell_end(&error);
        }
    }

    /// Tells how the connection ended, unless it never began.
    pub(super) fn tell_ended(&self, error: &ConnectionError) {
        let mut told = lock(&self.told);
        told.ended = true;
        if told.established {
            self.tell_end(error);
        }
    }

    fn tell_end(&self, error: &ConnectionError) {
        if !error.is_graceful() {
            count(&self.origin.totals.connections_lost);
        }
        self.tell(|| Event::connection_ended(self.id, error.clone()));
    }

    pub(super) fn tell_closed(&self, session: &Shared, error: &SessionError) {
        self.with_past(|past| past.add_session(session));
        count(&self.origin.totals.sessions_ended);
        let session = session.id;
        self.tell(|| Event::SessionClosed {
            connection: self.id,
            session,
            error: error.clone(),
        });
    }

    /// Tells which limits of a session the peer raised.
    pub(super) fn tell_credit(&self, session: &Shared) {
        let Some(flow) = &session.flow else { return };
        let (connection, id) = (self.id, session.id);
        let known = &session.known_limits;
        let raised = |known: &AtomicU64, limit: u64| known.swap(limit, Relaxed) < limit;
        let max_data = flow.send_data.limit();
        if raised(&known.data, max_data) {
            self.tell(|| Event::SessionMaxDataUpdated {
                connection,
                session: id,
                max_data,
            });
        }
        for (dir, known) in [(Dir::Bi, &known.bidi), (Dir::Uni, &known.uni)] {
            let max_streams = flow.open(dir).limit();
            if raised(known, max_streams) {
                self.tell(|| Event::SessionMaxStreamsUpdated {
                    connection,
                    session: id,
                    dir,
                    max_streams,
                });
            }
        }
    }

    /// Returns what sessions that are over have done.
    fn past(&self) -> Traffic {
        lock(&self.past).as_deref().copied().unwrap_or_default()
    }

    fn with_past(&self, f: impl FnOnce(&mut Traffic)) {
        f(lock(&self.past).get_or_insert_default());
    }

    /// Leaves what the connection has done, now that it is over, with its endpoint.
    pub(super) fn tell_past(&self) {
        let mut traffic = self.past();
        traffic.add_connection(&self.quic.stats().into());
        self.origin.totals.registry.remove(self.id, &traffic);
    }

    pub(super) fn count_handshake(&self, dialect: Dialect, outcome: HandshakeOutcome) {
        self.origin.totals.handshakes.note(dialect, outcome);
    }

    pub(super) fn drop_datagrams(&self, reason: DatagramDrop, count: u64) {
        self.with_past(|past| past.drop_datagrams(reason, count));
    }

    /// Returns what the connection has done so far, what it holds, and what QUIC tells.
    pub(crate) fn report(&self) -> (Traffic, Holdings, ConnectionStats) {
        let stats = ConnectionStats::from(self.quic.stats());
        let state = lock(&self.state);
        let mut traffic = self.past();
        traffic.add_connection(&stats);
        let mut holdings = Holdings {
            sessions: state.sessions.len() as u64,
            requests_waiting: self.pending_requests() as u64,
            early_streams: state.early.streams() as u64,
            early_datagrams: state.early.datagrams() as u64,
            ..Holdings::default()
        };
        for session in state.sessions.values() {
            traffic.add_session(session);
            holdings.streams += session.active_streams() as u64;
            holdings.streams_waiting += session.streams_waiting() as u64;
            holdings.datagrams_waiting += session.datagram_backlog() as u64;
            holdings.unread_bytes += session.kept();
        }
        (traffic, holdings, stats)
    }

    pub(crate) fn events(&self) -> &Emitter<Event> {
        self.events.get_or_init(Emitter::new)
    }

    /// Returns when the connection was made.
    pub(crate) const fn created(&self) -> Instant {
        self.created
    }

    /// Returns how often something went wrong: violations, refused requests, sessions that were torn.
    pub(crate) fn errors(&self) -> u64 {
        self.errors.load(Relaxed)
    }

    /// Returns since when no stream and no datagram has moved, as far as anybody has looked.
    pub(crate) fn last_activity(&self) -> Instant {
        lock(&self.activity).look(&self.quic.stats())
    }

    /// Returns what waits to be answered.
    pub(crate) fn pending_requests(&self) -> usize {
        lock(&self.requests).len()
    }

    pub(crate) fn state(&self) -> ConnectionState {
        match self.end() {
            Some(end) if end.is_graceful() => ConnectionState::Closed,
            Some(_) => ConnectionState::Failed,
            None if self.is_released() || self.quic.close_reason().is_some() => {
                ConnectionState::Closing
            }
            None if self.going_away.load(SeqCst) => ConnectionState::Draining,
            None if self.settings.load(SeqCst) => ConnectionState::Connected,
            None => ConnectionState::Connecting,
        }
    }
}
