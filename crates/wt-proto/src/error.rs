//! What a peer can do wrong.

use crate::ErrorCode;

/// How much ends when a rule is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(
    clippy::exhaustive_enums,
    reason = "HTTP/3 has connection errors and stream errors, nothing between"
)]
pub enum Scope {
    /// The connection is closed with the code.
    Connection,
    /// The request stream is reset with the code, and the session on it, if there is one, is over.
    Stream,
}

/// A rule the peer broke: what it sent can be read but may not be sent, or cannot be read.
///
/// [`code`](Self::code) and [`scope`](Self::scope) say how to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolViolation {
    /// A stream ended within a frame (RFC 9114, 7.1).
    #[error("stream ended within a frame")]
    FrameTruncated,
    /// The payload of a frame does not fill its length exactly (RFC 9114, 7.1).
    #[error("frame payload does not fit its length")]
    FrameMalformed,
    /// A frame came on a stream or at a time it may not, or has a type HTTP/2 used (RFC 9114, 7.2 and 7.2.8).
    #[error("frame not allowed here")]
    FrameUnexpected,
    /// The signal 0x41 of a bidirectional stream came elsewhere than as the very first bytes (draft-16, 4.3).
    #[error("WT_STREAM signal within a stream")]
    WtStreamMisplaced,
    /// A frame that has to be kept whole is larger than we keep (RFC 9114, 10.5).
    #[error("frame too large")]
    FrameTooLarge,
    /// The control stream did not begin with SETTINGS (RFC 9114, 6.2.1).
    #[error("control stream did not begin with SETTINGS")]
    MissingSettings,
    /// A second SETTINGS frame came (RFC 9114, 7.2.4).
    #[error("second SETTINGS frame")]
    DuplicateSettings,
    /// A setting that HTTP/2 used and HTTP/3 forbids was sent (RFC 9114, 7.2.4.1).
    #[error("setting reserved by HTTP/2")]
    SettingsReserved,
    /// A setting was sent twice (RFC 9114, 7.2.4).
    #[error("setting sent twice")]
    SettingsDuplicateId,
    /// A setting has a value it cannot have (RFC 9220, 3; RFC 9297, 2.1.1; draft-16, 3.1).
    #[error("setting has an invalid value")]
    SettingsInvalidValue,
    /// The payload of SETTINGS ends within a setting (RFC 9114, 7.1).
    #[error("SETTINGS ends within a setting")]
    SettingsMalformed,
    /// The SETTINGS frame is larger than we read (RFC 9114, 10.5).
    #[error("SETTINGS frame too large")]
    SettingsTooLarge,
    /// A second control, QPACK encoder or QPACK decoder stream was opened (RFC 9114, 6.2.1; RFC 9204, 4.2).
    #[error("second stream of a kind that exists once")]
    DuplicateCriticalStream,
    /// The control stream or a QPACK stream ended (RFC 9114, 6.2.1; RFC 9204, 4.2).
    #[error("critical stream closed")]
    CriticalStreamClosed,
    /// A client opened a push stream (RFC 9114, 6.2.2).
    #[error("push stream opened by a client")]
    PushStream,
    /// A push id was used though none was ever allowed (RFC 9114, 4.6).
    #[error("push id beyond the limit")]
    PushId,
    /// A session id is not that of a client-initiated bidirectional stream (draft-16, 4).
    #[error("session id is not that of a client-initiated bidirectional stream")]
    InvalidSessionId,
    /// A GOAWAY names a larger id than the one before (RFC 9114, 5.2).
    #[error("GOAWAY id increased")]
    GoAwayIncreased,
    /// A server's GOAWAY names the id of something else than a request stream (RFC 9114, 7.2.6).
    #[error("GOAWAY id is not that of a request stream")]
    GoAwayInvalidId,
    /// A datagram ends within its session id (RFC 9297, 2.1).
    #[error("datagram ends within its session id")]
    DatagramTruncated,
    /// The quarter stream id of a datagram is larger than 2^60 - 1 (RFC 9297, 2.1).
    #[error("datagram for a stream id that cannot exist")]
    InvalidQuarterId,
    /// A datagram is for a request that the stream limit of QUIC does not allow yet (RFC 9297, 2.1).
    #[error("datagram for a stream beyond the limit")]
    DatagramBeyondLimit,
    /// A datagram is for a request that has no use for datagrams (RFC 9297, 2).
    #[error("datagram for a request that has no use for it")]
    DatagramUnexpected,
    /// A server opened a bidirectional stream that is not a WebTransport stream (RFC 9114, 6.1).
    #[error("bidirectional stream opened by the server")]
    UnexpectedServerStream,
    /// A field section cannot be decoded (RFC 9204, 2.2).
    #[error("field section cannot be decoded")]
    QpackDecompression,
    /// The QPACK encoder stream carries an instruction it may not (RFC 9204, 4.3).
    #[error("bad instruction on the QPACK encoder stream")]
    QpackEncoderStream,
    /// The QPACK decoder stream carries an instruction it may not (RFC 9204, 4.4).
    #[error("bad instruction on the QPACK decoder stream")]
    QpackDecoderStream,
    /// A field section is larger than we announced to take (RFC 9114, 4.2.2); a server answers 431 first.
    #[error("field section too large")]
    FieldSectionTooLarge,
    /// A request or response is malformed (RFC 9114, 4.1.2).
    #[error("malformed message")]
    MalformedMessage,
    /// A request stream ended before the request was complete (RFC 9114, 4.1).
    #[error("request ended before it was complete")]
    RequestIncomplete,
    /// The CONNECT stream ended within a capsule (RFC 9297, 3.3).
    #[error("stream ended within a capsule")]
    CapsuleTruncated,
    /// The value of a capsule does not have the layout of its type (RFC 9297, 3.3).
    #[error("malformed capsule")]
    CapsuleMalformed,
    /// A capsule is longer than its type can be (RFC 9297, 3.3).
    #[error("capsule too large")]
    CapsuleTooLarge,
    /// The message of WT_CLOSE_SESSION is longer than 1024 bytes (draft-16, 6).
    #[error("close message longer than 1024 bytes")]
    CloseMessageTooLong,
    /// The message of WT_CLOSE_SESSION is not UTF-8 (draft-16, 6).
    #[error("close message is not UTF-8")]
    CloseMessageNotUtf8,
    /// Data came on the CONNECT stream after WT_CLOSE_SESSION (draft-16, 6).
    #[error("data after the close capsule")]
    DataAfterClose,
    /// WT_MAX_STREAM_DATA or WT_STREAM_DATA_BLOCKED came, which exist over HTTP/2 only (draft-16, 5.4).
    #[error("capsule prohibited over HTTP/3")]
    CapsuleProhibited,
    /// WT_MAX_DATA does not raise the limit (draft-16, 5.6.4).
    #[error("WT_MAX_DATA does not raise the limit")]
    MaxDataNotIncreased,
    /// WT_MAX_STREAMS does not raise the limit (draft-16, 5.6.2).
    #[error("WT_MAX_STREAMS does not raise the limit")]
    MaxStreamsNotIncreased,
    /// WT_MAX_STREAMS or WT_STREAMS_BLOCKED names more than 2^60 streams (draft-16, 5.6.2 and 5.6.3).
    #[error("stream limit larger than 2^60")]
    MaxStreamsTooLarge,
    /// A session has more streams than we allowed (draft-16, 5.6.2).
    #[error("more streams than allowed")]
    StreamLimitExceeded,
    /// A session has more data than we allowed (draft-16, 5.6.4).
    #[error("more data than allowed")]
    DataLimitExceeded,
    /// The connection has more sessions than we allow (draft-16, 5.2).
    #[error("too many sessions on the connection")]
    TooManySessions,
    /// The server chose an application protocol that was not offered (draft-16, 3.3).
    #[error("application protocol was not offered")]
    AlpnMismatch,
    /// The peer did not announce everything WebTransport needs (draft-16, 3.1).
    #[error("peer lacks what WebTransport requires")]
    RequirementsNotMet,
}

impl ProtocolViolation {
    /// Returns the code to answer with.
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::FrameTruncated
            | Self::FrameMalformed
            | Self::WtStreamMisplaced
            | Self::SettingsMalformed => ErrorCode::H3_FRAME_ERROR,
            Self::FrameUnexpected | Self::DuplicateSettings => ErrorCode::H3_FRAME_UNEXPECTED,
            Self::FrameTooLarge | Self::SettingsTooLarge | Self::FieldSectionTooLarge => {
                ErrorCode::H3_EXCESSIVE_LOAD
            }
            Self::MissingSettings => ErrorCode::H3_MISSING_SETTINGS,
            Self::SettingsReserved | Self::SettingsDuplicateId | Self::SettingsInvalidValue => {
                ErrorCode::H3_SETTINGS_ERROR
            }
            Self::DuplicateCriticalStream | Self::PushStream | Self::UnexpectedServerStream => {
                ErrorCode::H3_STREAM_CREATION_ERROR
            }
            Self::CriticalStreamClosed => ErrorCode::H3_CLOSED_CRITICAL_STREAM,
            Self::PushId
            | Self::InvalidSessionId
            | Self::GoAwayIncreased
            | Self::GoAwayInvalidId
            | Self::DatagramBeyondLimit => ErrorCode::H3_ID_ERROR,
            Self::DatagramTruncated | Self::InvalidQuarterId | Self::DatagramUnexpected => {
                ErrorCode::H3_DATAGRAM_ERROR
            }
            Self::QpackDecompression => ErrorCode::QPACK_DECOMPRESSION_FAILED,
            Self::QpackEncoderStream => ErrorCode::QPACK_ENCODER_STREAM_ERROR,
            Self::QpackDecoderStream => ErrorCode::QPACK_DECODER_STREAM_ERROR,
            Self::RequestIncomplete => ErrorCode::H3_REQUEST_INCOMPLETE,
            Self::MalformedMessage
            | Self::CapsuleTruncated
            | Self::CapsuleMalformed
            | Self::CapsuleTooLarge
            | Self::CloseMessageTooLong
            | Self::CloseMessageNotUtf8
            | Self::DataAfterClose
            | Self::CapsuleProhibited => ErrorCode::H3_MESSAGE_ERROR,
            Self::MaxDataNotIncreased
            | Self::MaxStreamsNotIncreased
            | Self::MaxStreamsTooLarge
            | Self::StreamLimitExceeded
            | Self::DataLimitExceeded => ErrorCode::WT_FLOW_CONTROL_ERROR,
            Self::TooManySessions => ErrorCode::H3_REQUEST_REJECTED,
            Self::AlpnMismatch => ErrorCode::WT_ALPN_ERROR,
            Self::RequirementsNotMet => ErrorCode::WT_REQUIREMENTS_NOT_MET,
        }
    }

    /// Returns how much ends.
    pub const fn scope(self) -> Scope {
        match self {
            Self::FieldSectionTooLarge
            | Self::DatagramUnexpected
            | Self::MalformedMessage
            | Self::RequestIncomplete
            | Self::CapsuleTruncated
            | Self::CapsuleMalformed
            | Self::CapsuleTooLarge
            | Self::CloseMessageTooLong
            | Self::CloseMessageNotUtf8
            | Self::DataAfterClose
            | Self::CapsuleProhibited
            | Self::MaxDataNotIncreased
            | Self::MaxStreamsNotIncreased
            | Self::MaxStreamsTooLarge
            | Self::StreamLimitExceeded
            | Self::DataLimitExceeded
            | Self::TooManySessions
            | Self::AlpnMismatch => Scope::Stream,
            _ => Scope::Connection,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ProtocolViolation as V, *};

    #[test]
    fn every_violation_has_its_code_and_scope() {
        for (code, scope, violations) in [
            (
                ErrorCode::H3_FRAME_ERROR,
                Scope::Connection,
                &[
                    V::FrameTruncated,
                    V::FrameMalformed,
                    V::WtStreamMisplaced,
                    V::SettingsMalformed,
                ][..],
            ),
            (
                ErrorCode::H3_FRAME_UNEXPECTED,
                Scope::Connection,
                &[V::FrameUnexpected, V::DuplicateSettings],
            ),
            (
                ErrorCode::H3_EXCESSIVE_LOAD,
                Scope::Connection,
                &[V::FrameTooLarge, V::SettingsTooLarge],
            ),
            (
                ErrorCode::H3_MISSING_SETTINGS,
                Scope::Connection,
                &[V::MissingSettings],
            ),
            (
                ErrorCode::H3_SETTINGS_ERROR,
                Scope::Connection,
                &[
                    V::SettingsReserved,
                    V::SettingsDuplicateId,
                    V::SettingsInvalidValue,
                ],
            ),
            (
                ErrorCode::H3_STREAM_CREATION_ERROR,
                Scope::Connection,
                &[
                    V::DuplicateCriticalStream,
                    V::PushStream,
                    V::UnexpectedServerStream,
                ],
            ),
            (
                ErrorCode::H3_CLOSED_CRITICAL_STREAM,
                Scope::Connection,
                &[V::CriticalStreamClosed],
            ),
            (
                ErrorCode::H3_ID_ERROR,
                Scope::Connection,
                &[
                    V::PushId,
                    V::InvalidSessionId,
                    V::GoAwayIncreased,
                    V::GoAwayInvalidId,
                    V::DatagramBeyondLimit,
                ],
            ),
            (
                ErrorCode::H3_DATAGRAM_ERROR,
                Scope::Connection,
                &[V::DatagramTruncated, V::InvalidQuarterId],
            ),
            (
                ErrorCode::H3_DATAGRAM_ERROR,
                Scope::Stream,
                &[V::DatagramUnexpected],
            ),
            (
                ErrorCode::QPACK_DECOMPRESSION_FAILED,
                Scope::Connection,
                &[V::QpackDecompression],
            ),
            (
                ErrorCode::QPACK_ENCODER_STREAM_ERROR,
                Scope::Connection,
                &[V::QpackEncoderStream],
            ),
            (
                ErrorCode::QPACK_DECODER_STREAM_ERROR,
                Scope::Connection,
                &[V::QpackDecoderStream],
            ),
            (
                ErrorCode::WT_REQUIREMENTS_NOT_MET,
                Scope::Connection,
                &[V::RequirementsNotMet],
            ),
            (
                ErrorCode::H3_EXCESSIVE_LOAD,
                Scope::Stream,
                &[V::FieldSectionTooLarge],
            ),
            (
                ErrorCode::H3_REQUEST_INCOMPLETE,
                Scope::Stream,
                &[V::RequestIncomplete],
            ),
            (
                ErrorCode::H3_MESSAGE_ERROR,
                Scope::Stream,
                &[
                    V::MalformedMessage,
                    V::CapsuleTruncated,
                    V::CapsuleMalformed,
                    V::CapsuleTooLarge,
                    V::CloseMessageTooLong,
                    V::CloseMessageNotUtf8,
                    V::DataAfterClose,
                    V::CapsuleProhibited,
                ],
            ),
            (
                ErrorCode::WT_FLOW_CONTROL_ERROR,
                Scope::Stream,
                &[
                    V::MaxDataNotIncreased,
                    V::MaxStreamsNotIncreased,
                    V::MaxStreamsTooLarge,
                    V::StreamLimitExceeded,
                    V::DataLimitExceeded,
                ],
            ),
            (
                ErrorCode::H3_REQUEST_REJECTED,
                Scope::Stream,
                &[V::TooManySessions],
            ),
            (ErrorCode::WT_ALPN_ERROR, Scope::Stream, &[V::AlpnMismatch]),
        ] {
            for violation in violations {
                assert_eq!(violation.code(), code, "{violation:?}");
                assert_eq!(violation.scope(), scope, "{violation:?}");
            }
        }
    }
}
