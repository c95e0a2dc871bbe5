//! Request streams: from the first byte to a session, a refusal or an ordinary answer.

use std::{collections::BTreeSet, time::Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use super::{Action, ConnectError, Connection, Event, Refusal, encode_head};
use crate::{
    ErrorCode, ProtocolViolation, Scope, SessionId, SessionState, Side, StreamId,
    coding::is_grease,
    dialect,
    frame::{Frame, FrameReader},
    head::{HeadError, RequestHead, ResponseHead, UpgradeToken, has_content_fields},
    session::Session,
};

/// The field that tells intermediaries that capsules follow (RFC 9297, 3.4). Endpoints need not look at it.
pub(super) const CAPSULE_PROTOCOL: http::HeaderName =
    http::HeaderName::from_static("capsule-protocol");
/// Its value: true.
pub(super) const CAPSULES_FOLLOW: http::HeaderValue = http::HeaderValue::from_static("?1");
/// The field by which draft-02 clients say their version.
pub(super) const DRAFT02_REQUEST: http::HeaderName =
    http::HeaderName::from_static("sec-webtransport-http3-draft02");
/// The field by which draft-02 servers answer it.
const DRAFT02_RESPONSE: http::HeaderName =
    http::HeaderName::from_static("sec-webtransport-http3-draft");

/// A request stream.
#[derive(Debug)]
pub(super) struct Request {
    frames: FrameReader,
    pub(super) stage: Stage,
    /// When the message head is due, while a server waits for it.
    due: Option<Instant>,
    /// The client finished the stream before it was answered.
    finished: bool,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// A server waits for the message head.
    Head,
    /// A server has the head and waits for the peer's SETTINGS.
    Held(Box<RequestHead>),
    /// It became a session.
    Session(Box<Session>, Offered),
    /// It was answered or aborted; what still arrives has no meaning.
    Discard,
}

/// The subprotocols that a client offered in its CONNECT.
pub(super) type Offered = Vec<String>;

impl Request {
    pub(super) fn new(stage: Stage, max_field_section: u64) -> Self {
        // Compressed field sections are smaller than what the limit counts.
        let limit = usize::try_from(max_field_section).unwrap_or(usize::MAX);
        Self {
            frames: FrameReader::new(limit),
            stage,
            due: None,
            finished: false,
        }
    }

    pub(super) fn session(&self) -> Option<&Session> {
        match &self.stage {
            Stage::Session(session, _) => Some(session),
            _ => None,
        }
    }

    pub(super) fn session_mut(&mut self) -> Option<&mut Session> {
        match &mut self.stage {
            Stage::Session(session, _) => Some(session),
            _ => None,
        }
    }

    pub(super) const fn may_become_session(&self) -> bool {
        matches!(self.stage, Stage::Head | Stage::Held(_))
    }

    /// Returns whether what arrives has no meaning any more.
    fn is_deaf(&self) -> bool {
        match &self.stage {
            Stage::Session(session, _) => !session.is_reading(),
            Stage::Discard => true,
            Stage::Head | Stage::Held(_) => false,
        }
    }
}

impl Connection {
    // ---- what arrived on a request stream

    /// Returns whether a request stream of this id is alive.
    #[must_use]
    pub fn has_request(&self, id: StreamId) -> bool {
        self.requests.contains_key(&id)
    }

    /// Takes note that a client opened a request stream.
    pub fn handle_request_opened(&mut self, id: StreamId, now: Instant) {
        self.note_opened(id);
        let due = now + self.config.head_timeout;
        self.heads_due.insert((due, id));
        let mut request = Request::new(Stage::Head, self.config.max_field_section);
        request.due = Some(due);
        self.requests.insert(id, Box::new(request));
    }

    /// Processes bytes of a request stream.
    ///
    /// # Errors
    ///
    /// The violation with which to close the connection.
    pub fn handle_request_data(
        &mut self,
        id: StreamId,
        bytes: Bytes,
    ) -> Result<(), ProtocolViolation> {
        let Some(request) = self.requests.get_mut(&id) else {
            return Ok(());
        };
        if request.is_deaf() {
            return Ok(());
        }
        request.frames.push(bytes);
        self.process_frames(id)
    }

    /// Returns whether more bytes of this request stream can be used now.
    ///
    /// While a server has not answered a request, what follows its head stays in the transport.
    #[must_use]
    pub fn wants_request_data(&self, id: StreamId) -> bool {
        self.requests.get(&id).is_none_or(|r| match &r.stage {
            Stage::Held(_) => false,
            Stage::Session(session, _) => {
                self.config.side == Side::Client || session.state != SessionState::Connecting
            }
            Stage::Head | Stage::Discard => true,
        })
    }

    /// Takes note that the peer finished a request stream.
    ///
    /// # Errors
    ///
    /// The violation with which to close the connection.
    pub fn handle_request_fin(&mut self, id: StreamId) -> Result<(), ProtocolViolation> {
        let is_server = self.config.side == Side::Server;
        let Some(request) = self.requests.get_mut(&id) else {
            return Ok(());
        };
        match &mut request.stage {
            Stage::Head => {
                if !request.frames.at_boundary() {
                    return Err(ProtocolViolation::FrameTruncated);
                }
                self.abort_request(id, ProtocolViolation::RequestIncomplete);
            }
            // The request is complete, and its answer is still owed.
            Stage::Held(_) => {
                request.finished = true;
                return Ok(());
            }
            Stage::Session(session, _) if session.state == SessionState::Connecting => {
                if is_server {
                    request.finished = true;
                    return Ok(());
                }
                if !request.frames.at_boundary() {
                    return Err(ProtocolViolation::FrameTruncated);
                }
                self.abort_request(id, ProtocolViolation::RequestIncomplete);
            }
            Stage::Session(session, _) => session.handle_fin(&request.frames, &mut self.out)?,
            Stage::Discard => {}
        }
        self.forget(id);
        Ok(())
    }

    /// Processes the end of a request that came before its answer.
    pub(super) fn process_early_fin(&mut self, id: StreamId) -> Result<(), ProtocolViolation> {
        if self.requests.get(&id).is_some_and(|r| r.finished) {
            self.handle_request_fin(id)?;
        }
        Ok(())
    }

    /// Takes note that the peer reset a request stream.
    pub fn handle_request_reset(&mut self, id: StreamId, code: ErrorCode) {
        self.end_request(id, code, Session::handle_reset);
        self.forget(id);
    }

    /// Takes note that the peer stopped reading a request stream.
    pub fn handle_request_stopped(&mut self, id: StreamId, code: ErrorCode) {
        // RFC 9114, 4.1: the answer comes nevertheless.
        if self.config.side == Side::Client
            && (code == ErrorCode::H3_NO_ERROR || is_grease(code.get()))
            && let Some(request) = self.requests.get_mut(&id)
            && let Some(session) = request.session_mut()
            && session.state == SessionState::Connecting
        {
            return session.handle_answered_early(&mut self.out);
        }
        self.end_request(id, code, Session::handle_stopped);
    }

    fn end_request(
        &mut self,
        id: StreamId,
        code: ErrorCode,
        end: impl FnOnce(&mut Session, ErrorCode, &mut super::Queues),
    ) {
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        match &mut request.stage {
            Stage::Session(session, _) if session.state == SessionState::Connecting => {
                let id = session.id;
                let error = ConnectError::Rejected(code);
                self.fail(id, error, ErrorCode::H3_REQUEST_CANCELLED);
            }
            Stage::Session(session, _) => end(session, code, &mut self.out),
            Stage::Head | Stage::Held(_) => {
                let code = ErrorCode::H3_REQUEST_CANCELLED;
                self.out.request(id, Action::Reset(code));
                self.out.request(id, Action::Stop(code));
                self.discard(id);
            }
            Stage::Discard => {}
        }
    }

    /// Takes note that the head of a request is complete, or not awaited any more.
    fn head_done(&mut self, id: StreamId) {
        if let Some(due) = self.requests.get_mut(&id).and_then(|r| r.due.take()) {
            self.heads_due.remove(&(due, id));
            if self.heads_due.is_empty() {
                // An empty set keeps room for the next ones.
                self.heads_due = BTreeSet::new();
            }
        }
    }

    /// Takes note that we stopped reading a request stream.
    pub fn handle_request_abandoned(&mut self, id: StreamId) {
        self.forget(id);
    }

    /// Drops the record of a request stream whose receiving side ended.
    fn forget(&mut self, id: StreamId) {
        self.head_done(id);
        self.held.retain(|held| *held != id);
        self.with_datagrams.remove(&id.get());
        if let Some(Request {
            stage: Stage::Session(session, _),
            ..
        }) = self.requests.remove(&id).map(|request| *request)
        {
            self.out.event(Event::Gone { id: session.id });
        }
    }

    /// Drops the record of a request stream whose receiving side ended before its answer.
    pub(super) fn forget_finished(&mut self, id: StreamId) {
        if self.requests.get(&id).is_some_and(|r| r.finished) {
            self.forget(id);
        }
    }

    /// Ends a session that never was.
    fn fail(&mut self, id: SessionId, error: ConnectError, code: ErrorCode) {
        if let Some((session, out)) = self.session_mut(id) {
            session.cancel(out, code);
            let dialect = session.dialect;
            out.event(Event::Failed { id, dialect, error });
            self.forget_finished(id.stream_id());
        }
    }

    pub(super) fn process_frames(&mut self, id: StreamId) -> Result<(), ProtocolViolation> {
        loop {
            let Some(request) = self.requests.get_mut(&id) else {
                return Ok(());
            };
            match &mut request.stage {
                Stage::Session(session, _) if session.state != SessionState::Connecting => {
                    return session.handle_frames(&mut request.frames, &mut self.out);
                }
                // The answer decides what the rest means: it waits (draft-16, 3.2).
                Stage::Session(..) | Stage::Held(_) if self.config.side == Side::Server => {
                    return Ok(());
                }
                Stage::Discard | Stage::Held(_) => return Ok(()),
                Stage::Head | Stage::Session(..) => {}
            }
            let frame = match request.frames.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(()),
                Err(ProtocolViolation::FrameTooLarge) => {
                    self.head_failed(id, HeadError::TooLarge)?;
                    continue;
                }
                Err(violation) => return Err(violation),
            };
            match frame {
                Frame::Headers(block) if self.config.side == Side::Server => {
                    self.handle_request_head(id, &block)?;
                }
                Frame::Headers(block) => self.handle_response_head(id, &block)?,
                Frame::Unknown(_) => {}
                Frame::PushPromise if self.config.side == Side::Client => {
                    return Err(ProtocolViolation::PushId);
                }
                _ => return Err(ProtocolViolation::FrameUnexpected),
            }
        }
    }

    fn handle_request_head(&mut self, id: StreamId, block: &[u8]) -> Result<(), ProtocolViolation> {
        self.head_done(id);
        match RequestHead::decode(block, self.max_field_section()) {
            Ok(head) => {
                if let Some(request) = self.requests.get_mut(&id) {
                    request.stage = Stage::Held(Box::new(head));
                }
                if self.peer.is_some() {
                    self.process_request(id);
                } else {
                    self.held.push_back(id);
                }
                Ok(())
            }
            Err(error) => self.head_failed(id, error),
        }
    }

    pub(super) fn max_field_section(&self) -> usize {
        usize::try_from(self.config.max_field_section).unwrap_or(usize::MAX)
    }

    /// Answers a message head that is not one.
    pub(super) fn head_failed(
        &mut self,
        id: StreamId,
        error: HeadError,
    ) -> Result<(), ProtocolViolation> {
        match error {
            HeadError::Decompression => Err(ProtocolViolation::QpackDecompression),
            HeadError::TooLarge if self.config.side == Side::Server => {
                self.refuse(
                    id,
                    Refusal::TooLarge,
                    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                );
                Ok(())
            }
            HeadError::TooLarge => {
                self.abort_request(id, ProtocolViolation::FieldSectionTooLarge);
                Ok(())
            }
            HeadError::Malformed(_) => {
                self.abort_request(id, ProtocolViolation::MalformedMessage);
                Ok(())
            }
        }
    }

    /// Decides on a request whose head and whose client's SETTINGS are known.
    pub(super) fn process_request(&mut self, id: StreamId) {
        let (Some(request), Some(peer)) = (self.requests.get_mut(&id), &self.peer) else {
            return;
        };
        let head = match std::mem::replace(&mut request.stage, Stage::Discard) {
            Stage::Held(head) => head,
            other => {
                request.stage = other;
                return;
            }
        };
        if self.goaway_sent.is_some_and(|limit| id.get() >= limit) {
            return self.reset_request(id, ErrorCode::H3_REQUEST_REJECTED, Refusal::GoingAway);
        }
        let token = match (&head.method, &head.protocol) {
            (&Method::CONNECT, Some(protocol)) => match protocol.parse::<UpgradeToken>() {
                Ok(token) => token,
                // RFC 9220, 3: an unknown protocol is answered with 501.
                Err(_) => return self.not_webtransport(id, StatusCode::NOT_IMPLEMENTED),
            },
            _ => return self.not_webtransport(id, StatusCode::NOT_FOUND),
        };
        if head.upgrade_token().is_none() {
            // It is for another scheme than https (draft-16, 3.2).
            return self.abort_request(id, ProtocolViolation::MalformedMessage);
        }
        if has_content_fields(&head.headers) {
            return self.abort_request(id, ProtocolViolation::MalformedMessage);
        }
        let draft02 = head.headers.contains_key(DRAFT02_REQUEST);
        let dialect = dialect::server_choice(self.config.dialects, &peer.settings, token, draft02)
            .filter(|_| self.datagrams != Some(false));
        let (Some(dialect), Ok(session)) = (dialect, SessionId::try_from(id)) else {
            let code = ErrorCode::H3_MESSAGE_ERROR;
            return self.reset_request(id, code, Refusal::RequirementsNotMet);
        };
        if self.session_count() >= self.session_limit(dialect) {
            let code = ErrorCode::H3_REQUEST_REJECTED;
            return self.reset_request(id, code, Refusal::TooManySessions);
        }
        let entry = self.new_session(session, dialect, head.path.clone());
        if let Some(request) = self.requests.get_mut(&id) {
            request.stage = Stage::Session(Box::new(entry), Offered::new());
            self.out.event(Event::Requested {
                id: session,
                head,
                dialect,
            });
        }
    }

    fn not_webtransport(&mut self, id: StreamId, status: StatusCode) {
        if self.with_datagrams.contains(&id.get()) {
            // RFC 9297, 2: such a request ends, answered or not.
            return self.abort_request(id, ProtocolViolation::DatagramUnexpected);
        }
        self.refuse(id, Refusal::NotWebTransport(status), status);
    }

    /// Answers a request with a status and nothing else, and stops reading it.
    fn refuse(&mut self, id: StreamId, refusal: Refusal, status: StatusCode) {
        self.respond(id, &ResponseHead::new(status, HeaderMap::new()));
        self.out.event(Event::Refused { id, refusal });
    }

    /// Sends a whole answer, after which what still arrives has no meaning.
    pub(super) fn respond(&mut self, id: StreamId, head: &ResponseHead) {
        let block = encode_head(|out| head.encode(out));
        self.out.request(id, Action::Write(block));
        self.out.request(id, Action::Finish);
        // RFC 9114, 4.1: a complete answer may stop the rest of the request without error.
        self.out.request(id, Action::Stop(ErrorCode::H3_NO_ERROR));
        self.discard(id);
    }

    fn reset_request(&mut self, id: StreamId, code: ErrorCode, refusal: Refusal) {
        self.out.request(id, Action::Reset(code));
        self.out.request(id, Action::Stop(code));
        self.out.event(Event::Refused { id, refusal });
        self.discard(id);
    }

    /// Gives a request stream no more attention than waiting for its end.
    fn discard(&mut self, id: StreamId) {
        self.head_done(id);
        if let Some(request) = self.requests.get_mut(&id) {
            request.stage = Stage::Discard;
            if request.finished {
                self.requests.remove(&id);
                self.with_datagrams.remove(&id.get());
            }
        }
    }

    /// Ends a request stream that broke a rule.
    pub(super) fn abort_request(&mut self, id: StreamId, violation: ProtocolViolation) {
        debug_assert_eq!(violation.scope(), Scope::Stream);
        let session = self
            .requests
            .get(&id)
            .and_then(|request| request.session())
            .map(|s| s.id);
        match session {
            Some(session) => self.fail(
                session,
                ConnectError::Violation(violation),
                violation.code(),
            ),
            None => self.reset_request(id, violation.code(), Refusal::Violation(violation)),
        }
    }
}

/// Returns the field with which a server answers a client of draft-02.
#[must_use]
pub(crate) fn draft02_response() -> (http::HeaderName, http::HeaderValue) {
    (DRAFT02_RESPONSE, http::HeaderValue::from_static("draft02"))
}
