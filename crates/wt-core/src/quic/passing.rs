//! Packets that one process passes on to another: whose they are, and how they travel.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use quinn::udp::{EcnCodepoint, RecvMeta};

use super::ids::ID;

/// Returns the connection id that a packet is for, if it has the length of those that servers here
/// issue.
///
/// All QUIC packets of a UDP datagram are for the same connection (RFC 9000, 12.2).
pub(crate) fn destination(packet: &[u8]) -> Option<&[u8; ID]> {
    let id = match *packet.first()? {
        // A long header: version, length of the id, id (RFC 8999, 5.1).
        0x80.. if usize::from(*packet.get(5)?) == ID => packet.get(6..6 + ID),
        0x80.. => None,
        // A short header (RFC 8999, 5.2).
        _ => packet.get(1..1 + ID),
    };
    id?.try_into().ok()
}

/// What precedes the bytes of passed packets: where they came from and how.
///
/// All numbers are big-endian: version 1, ECN bits, family of the source (4 or 6), family of the
/// destination (0 for unknown), bytes in each packet but the last, port, scope, source, destination;
/// addresses of IPv4 are followed by zeros.
pub(crate) const HEADER: usize = 44;

const VERSION: u8 = 1;

/// Writes the header of packets that were received together.
pub(crate) fn write(meta: &RecvMeta) -> [u8; HEADER] {
    let mut out = [0; HEADER];
    out[0] = VERSION;
    out[1] = meta.ecn.map_or(0, |ecn| ecn as u8);
    // No UDP datagram is longer.
    let stride = u16::try_from(meta.stride).unwrap_or(u16::MAX);
    out[4..6].copy_from_slice(&stride.to_be_bytes());
    out[6..8].copy_from_slice(&meta.addr.port().to_be_bytes());
    if let SocketAddr::V6(address) = meta.addr {
        out[8..12].copy_from_slice(&address.scope_id().to_be_bytes());
    }
    out[2] = write_ip(meta.addr.ip(), &mut out[12..28]);
    out[3] = meta.dst_ip.map_or(0, |ip| write_ip(ip, &mut out[28..44]));
    out
}

/// Reads what [`write`] wrote, for `len` bytes of packets; `None` if it was something else.
pub(crate) fn read(header: &[u8; HEADER], len: usize) -> Option<RecvMeta> {
    let two = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let source = read_ip(header[2], &header[12..28])?;
    let stride = usize::from(two(4));
    if header[0] != VERSION || stride == 0 || len == 0 {
        return None;
    }
    let addr = match source {
        IpAddr::V4(ip) => (ip, two(6)).into(),
        IpAddr::V6(ip) => {
            let scope = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
            SocketAddrV6::new(ip, two(6), 0, scope).into()
        }
    };
    Some(RecvMeta {
        addr,
        len,
        stride,
        ecn: EcnCodepoint::from_bits(header[1]),
        dst_ip: read_ip(header[3], &header[28..44]),
    })
}

fn write_ip(ip: IpAddr, out: &mut [u8]) -> u8 {
    match ip {
        IpAddr::V4(ip) => {
            out[..4].copy_from_slice(&ip.octets());
            4
        }
        IpAddr::V6(ip) => {
            out[..16].copy_from_slice(&ip.octets());
            6
        }
    }
}

fn read_ip(family: u8, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        4 => <[u8; 4]>::try_from(bytes.get(..4)?)
            .ok()
            .map(|ip| Ipv4Addr::from(ip).into()),
        6 => <[u8; 16]>::try_from(bytes.get(..16)?)
            .ok()
            .map(|ip| Ipv6Addr::from(ip).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_headers_have_the_id_at_once() {
        let packet = *b"\x40abcdefgh and more";
        assert_eq!(destination(&packet), Some(b"abcdefgh"));
        assert_eq!(destination(&packet[..9]), Some(b"abcdefgh"));
        // The fixed bit may be anything (RFC 9287).
        assert_eq!(destination(b"\x00abcdefgh"), Some(b"abcdefgh"));
    }

    #[test]
    fn long_headers_have_it_behind_the_version_and_its_length() {
        let packet = b"\xc3\0\0\0\x01\x08abcdefgh\x08ijklmnop...";
        assert_eq!(destination(packet), Some(b"abcdefgh"));
        let longer = b"\xc3\0\0\0\x01\x09abcdefghi\x08jklmnopq...";
        assert_eq!(destination(longer), None);
    }

    #[test]
    fn what_is_cut_short_is_for_nobody() {
        for packet in [&b"\x40abcdefgh"[..], b"\xc3\0\0\0\x01\x08abcdefgh"] {
            for len in 0..packet.len() {
                assert_eq!(destination(&packet[..len]), None);
            }
        }
    }

    #[test]
    fn headers_come_out_as_they_went_in() {
        let v6: Ipv6Addr = "fe80::1".parse().unwrap();
        for (addr, dst_ip, ecn) in [
            ("192.0.2.1:443".parse().unwrap(), None, None),
            (
                "[2001:db8::1]:9".parse().unwrap(),
                Some(v6.into()),
                Some(EcnCodepoint::Ce),
            ),
            (
                SocketAddrV6::new(v6, 65535, 0, 7).into(),
                Some(Ipv4Addr::LOCALHOST.into()),
                Some(EcnCodepoint::Ect0),
            ),
        ] {
            let mut meta = RecvMeta::default();
            (meta.addr, meta.dst_ip, meta.ecn) = (addr, dst_ip, ecn);
            (meta.len, meta.stride) = (3000, 1200);
            let read = read(&write(&meta), 3000).unwrap();
            assert_eq!(
                (read.addr, read.dst_ip, read.ecn, read.len, read.stride),
                (addr, dst_ip, ecn, 3000, 1200)
            );
        }
    }

    #[test]
    fn what_is_no_header_is_not_read() {
        let mut meta = RecvMeta::default();
        (meta.len, meta.stride) = (1, 1);
        let good = write(&meta);
        assert!(read(&good, 1).is_some());
        assert!(read(&good, 0).is_none());
        for (at, byte) in [(0, 2), (2, 5), (5, 0)] {
            let mut bad = good;
            bad[at] = byte;
            assert!(read(&bad, 1).is_none(), "byte {at}");
        }
    }
}
