//! Bytes of HTTP/3 and WebTransport, written by hand.
//!
//! Nothing here checks anything: types, lengths and values are what the caller says, right or wrong.

/// The settings a client of draft-16 sends, with flow control of sessions.
pub const CLIENT_SETTINGS: &[(u64, u64)] = &[
    (0x33, 1),
    (0x2c7c_f000, 1),
    (0x2b61, 1 << 24),
    (0x2b64, 1000),
    (0x2b65, 1000),
];

/// The settings a server of draft-16 sends, with flow control of sessions.
pub const SERVER_SETTINGS: &[(u64, u64)] = &[
    (0x8, 1),
    (0x33, 1),
    (0x2c7c_f000, 1),
    (0x2b61, 1 << 24),
    (0x2b64, 1000),
    (0x2b65, 1000),
];

/// DATA (RFC 9114, 7.2.1).
pub const DATA: u64 = 0x0;
/// HEADERS (RFC 9114, 7.2.2).
pub const HEADERS: u64 = 0x1;
/// CANCEL_PUSH (RFC 9114, 7.2.3).
pub const CANCEL_PUSH: u64 = 0x3;
/// SETTINGS (RFC 9114, 7.2.4).
pub const SETTINGS: u64 = 0x4;
/// PUSH_PROMISE (RFC 9114, 7.2.5).
pub const PUSH_PROMISE: u64 = 0x5;
/// GOAWAY (RFC 9114, 7.2.6).
pub const GOAWAY: u64 = 0x7;
/// MAX_PUSH_ID (RFC 9114, 7.2.7).
pub const MAX_PUSH_ID: u64 = 0xd;
/// The signal of a bidirectional WebTransport stream (draft-16, 4.3).
pub const WT_BIDI: u64 = 0x41;
/// The type of a unidirectional WebTransport stream (draft-16, 4.2).
pub const WT_UNI: u64 = 0x54;

/// WT_CLOSE_SESSION (draft-16, 6).
pub const CLOSE: u64 = 0x2843;
/// WT_DRAIN_SESSION (draft-16, 4.7).
pub const DRAIN: u64 = 0x78ae;
/// WT_MAX_DATA (draft-16, 5.6.4).
pub const MAX_DATA: u64 = 0x190b_4d3d;
/// WT_MAX_STREAM_DATA, which HTTP/3 does not have (draft-16, 5.4).
pub const MAX_STREAM_DATA: u64 = 0x190b_4d3e;
/// WT_MAX_STREAMS, bidirectional (draft-16, 5.6.2).
pub const MAX_STREAMS_BIDI: u64 = 0x190b_4d3f;
/// WT_MAX_STREAMS, unidirectional (draft-16, 5.6.2).
pub const MAX_STREAMS_UNI: u64 = 0x190b_4d40;
/// WT_DATA_BLOCKED (draft-16, 5.6.5).
pub const DATA_BLOCKED: u64 = 0x190b_4d41;
/// WT_STREAM_DATA_BLOCKED, which HTTP/3 does not have (draft-16, 5.4).
pub const STREAM_DATA_BLOCKED: u64 = 0x190b_4d42;
/// WT_STREAMS_BLOCKED, bidirectional (draft-16, 5.6.3).
pub const STREAMS_BLOCKED_BIDI: u64 = 0x190b_4d43;
/// WT_STREAMS_BLOCKED, unidirectional (draft-16, 5.6.3).
pub const STREAMS_BLOCKED_UNI: u64 = 0x190b_4d44;

/// A variable-length integer (RFC 9000, 16).
///
/// # Panics
///
/// For numbers of more than 62 bits, which it cannot hold.
#[must_use]
pub fn varint(n: u64) -> Vec<u8> {
    match n {
        0..0x40 => vec![n as u8],
        0x40..0x4000 => (n as u16 | 0x4000).to_be_bytes().to_vec(),
        0x4000..0x4000_0000 => (n as u32 | 0x8000_0000).to_be_bytes().to_vec(),
        0x4000_0000..0x4000_0000_0000_0000 => (n | 0xc000_0000_0000_0000).to_be_bytes().to_vec(),
        _ => panic!("{n} has more than 62 bits"),
    }
}

/// Numbers one after the other.
#[must_use]
pub fn varints(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|n| varint(*n)).collect()
}

/// Reads a variable-length integer and advances `bytes`; `None` if it is not all there.
pub fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let len = 1 << (bytes.first()? >> 6);
    let (number, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    let first = u64::from(number[0] & 0x3f);
    Some(
        number[1..]
            .iter()
            .fold(first, |n, b| n << 8 | u64::from(*b)),
    )
}

/// A type and a length alone.
#[must_use]
pub fn head(kind: u64, len: u64) -> Vec<u8> {
    varints(&[kind, len])
}

/// A type, the length of a value and the value: a frame, or a capsule.
#[must_use]
pub fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    [head(kind, payload.len() as u64), payload.to_vec()].concat()
}

/// A SETTINGS frame.
#[must_use]
pub fn settings(entries: &[(u64, u64)]) -> Vec<u8> {
    let payload: Vec<u8> = entries
        .iter()
        .flat_map(|(id, v)| varints(&[*id, *v]))
        .collect();
    frame(SETTINGS, &payload)
}

/// A field section of literals without Huffman coding (RFC 9204, 4.5.6).
#[must_use]
pub fn field_section(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = vec![0, 0];
    for (name, value) in fields {
        prefixed(0x20, 3, name.len(), &mut out);
        out.extend_from_slice(name.as_bytes());
        prefixed(0x00, 7, value.len(), &mut out);
        out.extend_from_slice(value.as_bytes());
    }
    out
}

/// An integer behind `bits` bits of a first byte (RFC 7541, 5.1).
fn prefixed(first: u8, bits: u32, n: usize, out: &mut Vec<u8>) {
    let full = (1 << bits) - 1;
    if n < full {
        out.push(first | n as u8);
        return;
    }
    out.push(first | full as u8);
    let mut rest = n - full;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// A HEADERS frame.
#[must_use]
pub fn headers(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, &field_section(fields))
}

/// The fields of a CONNECT for a session of draft-16.
#[must_use]
pub const fn connect_fields(path: &str) -> [(&str, &str); 5] {
    [
        (":method", "CONNECT"),
        (":protocol", "webtransport-h3"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", path),
    ]
}

/// The HEADERS of a CONNECT for a session of draft-16.
#[must_use]
pub fn connect(path: &str) -> Vec<u8> {
    headers(&connect_fields(path))
}

/// The HEADERS of a response.
#[must_use]
pub fn response(status: &str) -> Vec<u8> {
    headers(&[(":status", status)])
}

/// A capsule in a DATA frame.
#[must_use]
pub fn capsule(kind: u64, value: &[u8]) -> Vec<u8> {
    frame(DATA, &frame(kind, value))
}

/// WT_CLOSE_SESSION in a DATA frame.
#[must_use]
pub fn close(code: u32, message: &[u8]) -> Vec<u8> {
    capsule(CLOSE, &[&code.to_be_bytes(), message].concat())
}

/// The beginning of a stream of a session: type or signal, and id.
#[must_use]
pub fn stream(kind: u64, session: u64, body: &[u8]) -> Vec<u8> {
    [varints(&[kind, session]), body.to_vec()].concat()
}

/// A datagram of a session.
#[must_use]
pub fn datagram(session: u64, payload: &[u8]) -> Vec<u8> {
    [varint(session / 4), payload.to_vec()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_have_the_shortest_form() {
        for (n, len) in [
            (0x3f, 1),
            (0x40, 2),
            (0x3fff, 2),
            (0x4000, 4),
            (0x4000_0000, 8),
        ] {
            let bytes = varint(n);
            assert_eq!(bytes.len(), len);
            let mut rest = &bytes[..];
            assert_eq!(read_varint(&mut rest), Some(n));
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn long_fields_are_readable() {
        let value = "v".repeat(1000);
        let section = field_section(&[("a-name-of-some-length", &value)]);
        let fields = wt::proto::qpack::decode_fields(&section, 10_000).map(|f| f.len());
        assert_eq!(fields, Ok(1));
    }
}
