use bytes::Bytes;

use super::{Capsule, CapsuleType, MAX_DATAGRAM, close};
use crate::{ProtocolViolation, VarInt, tlv::Input};

/// Reads the capsules of a CONNECT stream as its bytes arrive.
///
/// After every [`push`](Self::push), call [`next`](Self::next) until it answers `None`. Capsules of other types than
/// those of [`Capsule`], and DATAGRAM capsules above [`MAX_DATAGRAM`], are skipped as they arrive, whatever their
/// length. Nothing may follow [`Capsule::Close`].
#[derive(Debug, Default)]
pub struct CapsuleReader {
    input: Input,
    state: State,
    ignores_flow_control: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Before or within type and length.
    #[default]
    Head,
    /// Within the value of an unknown capsule.
    Skip { left: u64 },
    /// Within the value of a known capsule.
    Whole { kind: CapsuleType, len: usize },
    /// After WT_CLOSE_SESSION.
    Closed,
    /// After a violation.
    Failed(ProtocolViolation),
}

impl CapsuleReader {
    /// Creates a reader for a stream whose first capsule has not come yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a reader that skips the capsules of flow control like unknown ones.
    ///
    /// This is what a session does that has not negotiated flow control (draft-16, 5.1).
    pub fn without_flow_control() -> Self {
        Self {
            ignores_flow_control: true,
            ..Self::default()
        }
    }

    /// Hands in the next bytes of the stream, that is, of the payloads of its DATA frames.
    pub fn push(&mut self, bytes: Bytes) {
        self.input.push(bytes);
    }

    /// Returns the next capsule, or `None` if more bytes are needed.
    ///
    /// # Errors
    ///
    /// A violation is the last thing the stream has to say; every later call returns it again.
    #[allow(
        clippy::should_implement_trait,
        reason = "`None` means that more bytes are needed, not that there will be no more"
    )]
    pub fn next(&mut self) -> Result<Option<Capsule>, ProtocolViolation> {
        let result = self.advance();
        if let Err(violation) = result {
            self.state = State::Failed(violation);
        }
        result
    }

    /// Tells whether the stream may end here: no capsule is incomplete and no byte unread.
    pub fn at_boundary(&self) -> bool {
        match self.state {
            State::Head | State::Closed => self.input.is_empty(),
            State::Skip { .. } | State::Whole { .. } | State::Failed(_) => false,
        }
    }

    /// Returns how many bytes the reader holds.
    pub fn buffered(&self) -> usize {
        self.input.len()
    }

    fn advance(&mut self) -> Result<Option<Capsule>, ProtocolViolation> {
        loop {
            match self.state {
                State::Head => {
                    let (Some(kind), Some(len)) = self.input.head() else {
                        return Ok(None);
                    };
                    self.input.clear_head();
                    let kind = CapsuleType(kind);
                    self.state = if self.ignores_flow_control && kind.is_flow_control() {
                        State::Skip { left: len }
                    } else {
                        begin(kind, len)?
                    };
                }
                State::Skip { mut left } => {
                    self.input.skip(&mut left);
                    if left > 0 {
                        self.state = State::Skip { left };
                        return Ok(None);
                    }
                    self.state = State::Head;
                }
                State::Whole { kind, len } => {
                    let Some(value) = self.input.take_whole(len) else {
                        return Ok(None);
                    };
                    let capsule = Capsule::decode_value(kind, &value)?;
                    self.state = match capsule {
                        Capsule::Close(_) => State::Closed,
                        _ => State::Head,
                    };
                    return Ok(Some(capsule));
                }
                State::Closed if self.input.is_empty() => return Ok(None),
                State::Closed => return Err(ProtocolViolation::DataAfterClose),
                State::Failed(violation) => return Err(violation),
            }
        }
    }
}

/// Decides what to do with the value of a capsule.
fn begin(kind: CapsuleType, len: u64) -> Result<State, ProtocolViolation> {
    let (max, too_large) = match kind {
        // A datagram may be lost, and one of this size is not worth its memory.
        CapsuleType::DATAGRAM if len > MAX_DATAGRAM as u64 => return Ok(State::Skip { left: len }),
        CapsuleType::DATAGRAM => (MAX_DATAGRAM, ProtocolViolation::CapsuleTooLarge),
        CapsuleType::WT_MAX_STREAM_DATA | CapsuleType::WT_STREAM_DATA_BLOCKED => {
            return Err(ProtocolViolation::CapsuleProhibited);
        }
        CapsuleType::WT_CLOSE_SESSION => (close::MAX_LEN, ProtocolViolation::CloseMessageTooLong),
        CapsuleType::WT_DRAIN_SESSION => (0, ProtocolViolation::CapsuleTooLarge),
        kind if kind.is_known() => (VarInt::MAX.size(), ProtocolViolation::CapsuleTooLarge),
        _ => return Ok(State::Skip { left: len }),
    };
    match usize::try_from(len) {
        Ok(len) if len <= max => Ok(State::Whole { kind, len }),
        _ => Err(too_large),
    }
}
