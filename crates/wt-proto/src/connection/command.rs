//! What the application wants of its sessions.

use bytes::BytesMut;
use http::{HeaderMap, StatusCode};

use super::{Action, Connection, Critical, encode_head, request};
use crate::{
    Dialect, ErrorCode, ProtocolViolation, SessionId, SessionState, Side, VarInt, frame,
    head::ResponseHead, session::Session, settings::Setting,
};

impl Connection {
    /// Accepts a session with a 2xx status, response fields and a subprotocol among them.
    ///
    /// Capsules that the client sent ahead are processed now. Answers `false`, and does nothing, when the
    /// request is gone, the status is not 2xx, or the client does not take so many fields
    /// ([`Self::takes_answer`]).
    ///
    /// # Errors
    ///
    /// The violation with which to close the connection.
    pub fn accept(
        &mut self,
        id: SessionId,
        status: StatusCode,
        headers: HeaderMap,
    ) -> Result<bool, ProtocolViolation> {
        if self.unanswered(id).is_none() || !status.is_success() {
            return Ok(false);
        }
        let head = self.answer(id, status, headers);
        if !self.takes_head(&head) {
            return Ok(false);
        }
        if let Some((session, _)) = self.session_mut(id) {
            session.establish();
        }
        let block = encode_head(|out| head.encode(out));
        self.out.request(id.stream_id(), Action::Write(block));
        self.drain_if_going_away(id);
        self.process_frames(id.stream_id())?;
        self.process_early_fin(id.stream_id())?;
        Ok(true)
    }

    /// Returns whether the client takes an answer with these fields (RFC 9114, 4.2.2).
    #[must_use]
    pub fn takes_answer(&self, id: SessionId, status: StatusCode, headers: &HeaderMap) -> bool {
        self.takes_head(&self.answer(id, status, headers.clone()))
    }

    fn takes_head(&self, head: &ResponseHead) -> bool {
        let limit = self.peer_setting(Setting::SETTINGS_MAX_FIELD_SECTION_SIZE);
        limit.is_none_or(|limit| head.size() <= limit)
    }

    /// Completes the answer to a request for a session.
    fn answer(&self, id: SessionId, status: StatusCode, mut headers: HeaderMap) -> ResponseHead {
        match self.session_dialect(id) {
            // RFC 9297, 3.4: it may not stand in a refusal.
            _ if !status.is_success() => {
                headers.remove(request::CAPSULE_PROTOCOL);
            }
            Some(Dialect::Draft02) => {
                let (name, value) = request::draft02_response();
                headers.insert(name, value);
            }
            _ => {
                headers.insert(request::CAPSULE_PROTOCOL, request::CAPSULES_FOLLOW);
            }
        }
        ResponseHead::new(status, headers)
    }

    /// Refuses a session with a status from 300 on; a smaller one would not refuse, and 500 is sent for it.
    ///
    /// Without the fields, when they are more than the client takes (RFC 9114, 4.2.2).
    pub fn reject(&mut self, id: SessionId, status: StatusCode, headers: HeaderMap) {
        if self.unanswered(id).is_none() {
            return;
        }
        let refuses = !(status.is_informational() || status.is_success());
        let status = if refuses {
            status
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        };
        let mut head = self.answer(id, status, headers);
        if !self.takes_head(&head) {
            head.headers.clear();
        }
        self.respond(id.stream_id(), &head);
    }

    /// Returns the session that a server has not answered yet.
    fn unanswered(&mut self, id: SessionId) -> Option<&mut Session> {
        let is_server = self.config.side == Side::Server;
        let (session, _) = self.session_mut(id)?;
        (is_server && session.state == SessionState::Connecting).then_some(session)
    }

    /// Closes a session with an application code and reason (at most 1024 bytes are sent).
    ///
    /// A session that was not answered yet is given up instead.
    pub fn close(&mut self, id: SessionId, code: u32, reason: &str) {
        let Some((session, out)) = self.session_mut(id) else {
            return;
        };
        if session.state == SessionState::Connecting {
            session.cancel(out, ErrorCode::H3_REQUEST_CANCELLED);
            self.forget_finished(id.stream_id());
        } else {
            session.close(out, code, reason);
        }
    }

    /// Closes a session by the end of its CONNECT stream alone: the peer takes it for code 0 and an empty
    /// reason (draft-16, 6).
    pub fn close_silently(&mut self, id: SessionId) {
        if let Some((session, out)) = self.session_mut(id) {
            session.close_silently(out);
        }
    }

    /// Tells a session that began after GOAWAY what the others were told with it.
    pub(super) fn drain_if_going_away(&mut self, id: SessionId) {
        let (sent, received) = (self.goaway_sent.is_some(), self.goaway_received);
        if let Some((session, out)) = self.session_mut(id) {
            if sent {
                session.drain(out);
            } else if received {
                session.handle_drain(out);
            }
        }
    }

    /// Asks the peer to finish a session.
    pub fn drain(&mut self, id: SessionId) {
        if let Some((session, out)) = self.session_mut(id) {
            session.drain(out);
        }
    }

    /// Tells the peer that no new requests are taken, and drains every session.
    pub fn goaway(&mut self) {
        if self.goaway_sent.is_some() {
            return;
        }
        // A client names a push id: it takes none.
        let id = if self.config.side == Side::Server {
            self.next_request
        } else {
            0
        };
        self.goaway_sent = Some(id);
        let mut bytes = BytesMut::new();
        frame::encode_goaway(VarInt::new(id).unwrap_or(VarInt::MAX), &mut bytes);
        self.out.critical(Critical::Control, bytes.freeze());
        for request in self.requests.values_mut() {
            if let Some(session) = request.session_mut() {
                session.drain(&mut self.out);
            }
        }
    }
}
