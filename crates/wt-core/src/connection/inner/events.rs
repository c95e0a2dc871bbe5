//! What the protocol says happened, carried out.

use std::{
    sync::{
        Arc,
        atomic::Ordering::{Relaxed, SeqCst},
    },
    time::Instant,
};

use http::{HeaderMap, StatusCode};
use wt_proto::{
    SessionEnd, SessionId,
    connection::{self as proto, Event},
    head::ResponseHead,
};

use super::{super::PendingRequest, Inner, State};
use crate::{
    error::SessionError, events::Event as TellEvent, lock::lock, refusal::RefusalCause,
    report::HandshakeOutcome, session::Answer,
};

impl Inner {
    /// Carries out the events of the protocol.
    pub(in crate::connection) fn pump(self: &Arc<Self>, state: &mut State) {
        while let Some(event) = state.proto.poll_event() {
            match event {
                Event::Settings => {
                    self.settings.store(true, SeqCst);
                    self.settings_arrived.notify_waiters();
                    let connection = self.id;
                    self.tell(|| TellEvent::SettingsReceived { connection });
                }
                Event::Requested { id, head, dialect } => {
                    self.requested(state, (id, head, dialect));
                }
                Event::Established { id, head, protocol } => {
                    self.established(state, id, *head, protocol);
                }
                Event::Failed { id, dialect, error } => {
                    let outcome = match error {
                        proto::ConnectError::Status(_) => HandshakeOutcome::Refused,
                        _ => HandshakeOutcome::Failed,
                    };
                    self.count_handshake(dialect, outcome);
                    if let Some(asked) = state.asked.remove(&id) {
                        asked.terminate(SessionError::Refused(Box::new(error.into())));
                    }
                    // A request that the client gave up needs no answer.
                    lock(&self.requests).retain(|request| request.0 != id);
                }
                Event::Refused { id, refusal } => {
                    let stream = id.get();
                    self.refused(
                        refusal,
                        &format_args!("{refusal}; request on stream {stream}"),
                    );
                }
                Event::Draining { id } => {
                    if let Some(session) = state.sessions.get(&id) {
                        session.set_draining();
                        let connection = self.id;
                        self.tell(|| TellEvent::SessionDraining {
                            connection,
                            session: id,
                        });
                    }
                }
                Event::CreditRaised { id } => {
                    if let Some(session) = state.sessions.get(&id) {
                        session.credit_raised();
                        self.tell_credit(session);
                    }
                }
                Event::CreditDue { id } => {
                    if let Some(session) = state.sessions.get(&id) {
                        session.credit_due();
                    }
                }
                Event::Datagram { id, payload } => {
                    if let Some(session) = state.sessions.get(&id) {
                        session.push_datagram(payload);
                    }
                }
                Event::Closed { id, end } => {
                    let peer = self.quic.remote_address();
                    tracing::debug!(%peer, session = id.get(), %end, "session over");
                    if let Some(session) = state.sessions.remove(&id) {
                        if !matches!(end, SessionEnd::Closed { .. }) {
                            self.errors.fetch_add(1, Relaxed);
                        }
                        let error = SessionError::from(end);
                        session.terminate(error.clone());
                        self.tell_closed(&session, &error);
                    }
                    let due = Instant::now() + self.limits().close_timeout;
                    state.closing.push_back((due, id.stream_id()));
                    if state.sessions.is_empty() {
                        state.idle_since = Some(Instant::now());
                        self.idle.notify_waiters();
                    }
                }
                Event::GoAway => self.going_away.store(true, SeqCst),
                _ => {}
            }
        }
        if let Some(member) = &self.member {
            member.sessions_left(|| state.proto.session_count());
        }
    }

    fn requested(&self, state: &mut State, request: PendingRequest) {
        let mut requests = lock(&self.requests);
        if requests.len() >= self.limits().pending_requests {
            drop(requests);
            let status = StatusCode::TOO_MANY_REQUESTS;
            self.refused(RefusalCause::TooManyRequests, &status);
            self.count_handshake(request.2, HandshakeOutcome::Refused);
            state.proto.reject(request.0, status, HeaderMap::new());
            return;
        }
        let member = self.member.as_ref();
        if let Some(Err(no)) = member.map(|member| member.open_session()) {
            drop(requests);
            self.refused(no.cause, &no.status);
            self.count_handshake(request.2, HandshakeOutcome::Refused);
            state.proto.reject(request.0, no.status, no.headers);
            return;
        }
        let (connection, session) = (self.id, request.0);
        self.tell(|| TellEvent::SessionRequest {
            connection,
            session,
            path: request.1.path.clone().unwrap_or_default(),
        });
        requests.push_back(request);
        drop(requests);
        self.request_arrived.notify_one();
    }

    fn established(
        self: &Arc<Self>,
        state: &mut State,
        id: SessionId,
        head: ResponseHead,
        protocol: Option<String>,
    ) {
        let Some(shared) = state.asked.remove(&id) else {
            state.proto.close(id, 0, "");
            return;
        };
        self.admit(state, &shared);
        shared.establish(Answer::new(head.status, head.headers, protocol));
        if shared.is_credit_due() {
            // Of streams that were opened early.
            self.announce_credit(state, id);
        }
    }
}
