//! The streams whose end is the end of the connection: control, QPACK encoder, QPACK decoder.

use bytes::Bytes;

use crate::{
    ProtocolViolation, Side, StreamId,
    frame::{Frame, FrameReader},
    qpack::{DecoderStreamReader, EncoderStreamReader},
    settings::Settings,
};

/// One of the three streams that each side has exactly once (RFC 9114, 6.2.1; RFC 9204, 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(
    clippy::exhaustive_enums,
    reason = "RFC 9114 and RFC 9204 define these three"
)]
pub enum Critical {
    /// The control stream.
    Control,
    /// The encoder stream of QPACK.
    QpackEncoder,
    /// The decoder stream of QPACK.
    QpackDecoder,
}

/// What the control stream of the peer said.
#[derive(Debug)]
pub(super) enum ControlEvent {
    Settings(Settings),
    GoAway(u64),
}

/// SETTINGS are small; a peer that announces more than this means harm.
const MAX_SETTINGS: usize = 16 * 1024;

/// The receiving side of the peer's critical streams.
#[derive(Debug)]
pub(super) struct Control {
    side: Side,
    frames: FrameReader,
    settings_seen: bool,
    goaway: Option<u64>,
    max_push_id: Option<u64>,
    seen: [bool; 3],
    encoder: EncoderStreamReader,
    decoder: DecoderStreamReader,
}

impl Control {
    pub(super) fn new(side: Side) -> Self {
        Self {
            side,
            frames: FrameReader::new(MAX_SETTINGS),
            settings_seen: false,
            goaway: None,
            max_push_id: None,
            seen: [false; 3],
            encoder: EncoderStreamReader::default(),
            decoder: DecoderStreamReader::default(),
        }
    }

    /// Takes note that the peer opened a critical stream.
    pub(super) fn open(&mut self, which: Critical) -> Result<(), ProtocolViolation> {
        let seen = &mut self.seen[which as usize];
        if std::mem::replace(seen, true) {
            return Err(ProtocolViolation::DuplicateCriticalStream);
        }
        Ok(())
    }

    pub(super) fn push(&mut self, which: Critical, bytes: Bytes) -> Result<(), ProtocolViolation> {
        match which {
            Critical::Control => self.frames.push(bytes),
            Critical::QpackEncoder => {
                self.encoder
                    .push(&bytes)
                    .map_err(|_| ProtocolViolation::QpackEncoderStream)?;
            }
            Critical::QpackDecoder => {
                self.decoder
                    .push(&bytes)
                    .map_err(|_| ProtocolViolation::QpackDecoderStream)?;
            }
        }
        Ok(())
    }

    /// Reads the next thing on the control stream that matters to the connection.
    pub(super) fn next(&mut self) -> Result<Option<ControlEvent>, ProtocolViolation> {
        while let Some(frame) = self.frames.next().map_err(settings_too_large)? {
            if !self.settings_seen {
                let Frame::Settings(payload) = frame else {
                    return Err(ProtocolViolation::MissingSettings);
                };
                self.settings_seen = true;
                return Ok(Some(ControlEvent::Settings(Settings::decode(&payload)?)));
            }
            match frame {
                Frame::Unknown(_) => {}
                Frame::Settings(_) => return Err(ProtocolViolation::DuplicateSettings),
                Frame::GoAway(id) => return self.goaway(id.get()).map(Some),
                Frame::MaxPushId(id) if self.side == Side::Server => {
                    if self.max_push_id.is_some_and(|old| id.get() < old) {
                        return Err(ProtocolViolation::PushId);
                    }
                    self.max_push_id = Some(id.get());
                }
                // We promise no push, and allow none, so every push id is beyond what exists.
                Frame::CancelPush(_) => return Err(ProtocolViolation::PushId),
                _ => return Err(ProtocolViolation::FrameUnexpected),
            }
        }
        Ok(None)
    }

    fn goaway(&mut self, id: u64) -> Result<ControlEvent, ProtocolViolation> {
        let is_request = StreamId::new(id)
            .is_some_and(|id| id.initiator() == Side::Client && id.dir() == crate::Dir::Bi);
        if self.side == Side::Client && !is_request {
            return Err(ProtocolViolation::GoAwayInvalidId);
        }
        if self.goaway.is_some_and(|old| id > old) {
            return Err(ProtocolViolation::GoAwayIncreased);
        }
        self.goaway = Some(id);
        Ok(ControlEvent::GoAway(id))
    }
}

fn settings_too_large(violation: ProtocolViolation) -> ProtocolViolation {
    match violation {
        ProtocolViolation::FrameTooLarge => ProtocolViolation::SettingsTooLarge,
        other => other,
    }
}
