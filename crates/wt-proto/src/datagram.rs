//! HTTP datagrams in QUIC datagrams.
//!
//! ```text
//! Quarter Stream ID (i) | HTTP Datagram Payload (..)
//! ```
//!
//! See RFC 9297, 2.1, and draft-16, 4.5.

use bytes::{Buf, Bytes};

use crate::{
    ProtocolViolation, SessionId, VarInt,
    coding::{Decode, UnexpectedEnd},
    stream_header::Header,
};

/// The largest QUIC datagram we are ready to receive, for the transport parameter `max_datagram_frame_size`.
pub const MAX_DATAGRAM_SIZE: u16 = 65_535;

/// Splits a QUIC datagram into its session and its payload, without copying.
///
/// # Errors
///
/// [`ProtocolViolation::DatagramTruncated`] and [`ProtocolViolation::InvalidQuarterId`].
pub fn decode(mut datagram: Bytes) -> Result<(SessionId, Bytes), ProtocolViolation> {
    let mut rest = &datagram[..];
    let quarter =
        VarInt::decode(&mut rest).map_err(|UnexpectedEnd| ProtocolViolation::DatagramTruncated)?;
    let session =
        SessionId::from_quarter(quarter.get()).ok_or(ProtocolViolation::InvalidQuarterId)?;
    let header_len = datagram.len() - rest.len();
    datagram.advance(header_len);
    Ok((session, datagram))
}

/// Encodes what stands in front of the payload of a session's datagrams.
pub fn header(session: SessionId) -> Header {
    Header::encode(&[quarter(session)])
}

/// Returns how many bytes stand in front of the payload of a session's datagrams.
pub fn header_len(session: SessionId) -> usize {
    quarter(session).size()
}

fn quarter(session: SessionId) -> VarInt {
    VarInt::new(session.quarter()).unwrap_or(VarInt::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn session_0_takes_one_byte() {
        let session = SessionId::new(0).unwrap();
        assert_eq!(header(session).as_slice(), [0]);
        assert_eq!(
            decode(Bytes::from_static(b"\0hi")),
            Ok((session, Bytes::from_static(b"hi")))
        );
    }

    #[test]
    fn payload_may_be_empty() {
        let session = SessionId::new(4).unwrap();
        assert_eq!(
            decode(Bytes::from_static(&[1])),
            Ok((session, Bytes::new()))
        );
    }

    #[test]
    fn ids_of_streams_that_cannot_exist_are_refused() {
        let largest = 0xcfff_ffff_ffff_ffff_u64.to_be_bytes();
        let (session, _) = decode(Bytes::copy_from_slice(&largest)).unwrap();
        assert_eq!(session.get(), (1 << 62) - 4);
        let beyond = 0xd000_0000_0000_0000_u64.to_be_bytes();
        assert_eq!(
            decode(Bytes::copy_from_slice(&beyond)),
            Err(ProtocolViolation::InvalidQuarterId)
        );
    }

    proptest! {
        #[test]
        fn round_trip_and_truncation(quarter in 0..1_u64 << 60, shift in 0..60_u32, payload: Vec<u8>) {
            let session = SessionId::from_quarter(quarter >> shift).unwrap();
            let header = header(session);
            prop_assert_eq!(header.as_slice().len(), header_len(session));
            let datagram = Bytes::from([header.as_slice(), &payload].concat());
            prop_assert_eq!(decode(datagram.clone()), Ok((session, payload.into())));
            for end in 0..header_len(session) {
                let answer = decode(datagram.slice(..end));
                prop_assert_eq!(answer, Err(ProtocolViolation::DatagramTruncated));
            }
        }
    }
}
