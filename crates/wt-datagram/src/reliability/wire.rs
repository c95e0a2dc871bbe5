//! The messages of the reliability layer, byte for byte those of PyWebTransport.
//!
//! | Message | Bytes |
//! |---|---|
//! | DATA | `04 44 41 54 41`, the sequence number as 32 bits, big-endian, then the payload |
//! | ACK | `03 41 43 4b`, the sequence number as decimal text |

use bytes::{Buf, BufMut, Bytes, BytesMut};

const DATA: &[u8] = b"\x04DATA";
const ACK: &[u8] = b"\x03ACK";

/// What DATA adds to a payload.
pub(super) const OVERHEAD: usize = DATA.len() + 4;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Data(u32, Bytes),
    Ack(u32),
}

pub(super) fn data(sequence: u32, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(OVERHEAD + payload.len());
    frame.put_slice(DATA);
    frame.put_u32(sequence);
    frame.put_slice(payload);
    frame.freeze()
}

pub(super) fn ack(sequence: u32) -> Bytes {
    let mut frame = BytesMut::with_capacity(ACK.len() + 10);
    frame.put_slice(ACK);
    frame.put_slice(sequence.to_string().as_bytes());
    frame.freeze()
}

/// Reads a message; `None` for whatever is none of this layer.
pub(super) fn decode(mut datagram: Bytes) -> Option<Message> {
    if datagram.starts_with(DATA) {
        datagram.advance(DATA.len());
        let sequence = datagram.try_get_u32().ok()?;
        return Some(Message::Data(sequence, datagram));
    }
    let text = datagram.strip_prefix(ACK)?;
    let sequence = std::str::from_utf8(text).ok()?.trim().parse().ok()?;
    Some(Message::Ack(sequence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_as_observed() {
        let frame = data(0, b"hi");
        assert_eq!(&frame[..], b"\x04\x44\x41\x54\x41\x00\x00\x00\x00\x68\x69");
        let message = Message::Data(0, Bytes::from_static(b"hi"));
        assert_eq!(decode(frame), Some(message));
        let last = data(u32::MAX, b"");
        assert_eq!(decode(last), Some(Message::Data(u32::MAX, Bytes::new())));
    }

    #[test]
    fn acks_are_decimal_text() {
        assert_eq!(&ack(12)[..], b"\x03\x41\x43\x4b\x31\x32");
        for sequence in [0, 12, u32::MAX] {
            assert_eq!(decode(ack(sequence)), Some(Message::Ack(sequence)));
        }
    }

    #[test]
    fn what_is_malformed_is_none_of_ours() {
        let frames: [&[u8]; 10] = [
            b"",
            b"\x04",
            b"\x04DAT",
            b"\x04DATA\0\0\0",
            b"\x03ACK",
            b"\x03ACK-1",
            b"\x03ACKx",
            b"\x03ACK4294967296",
            b"\x03\xff\xff\xff1",
            b"\xffDATA\0\0\0\0",
        ];
        for frame in frames {
            assert_eq!(decode(Bytes::from_static(frame)), None, "{frame:?}");
        }
    }

    #[test]
    fn every_truncation_of_data_is_refused() {
        let frame = data(7, b"");
        for len in 0..frame.len() {
            assert_eq!(decode(frame.slice(..len)), None, "{len}");
        }
    }
}
