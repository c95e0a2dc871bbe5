//! Error codes.

use std::fmt;

use crate::{VarInt, coding::is_grease};

/// A code as HTTP/3 puts it into RESET_STREAM, STOP_SENDING and CONNECTION_CLOSE.
///
/// The named ones are in the [registry](https://www.iana.org/assignments/http3-parameters/); the range from
/// [`WT_APPLICATION_ERROR_FIRST`](Self::WT_APPLICATION_ERROR_FIRST) to
/// [`WT_APPLICATION_ERROR_LAST`](Self::WT_APPLICATION_ERROR_LAST) carries the codes of WebTransport applications.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode(u64);

macro_rules! error_codes {
    ($($(#[$doc:meta])+ $name:ident = $value:literal;)+) => {
        impl ErrorCode {
            $($(#[$doc])+ pub const $name: Self = Self($value);)+

            /// Returns the name in the registry.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)+
                    _ => None,
                }
            }
        }

        #[cfg(test)]
        const NAMED: &[ErrorCode] = &[$(ErrorCode::$name),+];
    };
}

error_codes! {
    /// A datagram or the capsule form of one is malformed (RFC 9297, 5.2).
    H3_DATAGRAM_ERROR = 0x33;
    /// Nothing is wrong (RFC 9114, 8.1).
    H3_NO_ERROR = 0x100;
    /// The peer broke a rule that has no code of its own (RFC 9114, 8.1).
    H3_GENERAL_PROTOCOL_ERROR = 0x101;
    /// Something went wrong on our side (RFC 9114, 8.1).
    H3_INTERNAL_ERROR = 0x102;
    /// The peer opened a stream that will not be accepted (RFC 9114, 8.1).
    H3_STREAM_CREATION_ERROR = 0x103;
    /// A stream the connection cannot live without was closed (RFC 9114, 8.1).
    H3_CLOSED_CRITICAL_STREAM = 0x104;
    /// A frame came where it may not (RFC 9114, 8.1).
    H3_FRAME_UNEXPECTED = 0x105;
    /// A frame has the wrong layout or size (RFC 9114, 8.1).
    H3_FRAME_ERROR = 0x106;
    /// The peer makes too much work (RFC 9114, 8.1).
    H3_EXCESSIVE_LOAD = 0x107;
    /// A stream, push or session id is wrong (RFC 9114, 8.1).
    H3_ID_ERROR = 0x108;
    /// The payload of SETTINGS is wrong (RFC 9114, 8.1).
    H3_SETTINGS_ERROR = 0x109;
    /// The control stream did not begin with SETTINGS (RFC 9114, 8.1).
    H3_MISSING_SETTINGS = 0x10a;
    /// The request was not processed and may be tried again (RFC 9114, 8.1).
    H3_REQUEST_REJECTED = 0x10b;
    /// The request or its response is no longer wanted (RFC 9114, 8.1).
    H3_REQUEST_CANCELLED = 0x10c;
    /// The stream ended within the request (RFC 9114, 8.1).
    H3_REQUEST_INCOMPLETE = 0x10d;
    /// The message is malformed (RFC 9114, 8.1).
    H3_MESSAGE_ERROR = 0x10e;
    /// The connection made for a CONNECT request failed (RFC 9114, 8.1).
    H3_CONNECT_ERROR = 0x10f;
    /// The request should be made over HTTP/1.1 (RFC 9114, 8.1).
    H3_VERSION_FALLBACK = 0x110;
    /// A field section cannot be decoded (RFC 9204, 6).
    QPACK_DECOMPRESSION_FAILED = 0x200;
    /// An instruction on the encoder stream is wrong (RFC 9204, 6).
    QPACK_ENCODER_STREAM_ERROR = 0x201;
    /// An instruction on the decoder stream is wrong (RFC 9204, 6).
    QPACK_DECODER_STREAM_ERROR = 0x202;
    /// The limits of the session were exceeded or announced wrongly (draft-16, 5).
    WT_FLOW_CONTROL_ERROR = 0x045d_4487;
    /// No application protocol could be agreed on (draft-16, 3.3).
    WT_ALPN_ERROR = 0x0817_b3dd;
    /// The stream ends because its session did (draft-16, 6).
    WT_SESSION_GONE = 0x170d_7b68;
    /// The peer lacks something WebTransport needs (draft-16, 3.1).
    WT_REQUIREMENTS_NOT_MET = 0x212c_0d48;
    /// The stream came before its session and there was no room to keep it (draft-16, 4.6).
    WT_BUFFERED_STREAM_REJECTED = 0x3994_bd84;
}

impl ErrorCode {
    /// The code of application code 0.
    pub const WT_APPLICATION_ERROR_FIRST: Self = Self(0x52e4_a40f_a8db);

    /// The code of application code 2^32 - 1.
    pub const WT_APPLICATION_ERROR_LAST: Self = Self(0x52e5_ac98_3162);

    /// Creates a code, or answers `None` if it needs more than 62 bits.
    pub const fn new(code: u64) -> Option<Self> {
        if code <= VarInt::MAX.get() {
            Some(Self(code))
        } else {
            None
        }
    }

    /// Returns the number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the code that carries an application's code; it is never a reserved one.
    ///
    /// See draft-16, 4.4.
    pub const fn from_application(code: u32) -> Self {
        let code = code as u64;
        Self(Self::WT_APPLICATION_ERROR_FIRST.0 + code + code / 0x1e)
    }

    /// Returns the application's code this one carries, or `None` if it is outside the range or reserved.
    ///
    /// See draft-16, 4.4.
    pub const fn to_application(self) -> Option<u32> {
        let first = Self::WT_APPLICATION_ERROR_FIRST.0;
        let last = Self::WT_APPLICATION_ERROR_LAST.0;
        if self.0 < first || self.0 > last || is_grease(self.0) {
            return None;
        }
        let shifted = self.0 - first;
        Some((shifted - shifted / 0x1f) as u32)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({:#x})", self.0),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ErrorCode({self})")
    }
}

impl From<VarInt> for ErrorCode {
    fn from(code: VarInt) -> Self {
        Self(code.get())
    }
}

impl From<ErrorCode> for VarInt {
    fn from(code: ErrorCode) -> Self {
        // Both types have the same range.
        Self::new(code.0).unwrap_or(Self::MAX)
    }
}

impl From<ErrorCode> for u64 {
    fn from(code: ErrorCode) -> Self {
        code.0
    }
}

/// Codes that applications by convention give when they close a session or reset a stream.
///
/// The small ones have the meaning they have in QUIC (RFC 9000, 20.1). On the wire all of them are
/// [mapped](ErrorCode::from_application).
pub mod application {
    /// Nothing is wrong.
    pub const NO_ERROR: u32 = 0x0;
    /// Something went wrong on our side.
    pub const INTERNAL_ERROR: u32 = 0x1;
    /// The server does not take new sessions.
    pub const CONNECTION_REFUSED: u32 = 0x2;
    /// More data was sent than was allowed.
    pub const FLOW_CONTROL_ERROR: u32 = 0x3;
    /// More streams were opened than were allowed.
    pub const STREAM_LIMIT_ERROR: u32 = 0x4;
    /// Data came for a stream that cannot receive it.
    pub const STREAM_STATE_ERROR: u32 = 0x5;
    /// The final size of a stream changed.
    pub const FINAL_SIZE_ERROR: u32 = 0x6;
    /// A frame is malformed.
    pub const FRAME_ENCODING_ERROR: u32 = 0x7;
    /// The transport parameters are malformed.
    pub const TRANSPORT_PARAMETER_ERROR: u32 = 0x8;
    /// More connection ids were given than were allowed.
    pub const CONNECTION_ID_LIMIT_ERROR: u32 = 0x9;
    /// The peer broke a rule that has no code of its own.
    pub const PROTOCOL_VIOLATION: u32 = 0xa;
    /// A token is not valid.
    pub const INVALID_TOKEN: u32 = 0xb;
    /// The application caused the end.
    pub const APPLICATION_ERROR: u32 = 0xc;
    /// More handshake data came than can be kept.
    pub const CRYPTO_BUFFER_EXCEEDED: u32 = 0xd;
    /// A key update failed.
    pub const KEY_UPDATE_ERROR: u32 = 0xe;
    /// The keys have been used too often.
    pub const AEAD_LIMIT_REACHED: u32 = 0xf;
    /// No network path works.
    pub const NO_VIABLE_PATH: u32 = 0x10;
    /// The peer took too long.
    pub const APP_CONNECTION_TIMEOUT: u32 = 0x1000;
    /// The peer could not prove who it is.
    pub const APP_AUTHENTICATION_FAILED: u32 = 0x1001;
    /// The peer is not allowed to do this.
    pub const APP_PERMISSION_DENIED: u32 = 0x1002;
    /// Something ran out.
    pub const APP_RESOURCE_EXHAUSTED: u32 = 0x1003;
    /// The request makes no sense.
    pub const APP_INVALID_REQUEST: u32 = 0x1004;
    /// The service cannot be used now.
    pub const APP_SERVICE_UNAVAILABLE: u32 = 0x1005;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn application_codes_have_the_known_wire_values() {
        for (application, wire) in [
            (0, 0x52e4_a40f_a8db),
            (1, 0x52e4_a40f_a8dc),
            (29, 0x52e4_a40f_a8f8),
            (30, 0x52e4_a40f_a8fa),
            (42, 0x52e4_a40f_a906),
            (u32::MAX, 0x52e5_ac98_3162),
        ] {
            let code = ErrorCode::from_application(application);
            assert_eq!(code.get(), wire);
            assert_eq!(code.to_application(), Some(application));
        }
        assert_eq!(
            ErrorCode::from_application(u32::MAX),
            ErrorCode::WT_APPLICATION_ERROR_LAST
        );
    }

    #[test]
    fn reserved_and_outside_codes_carry_no_application_code() {
        for wire in [
            0x52e4_a40f_a8f9, // reserved, between 29 and 30
            0x52e4_a40f_a8da,
            0x52e5_ac98_3163,
            0,
            VarInt::MAX.get(),
        ] {
            assert_eq!(ErrorCode::new(wire).unwrap().to_application(), None);
        }
        for code in NAMED {
            assert_eq!(code.to_application(), None);
        }
    }

    #[test]
    fn named_codes_are_distinct_and_print_their_name() {
        assert!(NAMED.is_sorted_by(|a, b| a < b));
        assert_eq!(
            ErrorCode::WT_SESSION_GONE.to_string(),
            "WT_SESSION_GONE (0x170d7b68)"
        );
        assert_eq!(ErrorCode::new(0x1234).unwrap().to_string(), "0x1234");
    }

    #[test]
    fn refuses_more_than_62_bits() {
        assert_eq!(ErrorCode::new(1 << 62), None);
    }

    proptest! {
        #[test]
        fn application_code_round_trip(code: u32) {
            let wire = ErrorCode::from_application(code);
            prop_assert!(!is_grease(wire.get()));
            prop_assert_eq!(wire.to_application(), Some(code));
        }

        #[test]
        fn every_unreserved_code_in_range_maps_back(
            wire in ErrorCode::WT_APPLICATION_ERROR_FIRST.get()..=ErrorCode::WT_APPLICATION_ERROR_LAST.get(),
        ) {
            let wire = ErrorCode::new(wire).unwrap();
            match wire.to_application() {
                Some(code) => prop_assert_eq!(ErrorCode::from_application(code), wire),
                None => prop_assert!(is_grease(wire.get())),
            }
        }
    }
}
