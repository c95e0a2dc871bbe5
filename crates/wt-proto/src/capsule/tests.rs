use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn encoded(capsule: &Capsule) -> Vec<u8> {
    let mut out = Vec::new();
    capsule.encode(&mut out);
    out
}

/// Everything the reader says about `bytes` pushed in the given pieces.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Capsule>, ProtocolViolation> {
    let mut reader = CapsuleReader::new();
    let mut capsules = Vec::new();
    for piece in pieces {
        reader.push(Bytes::copy_from_slice(piece));
        while let Some(capsule) = reader.next()? {
            capsules.push(capsule);
        }
    }
    assert!(reader.at_boundary());
    assert_eq!(reader.buffered(), 0);
    Ok(capsules)
}

fn read_value(kind: CapsuleType, value: &[u8]) -> Result<Vec<Capsule>, ProtocolViolation> {
    let mut bytes = Vec::new();
    tlv::encode_head(kind.get(), value.len(), &mut bytes);
    bytes.extend_from_slice(value);
    read([&bytes[..]])
}

#[test]
fn close_has_the_bytes_of_the_ledger() {
    let bytes = [0x68, 0x43, 0x07, 0, 0, 0, 7, 0x62, 0x79, 0x65];
    let capsule = Capsule::Close(CloseSession::new(7, "bye"));
    assert_eq!(encoded(&capsule), bytes);
    assert_eq!(read([&bytes[..]]), Ok(vec![capsule]));
}

#[test]
fn every_capsule_has_its_type() {
    let limit = VarInt::from_u32(5);
    for (capsule, bytes) in [
        (Capsule::Drain, &[0x80, 0x00, 0x78, 0xae, 0][..]),
        (Capsule::MaxData(limit), &[0x99, 0x0b, 0x4d, 0x3d, 1, 5]),
        (
            Capsule::MaxStreams {
                dir: Dir::Bi,
                limit,
            },
            &[0x99, 0x0b, 0x4d, 0x3f, 1, 5],
        ),
        (
            Capsule::MaxStreams {
                dir: Dir::Uni,
                limit,
            },
            &[0x99, 0x0b, 0x4d, 0x40, 1, 5],
        ),
        (Capsule::DataBlocked(limit), &[0x99, 0x0b, 0x4d, 0x41, 1, 5]),
        (
            Capsule::StreamsBlocked {
                dir: Dir::Bi,
                limit,
            },
            &[0x99, 0x0b, 0x4d, 0x43, 1, 5],
        ),
        (
            Capsule::StreamsBlocked {
                dir: Dir::Uni,
                limit,
            },
            &[0x99, 0x0b, 0x4d, 0x44, 1, 5],
        ),
    ] {
        assert_eq!(encoded(&capsule), bytes);
        assert_eq!(read([bytes]), Ok(vec![capsule]));
    }
}

#[test]
fn long_reason_is_cut_between_characters() {
    let close = CloseSession::new(1, &"x".repeat(1025));
    assert_eq!(close.reason.len(), MAX_CLOSE_REASON);
    // The 1024th byte would be the second of a three-byte character.
    let close = CloseSession::new(1, &format!("{}€", "x".repeat(1022)));
    assert_eq!(close.reason, "x".repeat(1022));
    let mut close = CloseSession::new(1, "");
    close.reason = "é".repeat(1000);
    let sent = Capsule::Close(CloseSession::new(1, &"é".repeat(512)));
    assert_eq!(read([&encoded(&Capsule::Close(close))[..]]), Ok(vec![sent]));
}

#[test]
fn close_message_is_checked() {
    let close = CapsuleType::WT_CLOSE_SESSION;
    let mut value = vec![0, 0, 0, 1];
    value.extend([b'x'; MAX_CLOSE_REASON]);
    assert!(read_value(close, &value).is_ok());
    value.push(b'x');
    assert_eq!(
        read_value(close, &value),
        Err(ProtocolViolation::CloseMessageTooLong)
    );
    assert_eq!(
        read_value(close, &[0, 0, 0, 1, 0xff]),
        Err(ProtocolViolation::CloseMessageNotUtf8)
    );
    for short in 0..4 {
        assert_eq!(
            read_value(close, &vec![0; short]),
            Err(ProtocolViolation::CapsuleMalformed)
        );
    }
}

#[test]
fn nothing_may_follow_close() {
    let mut reader = CapsuleReader::new();
    reader.push(encoded(&Capsule::Close(CloseSession::default())).into());
    assert!(matches!(reader.next(), Ok(Some(Capsule::Close(_)))));
    reader.push(Bytes::new());
    assert_eq!(reader.next(), Ok(None));
    assert!(reader.at_boundary());
    reader.push(Bytes::from_static(&[0x17]));
    assert_eq!(reader.next(), Err(ProtocolViolation::DataAfterClose));
}

#[test]
fn http2_capsules_are_prohibited() {
    for kind in [
        CapsuleType::WT_MAX_STREAM_DATA,
        CapsuleType::WT_STREAM_DATA_BLOCKED,
    ] {
        assert_eq!(
            read_value(kind, &[0, 0]),
            Err(ProtocolViolation::CapsuleProhibited)
        );
    }
}

#[test]
fn stream_counts_end_at_two_to_the_sixty() {
    let mut largest = Vec::new();
    VarInt::new(1 << 60).unwrap().encode(&mut largest);
    let mut beyond = Vec::new();
    VarInt::new((1 << 60) + 1).unwrap().encode(&mut beyond);
    for kind in [
        CapsuleType::WT_MAX_STREAMS_BIDI,
        CapsuleType::WT_MAX_STREAMS_UNI,
        CapsuleType::WT_STREAMS_BLOCKED_BIDI,
        CapsuleType::WT_STREAMS_BLOCKED_UNI,
    ] {
        assert!(read_value(kind, &largest).is_ok());
        assert_eq!(
            read_value(kind, &beyond),
            Err(ProtocolViolation::MaxStreamsTooLarge)
        );
    }
    assert!(read_value(CapsuleType::WT_MAX_DATA, &beyond).is_ok());
}

#[test]
fn values_fill_their_length_exactly() {
    for kind in [
        CapsuleType::WT_MAX_DATA,
        CapsuleType::WT_MAX_STREAMS_BIDI,
        CapsuleType::WT_DATA_BLOCKED,
        CapsuleType::WT_STREAMS_BLOCKED_UNI,
    ] {
        for value in [&[][..], &[0x40], &[1, 2], &[0x40, 1, 2]] {
            assert_eq!(
                read_value(kind, value),
                Err(ProtocolViolation::CapsuleMalformed)
            );
        }
        assert_eq!(
            read_value(kind, &[0; 9]),
            Err(ProtocolViolation::CapsuleTooLarge)
        );
    }
    assert_eq!(
        read_value(CapsuleType::WT_DRAIN_SESSION, &[0]),
        Err(ProtocolViolation::CapsuleTooLarge)
    );
}

#[test]
fn too_large_a_capsule_is_refused_by_its_length() {
    let mut head = Vec::new();
    tlv::encode_head(0x2843, 1 << 30, &mut head);
    let mut reader = CapsuleReader::new();
    reader.push(head.into());
    assert_eq!(reader.next(), Err(ProtocolViolation::CloseMessageTooLong));
    assert_eq!(reader.next(), Err(ProtocolViolation::CloseMessageTooLong));
}

#[test]
fn unknown_capsule_of_1_gib_passes_at_constant_memory() {
    const LEN: usize = 1 << 30;
    // A reserved type (RFC 9297, 5.4) and the datagram capsule.
    for kind in [0x17, CapsuleType::DATAGRAM.get()] {
        let mut reader = CapsuleReader::new();
        let mut head = Vec::new();
        tlv::encode_head(kind, LEN, &mut head);
        reader.push(head.into());
        let chunk = Bytes::from(vec![0x68; 1 << 16]);
        for _ in 0..LEN / chunk.len() {
            assert_eq!(reader.next(), Ok(None));
            assert_eq!(reader.buffered(), 0);
            assert!(!reader.at_boundary());
            reader.push(chunk.clone());
        }
        assert_eq!(reader.next(), Ok(None));
        assert!(reader.at_boundary());
        reader.push(encoded(&Capsule::Drain).into());
        assert_eq!(reader.next(), Ok(Some(Capsule::Drain)));
    }
}

#[test]
fn without_flow_control_its_capsules_are_skipped_like_unknown_ones() {
    let mut reader = CapsuleReader::without_flow_control();
    let mut bytes = Vec::new();
    let kinds = (0x190b_4d3d..=0x190b_4d44).map(CapsuleType);
    for kind in kinds.filter(|kind| kind.is_flow_control()) {
        // No value of its type: longer than any, and empty.
        tlv::encode_head(kind.0, 100, &mut bytes);
        bytes.extend([0xff; 100]);
        tlv::encode_head(kind.0, 0, &mut bytes);
    }
    bytes.extend(encoded(&Capsule::Drain));
    tlv::encode_head(CapsuleType::WT_MAX_STREAM_DATA.0, 0, &mut bytes);
    for byte in &bytes[..bytes.len() - 5] {
        assert_eq!(reader.next(), Ok(None));
        reader.push(Bytes::copy_from_slice(&[*byte]));
    }
    assert_eq!(reader.next(), Ok(Some(Capsule::Drain)));
    reader.push(Bytes::copy_from_slice(&bytes[bytes.len() - 5..]));
    assert_eq!(reader.next(), Err(ProtocolViolation::CapsuleProhibited));
}

fn any_capsule() -> impl Strategy<Value = Capsule> {
    let number = || (0..=VarInt::MAX.get()).prop_map(|n| VarInt::new(n).unwrap());
    let count = || (0..=MAX_STREAM_COUNT).prop_map(|n| VarInt::new(n).unwrap());
    let dir = || prop_oneof![Just(Dir::Bi), Just(Dir::Uni)];
    prop_oneof![
        (any::<u32>(), ".{0,400}")
            .prop_map(|(code, reason)| Capsule::Close(CloseSession::new(code, &reason))),
        Just(Capsule::Drain),
        number().prop_map(Capsule::MaxData),
        number().prop_map(Capsule::DataBlocked),
        (dir(), count()).prop_map(|(dir, limit)| Capsule::MaxStreams { dir, limit }),
        (dir(), count()).prop_map(|(dir, limit)| Capsule::StreamsBlocked { dir, limit }),
    ]
}

proptest! {
    #[test]
    fn round_trip_in_any_pieces(
        mut capsules in prop::collection::vec(any_capsule(), 0..8),
        piece in 1..100_usize,
    ) {
        if let Some(end) = capsules.iter().position(|c| matches!(c, Capsule::Close(_))) {
            capsules.truncate(end + 1);
        }
        let mut bytes = Vec::new();
        for capsule in &capsules {
            tlv::encode_head(0x29 * 7 + 0x17, 3, &mut bytes);
            bytes.extend_from_slice(b"abc");
            capsule.encode(&mut bytes);
        }
        prop_assert_eq!(read(bytes.chunks(piece)), Ok(capsules));
    }

    #[test]
    fn every_truncation_needs_more(capsule in any_capsule()) {
        let bytes = encoded(&capsule);
        for end in 0..bytes.len() {
            let mut reader = CapsuleReader::new();
            reader.push(Bytes::copy_from_slice(&bytes[..end]));
            prop_assert_eq!(reader.next(), Ok(None));
            prop_assert_eq!(reader.at_boundary(), end == 0);
            reader.push(Bytes::copy_from_slice(&bytes[end..]));
            prop_assert_eq!(reader.next(), Ok(Some(capsule.clone())));
        }
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes: Vec<u8>, piece in 1..20_usize) {
        let mut reader = CapsuleReader::new();
        for piece in bytes.chunks(piece) {
            reader.push(Bytes::copy_from_slice(piece));
            while let Ok(Some(_)) = reader.next() {}
        }
    }
}
