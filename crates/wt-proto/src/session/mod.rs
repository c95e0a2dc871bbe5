//! One session: the life of its CONNECT stream after the request (draft-16, 3 to 6).

mod info;
mod state;

use std::{fmt, sync::Arc};

use bytes::{Bytes, BytesMut};

use self::state::Input;
pub use self::{
    info::{Counter, FlowInfo, SessionInfo},
    state::SessionState,
};
use crate::{
    Dialect, Dir, ErrorCode, ProtocolViolation, SessionId, VarInt,
    capsule::{Capsule, CapsuleReader, CloseSession},
    coding::Encode,
    connection::{Action, Event, Queues},
    flow::Flow,
    frame::{self, Frame, FrameReader},
};

/// Who ended a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "there are two ends")]
pub enum Initiator {
    /// This endpoint.
    Local,
    /// The peer.
    Peer,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEnd {
    /// It was closed in order, by a close capsule or by the end of the CONNECT stream.
    Closed {
        /// Who closed it.
        by: Initiator,
        /// The application's code; 0 without a capsule.
        code: u32,
        /// The application's reason; empty without a capsule.
        reason: String,
    },
    /// The peer reset the CONNECT stream, or asked us to stop sending on it.
    Aborted(ErrorCode),
    /// The peer broke a rule and we reset the CONNECT stream.
    Violation(ProtocolViolation),
}

impl fmt::Display for SessionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed { by, code, reason } => {
                let by = if *by == Initiator::Local {
                    "this endpoint"
                } else {
                    "the peer"
                };
                write!(f, "closed by {by} with code {code}")?;
                if reason.is_empty() {
                    Ok(())
                } else {
                    write!(f, ": {reason}")
                }
            }
            Self::Aborted(code) => write!(f, "aborted by the peer with {code}"),
            Self::Violation(violation) => write!(f, "the peer broke the protocol: {violation}"),
        }
    }
}

/// A session from its CONNECT to the end of its CONNECT stream.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) dialect: Dialect,
    /// The path of the request.
    path: String,
    pub(crate) state: SessionState,
    pub(crate) flow: Option<Arc<Flow>>,
    capsules: CapsuleReader,
    /// Capsules stand bare on the stream, see [`crate::dialect::Quirks::raw_capsules`].
    raw: bool,
    drain_sent: bool,
    /// The peer came to one of its limits, and the caller was asked to announce what there is.
    credit_due: bool,
    /// The peer's close capsule was seen: not one byte may follow.
    closed_by_capsule: bool,
    sending: Sending,
    /// Whether what arrives on the CONNECT stream still matters: we did not stop it.
    reading: bool,
}

/// Our side of the CONNECT stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    Open,
    Finished,
    Reset,
}

impl Session {
    pub(crate) fn new(
        id: SessionId,
        dialect: Dialect,
        path: String,
        flow: Option<Arc<Flow>>,
        raw: bool,
    ) -> Self {
        // Without flow control its capsules are ignored (draft-16, 5.1).
        let capsules = match flow {
            Some(_) => CapsuleReader::new(),
            None => CapsuleReader::without_flow_control(),
        };
        Self {
            id,
            dialect,
            path,
            state: SessionState::Connecting,
            flow,
            capsules,
            raw,
            drain_sent: false,
            credit_due: false,
            closed_by_capsule: false,
            sending: Sending::Open,
            reading: true,
        }
    }

    pub(crate) fn info(&self) -> SessionInfo {
        SessionInfo::new(self)
    }

    fn step(&mut self, input: Input) -> bool {
        match self.state.next(input) {
            Some(next) => {
                self.state = next;
                true
            }
            None => false,
        }
    }

    pub(crate) fn establish(&mut self) -> bool {
        self.step(Input::Establish)
    }

    /// Returns whether what arrives on the CONNECT stream still matters.
    pub(crate) const fn is_reading(&self) -> bool {
        self.reading
    }

    fn act(&self, out: &mut Queues, action: Action) {
        out.request(self.id.stream_id(), action);
    }

    fn finish(&mut self, out: &mut Queues) {
        if self.sending == Sending::Open {
            self.sending = Sending::Finished;
            self.act(out, Action::Finish);
        }
    }

    fn reset(&mut self, out: &mut Queues, code: ErrorCode) {
        if self.sending != Sending::Reset {
            self.sending = Sending::Reset;
            self.act(out, Action::Reset(code));
        }
    }

    fn stop(&mut self, out: &mut Queues, code: ErrorCode) {
        if self.reading {
            self.reading = false;
            self.act(out, Action::Stop(code));
        }
    }

    fn send(&self, out: &mut Queues, capsules: &[Capsule]) {
        if self.sending != Sending::Open {
            return;
        }
        let mut bytes = BytesMut::new();
        for capsule in capsules {
            capsule.encode(&mut bytes);
        }
        if !self.raw {
            let mut framed = BytesMut::with_capacity(bytes.len() + 9);
            frame::encode_data(&bytes, &mut framed);
            bytes = framed;
        }
        self.act(out, Action::Write(bytes.freeze()));
    }

    /// Ends the session and tells the application, unless it was over before.
    fn end(&mut self, out: &mut Queues, end: SessionEnd) {
        let was_over = self.state.is_over();
        if self.step(Input::End) && !was_over {
            out.event(Event::Closed { id: self.id, end });
        }
    }

    /// Closes the session with a code and a reason.
    pub(crate) fn close(&mut self, out: &mut Queues, code: u32, reason: &str) {
        if !self.step(Input::Close) {
            return;
        }
        let close = CloseSession::new(code, reason);
        let reason = close.reason.clone();
        self.send(out, &[Capsule::Close(close)]);
        self.closed_here(out, code, reason);
    }

    /// Closes the session without a capsule, which means code 0 and no reason.
    pub(crate) fn close_silently(&mut self, out: &mut Queues) {
        if self.step(Input::Close) {
            self.closed_here(out, 0, String::new());
        }
    }

    fn closed_here(&mut self, out: &mut Queues, code: u32, reason: String) {
        self.finish(out);
        let end = SessionEnd::Closed {
            by: Initiator::Local,
            code,
            reason,
        };
        out.event(Event::Closed { id: self.id, end });
    }

    /// Asks the peer to finish.
    pub(crate) fn drain(&mut self, out: &mut Queues) {
        if self.state.is_open() && !self.drain_sent {
            self.drain_sent = true;
            self.send(out, &[Capsule::Drain]);
            self.handle_drain(out);
        }
    }

    /// Takes note that the peer wants the session to finish, by capsule or by GOAWAY.
    pub(crate) fn handle_drain(&mut self, out: &mut Queues) {
        if self.step(Input::Drain) {
            out.event(Event::Draining { id: self.id });
        }
    }

    /// Ends the session because of what the peer did; the CONNECT stream is reset both ways.
    pub(crate) fn violate(&mut self, out: &mut Queues, violation: ProtocolViolation) {
        let code = violation.code();
        self.reset(out, code);
        self.stop(out, code);
        self.end(out, SessionEnd::Violation(violation));
    }

    /// Announces what credit is due, and tells the peer what we wait for.
    pub(crate) fn refresh_credit(&mut self, out: &mut Queues) {
        let asked = std::mem::take(&mut self.credit_due);
        if let Some(flow) = &self.flow
            && self.state.is_open()
        {
            let capsules = credit_capsules(flow, asked);
            if !capsules.is_empty() {
                self.send(out, &capsules);
            }
        }
    }

    /// Asks the caller, once, to announce credit when the CONNECT stream has room for it.
    pub(crate) fn want_credit(&mut self, out: &mut Queues) {
        if !std::mem::replace(&mut self.credit_due, true) {
            out.event(Event::CreditDue { id: self.id });
        }
    }

    /// Processes what `frames` holds of the CONNECT stream after the message head.
    ///
    /// # Errors
    ///
    /// Violations that concern the whole connection.
    pub(crate) fn handle_frames(
        &mut self,
        frames: &mut FrameReader,
        out: &mut Queues,
    ) -> Result<(), ProtocolViolation> {
        if self.raw {
            let bytes = frames.take_rest();
            self.handle_capsule_bytes(bytes, out);
            return Ok(());
        }
        while self.reading
            && let Some(frame) = frames.next()?
        {
            match frame {
                Frame::Data(bytes) => self.handle_capsule_bytes(bytes, out),
                Frame::Unknown(_) => {}
                // RFC 9114, 4.4: only DATA frames follow on a CONNECT stream.
                _ => return Err(ProtocolViolation::FrameUnexpected),
            }
        }
        Ok(())
    }

    fn handle_capsule_bytes(&mut self, bytes: Bytes, out: &mut Queues) {
        if bytes.is_empty() {
            return;
        }
        if self.closed_by_capsule {
            self.violate(out, ProtocolViolation::DataAfterClose);
            return;
        }
        if self.state.is_over() {
            // We closed or reset the session: what the peer sent meanwhile has no meaning any more.
            return;
        }
        self.capsules.push(bytes);
        while self.state.is_open() {
            match self.capsules.next() {
                Ok(Some(capsule)) => self.handle_capsule(capsule, out),
                Ok(None) => break,
                Err(violation) => self.violate(out, violation),
            }
        }
    }

    fn handle_capsule(&mut self, capsule: Capsule, out: &mut Queues) {
        match capsule {
            Capsule::Close(close) => {
                self.closed_by_capsule = true;
                let CloseSession { code, reason } = close;
                self.end(
                    out,
                    SessionEnd::Closed {
                        by: Initiator::Peer,
                        code,
                        reason,
                    },
                );
                if self.capsules.at_boundary() {
                    self.finish(out);
                } else {
                    self.violate(out, ProtocolViolation::DataAfterClose);
                }
            }
            Capsule::Drain => self.handle_drain(out),
            Capsule::Datagram(payload) => out.event(Event::Datagram {
                id: self.id,
                payload,
            }),
            other => self.handle_flow_capsule(&other, out),
        }
    }

    fn handle_flow_capsule(&mut self, capsule: &Capsule, out: &mut Queues) {
        let Some(flow) = &self.flow else {
            return;
        };
        let result = match capsule {
            Capsule::MaxData(limit) => flow.handle_max_data(limit.get()),
            Capsule::MaxStreams { dir, limit } => flow.handle_max_streams(*dir, limit.get()),
            // A blocked peer gets what there is, without waiting for the next step.
            _ => return self.want_credit(out),
        };
        match result {
            Ok(()) => out.event(Event::CreditRaised { id: self.id }),
            // PyWebTransport 0.8 repeats equal limits.
            Err(_) if self.raw => {}
            Err(violation) => self.violate(out, violation),
        }
    }

    /// Takes note that the peer finished the CONNECT stream.
    ///
    /// # Errors
    ///
    /// Violations that concern the whole connection.
    pub(crate) fn handle_fin(
        &mut self,
        frames: &FrameReader,
        out: &mut Queues,
    ) -> Result<(), ProtocolViolation> {
        if !self.reading {
            return Ok(());
        }
        if !self.raw && !frames.at_boundary() {
            return Err(ProtocolViolation::FrameTruncated);
        }
        if self.state.is_open() && !self.capsules.at_boundary() {
            self.violate(out, ProtocolViolation::CapsuleTruncated);
            return Ok(());
        }
        let end = SessionEnd::Closed {
            by: Initiator::Peer,
            code: 0,
            reason: String::new(),
        };
        self.end(out, end);
        self.finish(out);
        Ok(())
    }

    /// Takes note that the peer reset the CONNECT stream.
    pub(crate) fn handle_reset(&mut self, code: ErrorCode, out: &mut Queues) {
        self.end(out, SessionEnd::Aborted(code));
        self.finish(out);
    }

    /// Takes note that the peer stopped reading the CONNECT stream.
    pub(crate) fn handle_stopped(&mut self, code: ErrorCode, out: &mut Queues) {
        if self.sending == Sending::Open {
            self.reset(out, code);
        }
        // A peer that closes may say this beside its capsule and its FIN (draft-16, 6), which may come later.
        let ends_by_itself = code == ErrorCode::WT_SESSION_GONE;
        if !self.state.is_over() && !ends_by_itself {
            self.stop(out, ErrorCode::WT_SESSION_GONE);
            self.end(out, SessionEnd::Aborted(code));
        }
    }

    /// Takes note that a server does not read more of a request that it will answer (RFC 9114, 4.1).
    pub(crate) fn handle_answered_early(&mut self, out: &mut Queues) {
        if self.sending == Sending::Open {
            self.reset(out, ErrorCode::H3_NO_ERROR);
        }
    }

    /// Gives up a CONNECT that was not answered.
    pub(crate) fn cancel(&mut self, out: &mut Queues, code: ErrorCode) {
        self.reset(out, code);
        self.stop(out, code);
        self.step(Input::End);
    }

    /// Ends a CONNECT that was answered with a refusal, whose content is not read.
    pub(crate) fn handle_refusal(&mut self, out: &mut Queues) {
        self.finish(out);
        self.stop(out, ErrorCode::H3_NO_ERROR);
        self.step(Input::End);
    }
}

/// Lists the limits that are due and those at which we wait.
fn credit_capsules(flow: &Flow, asked: bool) -> Vec<Capsule> {
    let int = |v: u64| VarInt::new(v).unwrap_or(VarInt::MAX);
    let mut out = Vec::new();
    let renewed = flow.recv_data.renew(asked);
    out.extend(renewed.map(|v| Capsule::MaxData(int(v))));
    for dir in [Dir::Bi, Dir::Uni] {
        let renewed = flow.accept(dir).renew(asked);
        out.extend(renewed.map(|v| Capsule::MaxStreams { dir, limit: int(v) }));
    }
    let blocked = flow.send_data.take_blocked();
    out.extend(blocked.map(|v| Capsule::DataBlocked(int(v))));
    for dir in [Dir::Bi, Dir::Uni] {
        let blocked = flow.open(dir).take_blocked();
        out.extend(blocked.map(|v| Capsule::StreamsBlocked { dir, limit: int(v) }));
    }
    out
}
