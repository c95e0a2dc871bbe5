//! The client's part of a request: asking for a session and reading the answer.

use http::HeaderValue;

use super::{
    Action, CannotConnect, ConnectError, Connection, Event, encode_head,
    request::{CAPSULE_PROTOCOL, CAPSULES_FOLLOW, DRAFT02_REQUEST, Request, Stage},
};
use crate::{
    Dialect, ProtocolViolation, SessionId, Side, StreamId, dialect,
    head::{RequestHead, ResponseHead, has_content_fields},
    settings::Setting,
    subprotocol,
};

impl Connection {
    /// Returns the dialect in which a session can be asked for now.
    ///
    /// # Errors
    ///
    /// Says why none can.
    pub fn can_connect(&self) -> Result<Dialect, CannotConnect> {
        if self.config.side == Side::Server {
            return Err(CannotConnect::Unsupported);
        }
        let Some(peer) = &self.peer else {
            return Err(CannotConnect::SettingsMissing);
        };
        if self.goaway_received || self.goaway_sent.is_some() {
            return Err(CannotConnect::GoingAway);
        }
        let dialect = dialect::client_choice(self.config.dialects, &peer.settings)
            .ok_or(CannotConnect::Unsupported)?;
        if self.datagrams == Some(false) {
            return Err(CannotConnect::NoDatagrams);
        }
        if self.session_count() >= self.session_limit(dialect) {
            return Err(CannotConnect::TooManySessions);
        }
        Ok(dialect)
    }

    /// Returns how many sessions of `dialect` the connection may carry at a time.
    pub(super) fn session_limit(&self, dialect: Dialect) -> u64 {
        if dialect.has_flow_control() && self.flow_for(dialect).is_none() {
            return 1;
        }
        let Some(peer) = self
            .peer
            .as_ref()
            .filter(|_| self.config.side == Side::Client)
        else {
            return self.config.max_sessions;
        };
        let announced = match dialect {
            Dialect::Draft02 => Setting::SETTINGS_WEBTRANSPORT_MAX_SESSIONS_DRAFT02,
            Dialect::Draft07 | Dialect::Draft13 => dialect.setting(),
            Dialect::Draft15 => return self.config.max_sessions,
        };
        peer.settings
            .get(announced)
            .unwrap_or(1)
            .min(self.config.max_sessions)
    }

    /// Asks for a session on the request stream `id`, in the dialect of [`Self::can_connect`].
    ///
    /// `head` comes from [`RequestHead::webtransport`]; its token is set to that of the dialect.
    ///
    /// # Errors
    ///
    /// Says why no session can be asked for now, or that `id` cannot carry a request.
    pub fn connect(
        &mut self,
        id: StreamId,
        mut head: RequestHead,
    ) -> Result<SessionId, CannotConnect> {
        let dialect = self.can_connect()?;
        let session = SessionId::try_from(id).map_err(|_| CannotConnect::Unsupported)?;
        head.protocol = Some(dialect.token().as_str().to_owned());
        if dialect == Dialect::Draft02 {
            head.headers
                .insert(DRAFT02_REQUEST, HeaderValue::from_static("1"));
        } else {
            head.headers.insert(CAPSULE_PROTOCOL, CAPSULES_FOLLOW);
        }
        let limit = self.peer_setting(Setting::SETTINGS_MAX_FIELD_SECTION_SIZE);
        if limit.is_some_and(|limit| head.size() > limit) {
            return Err(CannotConnect::HeadTooLarge);
        }
        let offered = subprotocol::decode_offer(&head.headers);
        let block = encode_head(|out| head.encode(out));
        self.out.request(id, Action::Write(block));
        let entry = self.new_session(session, dialect, head.path);
        let stage = Stage::Session(Box::new(entry), offered);
        self.requests.insert(
            id,
            Box::new(Request::new(stage, self.config.max_field_section)),
        );
        Ok(session)
    }

    pub(super) fn handle_response_head(
        &mut self,
        id: StreamId,
        block: &[u8],
    ) -> Result<(), ProtocolViolation> {
        let head = match ResponseHead::decode(block, self.max_field_section()) {
            Ok(head) => head,
            Err(error) => return self.head_failed(id, error),
        };
        if head.status.is_informational() {
            return Ok(());
        }
        let Some(Request {
            stage: Stage::Session(session, offered),
            ..
        }) = self.requests.get_mut(&id).map(Box::as_mut)
        else {
            return Ok(());
        };
        let session_id = session.id;
        if !head.status.is_success() {
            session.handle_refusal(&mut self.out);
            let error = ConnectError::Status(Box::new(head));
            self.out.event(Event::Failed {
                id: session_id,
                dialect: session.dialect,
                error,
            });
            return Ok(());
        }
        if has_content_fields(&head.headers) {
            self.abort_request(id, ProtocolViolation::MalformedMessage);
            return Ok(());
        }
        let protocol = subprotocol::decode_choice(&head.headers);
        // The choice must be one of the offer (draft-16, 3.3).
        if protocol
            .as_ref()
            .is_some_and(|p| !offered.is_empty() && !offered.contains(p))
        {
            self.abort_request(id, ProtocolViolation::AlpnMismatch);
            return Ok(());
        }
        let protocol = protocol.filter(|_| !offered.is_empty());
        session.establish();
        self.out.event(Event::Established {
            id: session_id,
            head: Box::new(head),
            protocol,
        });
        self.drain_if_going_away(session_id);
        Ok(())
    }
}
