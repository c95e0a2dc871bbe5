use bytes::{Buf, BufMut};

use crate::ProtocolViolation;

/// The largest length of a close message in bytes.
///
/// See draft-16, 6.
pub const MAX_CLOSE_REASON: usize = 1024;

const CODE_LEN: usize = 4;

/// The largest length of the capsule's value.
pub(super) const MAX_LEN: usize = CODE_LEN + MAX_CLOSE_REASON;

/// The value of WT_CLOSE_SESSION: why a session ended, in the words of the application.
///
/// ```text
/// Application Error Code (32) | Application Error Message (..8192)
/// ```
///
/// A stream that ends without the capsule means the same as the default value: code 0 and no message. See draft-16, 6.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct CloseSession {
    /// The application's code.
    pub code: u32,
    /// The application's message. What is beyond [`MAX_CLOSE_REASON`] bytes is not sent.
    pub reason: String,
}

impl CloseSession {
    /// Creates a value, of whose reason at most [`MAX_CLOSE_REASON`] bytes are kept, cut between characters.
    pub fn new(code: u32, reason: &str) -> Self {
        Self {
            code,
            reason: truncated(reason).to_owned(),
        }
    }

    pub(super) fn decode(mut value: &[u8]) -> Result<Self, ProtocolViolation> {
        let code = value
            .try_get_u32()
            .map_err(|_| ProtocolViolation::CapsuleMalformed)?;
        if value.len() > MAX_CLOSE_REASON {
            return Err(ProtocolViolation::CloseMessageTooLong);
        }
        let reason =
            std::str::from_utf8(value).map_err(|_| ProtocolViolation::CloseMessageNotUtf8)?;
        Ok(Self {
            code,
            reason: reason.to_owned(),
        })
    }

    pub(super) fn encoded_len(&self) -> usize {
        CODE_LEN + truncated(&self.reason).len()
    }

    pub(super) fn encode(&self, out: &mut impl BufMut) {
        out.put_u32(self.code);
        out.put_slice(truncated(&self.reason).as_bytes());
    }
}

fn truncated(reason: &str) -> &str {
    let mut end = reason.len().min(MAX_CLOSE_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.get(..end).unwrap_or_default()
}
