//! Heads of requests and responses, and what makes them malformed.
//!
//! A head is a field section with meaning: pseudo-headers first, then header fields. Decoding checks every rule of
//! RFC 9114, 4.1.2 to 4.3 and of RFC 9220, so a decoded head is one a server may act upon.

mod request;
mod response;
mod validate;

#[cfg(test)]
mod tests;

use http::{
    HeaderMap,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};

use crate::qpack::QpackError;

pub use {
    request::{RequestHead, UnknownUpgradeToken, UpgradeToken},
    response::ResponseHead,
    validate::{InvalidHeader, validate_user_headers},
};

/// A head that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// The message breaks the rule named: `H3_MESSAGE_ERROR` on its stream, RFC 9114, 4.1.2.
    #[error("malformed message: {0}")]
    Malformed(&'static str),
    /// The fields are more than this side takes: status 431 or a reset, RFC 9114, 4.2.2.
    #[error("field section is larger than permitted")]
    TooLarge,
    /// The section is not valid QPACK: `QPACK_DECOMPRESSION_FAILED` on the connection, RFC 9204, 6.
    #[error("field section cannot be decompressed")]
    Decompression,
}

/// Tells whether fields speak of content, which the messages of a session do not have: RFC 9297, 3.2.
///
/// Transfer-Encoding is in no message of HTTP/3.
pub(crate) fn has_content_fields(headers: &HeaderMap) -> bool {
    headers.contains_key(CONTENT_LENGTH) || headers.contains_key(CONTENT_TYPE)
}

impl From<QpackError> for HeadError {
    fn from(error: QpackError) -> Self {
        match error {
            QpackError::Decompression => Self::Decompression,
            QpackError::TooLarge => Self::TooLarge,
        }
    }
}
