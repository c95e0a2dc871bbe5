use bytes::{BufMut, Bytes};
use proptest::prelude::*;

use super::*;

const LIMIT: usize = 1024;

/// Everything the reader says about `bytes` pushed in the given pieces, pieces of DATA joined.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Frame>, ProtocolViolation> {
    let mut reader = FrameReader::new(LIMIT);
    let mut frames = Vec::new();
    for piece in pieces {
        reader.push(Bytes::copy_from_slice(piece));
        while let Some(frame) = reader.next()? {
            frames.push(frame);
        }
    }
    assert!(reader.at_boundary());
    assert_eq!(reader.buffered(), 0);
    Ok(frames)
}

fn read_one(bytes: &[u8]) -> Result<Option<Frame>, ProtocolViolation> {
    let mut reader = FrameReader::new(LIMIT);
    reader.push(Bytes::copy_from_slice(bytes));
    reader.next()
}

fn data_of(frames: &[Frame]) -> Vec<u8> {
    let mut all = Vec::new();
    for frame in frames {
        if let Frame::Data(piece) = frame {
            all.extend_from_slice(piece);
        }
    }
    all
}

#[test]
fn reads_the_frames_of_the_ledger() {
    let accept = [0x01, 0x03, 0x00, 0x00, 0xd9];
    assert_eq!(
        read([&accept[..]]),
        Ok(vec![Frame::Headers(Bytes::from_static(&[0, 0, 0xd9]))])
    );
    let settings = [0x04, 0x02, 0x08, 0x01];
    assert_eq!(
        read([&settings[..]]),
        Ok(vec![Frame::Settings(Bytes::from_static(&[8, 1]))])
    );
}

#[test]
fn writes_what_it_reads() {
    let id = VarInt::from_u32(400);
    let mut out = Vec::new();
    encode_headers(b"fields", &mut out);
    encode_data(b"capsule", &mut out);
    encode_data(b"", &mut out);
    encode_goaway(id, &mut out);
    encode_grease(1, b"ignored", &mut out);
    assert_eq!(
        read([&out[..]]),
        Ok(vec![
            Frame::Headers(Bytes::from_static(b"fields")),
            Frame::Data(Bytes::from_static(b"capsule")),
            Frame::Data(Bytes::new()),
            Frame::GoAway(id),
            Frame::Unknown(VarInt::from_u32(0x40)),
        ])
    );
}

#[test]
fn push_frames_are_told_apart() {
    assert_eq!(
        read([&[0x03, 1, 5, 0x0d, 2, 0x40, 5, 0x05, 3, 0, 1, 2][..]]),
        Ok(vec![
            Frame::CancelPush(VarInt::from_u32(5)),
            Frame::MaxPushId(VarInt::from_u32(5)),
            Frame::PushPromise,
        ])
    );
}

#[test]
fn data_is_given_out_as_it_arrives() {
    let mut reader = FrameReader::new(0);
    reader.push(Bytes::from_static(&[0, 5, b'a', b'b']));
    assert_eq!(
        reader.next(),
        Ok(Some(Frame::Data(Bytes::from_static(b"ab"))))
    );
    assert_eq!(reader.next(), Ok(None));
    assert!(!reader.at_boundary());
    reader.push(Bytes::from_static(b"cde\x00"));
    assert_eq!(
        reader.next(),
        Ok(Some(Frame::Data(Bytes::from_static(b"cde"))))
    );
    assert_eq!(reader.next(), Ok(None));
    assert!(!reader.at_boundary(), "a second frame has begun");
}

#[test]
fn unknown_four_byte_frame_is_not_taken_for_settings() {
    // The payload looks like the head of a SETTINGS frame.
    let bytes = [0x21, 0x04, 0x04, 0x02, 0x08, 0x01, 0x00, 0x01, b'x'];
    assert_eq!(
        read([&bytes[..]]),
        Ok(vec![
            Frame::Unknown(VarInt::from_u32(0x21)),
            Frame::Data(Bytes::from_static(b"x")),
        ])
    );
}

#[test]
fn unknown_frame_of_100_mb_passes_at_constant_memory() {
    const LEN: usize = 100 << 20;
    let mut reader = FrameReader::new(LIMIT);
    let mut head = Vec::new();
    tlv::encode_head(0x21, LEN, &mut head);
    reader.push(head.into());
    assert_eq!(
        reader.next(),
        Ok(Some(Frame::Unknown(VarInt::from_u32(0x21))))
    );
    let chunk = Bytes::from(vec![0x41; 1000]);
    let mut left = LEN;
    while left > 0 {
        let len = left.min(chunk.len());
        reader.push(chunk.slice(..len));
        assert_eq!(reader.next(), Ok(None));
        assert_eq!(reader.buffered(), 0);
        left -= len;
    }
    assert!(reader.at_boundary());
    reader.push(Bytes::from_static(&[0, 0]));
    assert_eq!(reader.next(), Ok(Some(Frame::Data(Bytes::new()))));
}

#[test]
fn largest_declared_length_is_skipped() {
    let mut head = vec![0x21];
    VarInt::MAX.encode(&mut head);
    let mut reader = FrameReader::new(LIMIT);
    reader.push(head.into());
    assert!(matches!(reader.next(), Ok(Some(Frame::Unknown(_)))));
    reader.push(Bytes::from_static(&[0; 64]));
    assert_eq!(reader.next(), Ok(None));
    assert!(!reader.at_boundary());
    assert_eq!(reader.buffered(), 0);
}

#[test]
fn too_large_a_frame_is_refused_by_its_length() {
    let mut exact = Vec::new();
    encode_header(FrameType::HEADERS, LIMIT, &mut exact);
    assert_eq!(read_one(&exact), Ok(None));
    for (kind, violation) in [
        (FrameType::HEADERS, ProtocolViolation::FrameTooLarge),
        (FrameType::SETTINGS, ProtocolViolation::SettingsTooLarge),
    ] {
        let mut head = Vec::new();
        encode_header(kind, LIMIT + 1, &mut head);
        assert_eq!(read_one(&head), Err(violation));
    }
}

#[test]
fn payload_in_small_pieces_does_not_keep_their_buffers() {
    let mut reader = FrameReader::new(LIMIT);
    reader.push(Bytes::from_static(&[0x01, 0x03]));
    for byte in [b"a", b"b"] {
        reader.push(Bytes::from_static(byte));
        assert_eq!(reader.next(), Ok(None));
        assert!(reader.input.is_drained());
    }
    reader.push(Bytes::from_static(b"c"));
    assert_eq!(
        reader.next(),
        Ok(Some(Frame::Headers(Bytes::from_static(b"abc"))))
    );
}

#[test]
fn wt_stream_signal_is_never_a_frame() {
    assert_eq!(
        read_one(&[0x40, 0x41]),
        Err(ProtocolViolation::WtStreamMisplaced)
    );
    assert_eq!(
        read([&[0, 1, 9, 0x40, 0x41][..]]),
        Err(ProtocolViolation::WtStreamMisplaced)
    );
}

#[test]
fn http2_frame_types_are_refused() {
    for kind in [0x2, 0x6, 0x8, 0x9] {
        assert_eq!(
            read_one(&[kind, 0]),
            Err(ProtocolViolation::FrameUnexpected)
        );
    }
}

#[test]
fn id_frames_hold_exactly_one_id() {
    for kind in [0x3, 0x7, 0xd] {
        for payload in [&[][..], &[0x40], &[1, 2], &[0x40, 1, 2]] {
            let mut bytes = vec![kind, payload.len() as u8];
            bytes.extend_from_slice(payload);
            assert_eq!(read_one(&bytes), Err(ProtocolViolation::FrameMalformed));
        }
        assert_eq!(read_one(&[kind, 9]), Err(ProtocolViolation::FrameMalformed));
    }
}

#[test]
fn a_violation_is_final() {
    let mut reader = FrameReader::new(LIMIT);
    reader.push(Bytes::from_static(&[0x02, 0x00, 0x00, 0x00]));
    for _ in 0..3 {
        assert_eq!(reader.next(), Err(ProtocolViolation::FrameUnexpected));
    }
    assert!(!reader.at_boundary());
}

#[test]
fn an_unknown_frame_can_be_read_again_as_a_raw_capsule() {
    let capsule = [0x68, 0x43, 0x07, 0, 0, 0, 7, b'b', b'y', b'e'];
    for split in 1..capsule.len() {
        let mut reader = FrameReader::new(LIMIT);
        reader.push(Bytes::from_static(&[0x01, 0x00]));
        assert!(matches!(reader.next(), Ok(Some(Frame::Headers(_)))));
        let (first, second) = capsule.split_at(split);
        reader.push(Bytes::copy_from_slice(first));
        let announced = reader.next().unwrap();
        reader.push(Bytes::copy_from_slice(second));
        if split < 3 {
            assert_eq!(announced, None);
            assert_eq!(
                reader.next(),
                Ok(Some(Frame::Unknown(VarInt::from_u32(0x2843))))
            );
        }
        assert_eq!(reader.take_rest(), &capsule[..]);
    }
}

#[test]
fn rest_of_a_frame_that_is_not_whole_is_complete() {
    let mut reader = FrameReader::new(LIMIT);
    reader.push(Bytes::from_static(&[0x01, 0x05, b'a']));
    assert_eq!(reader.next(), Ok(None));
    reader.push(Bytes::from_static(b"b"));
    assert_eq!(reader.take_rest(), &[0x01, 0x05, b'a', b'b'][..]);
}

#[test]
fn reserved_types_are_recognised() {
    assert!(is_grease(0x21));
    assert!(!is_grease(FrameType::WT_STREAM.get()));
}

fn any_frame() -> impl Strategy<Value = (Frame, Vec<u8>)> {
    let payload = prop::collection::vec(any::<u8>(), 0..200);
    let id = (0..=VarInt::MAX.get()).prop_map(|id| VarInt::new(id).unwrap());
    prop_oneof![
        payload.clone().prop_map(|payload| {
            let mut out = Vec::new();
            encode_data(&payload, &mut out);
            (Frame::Data(payload.into()), out)
        }),
        payload.clone().prop_map(|payload| {
            let mut out = Vec::new();
            encode_headers(&payload, &mut out);
            (Frame::Headers(payload.into()), out)
        }),
        payload.clone().prop_map(|payload| {
            let mut out = Vec::new();
            encode_header(FrameType::SETTINGS, payload.len(), &mut out);
            out.put_slice(&payload);
            (Frame::Settings(payload.into()), out)
        }),
        id.prop_map(|id| {
            let mut out = Vec::new();
            encode_goaway(id, &mut out);
            (Frame::GoAway(id), out)
        }),
        (any::<u32>(), payload).prop_map(|(n, payload)| {
            let mut out = Vec::new();
            encode_grease(n, &payload, &mut out);
            (Frame::Unknown(grease(n)), out)
        }),
    ]
}

fn without_data(frames: &[Frame]) -> Vec<&Frame> {
    frames
        .iter()
        .filter(|frame| !matches!(frame, Frame::Data(_)))
        .collect()
}

proptest! {
    #[test]
    fn round_trip_in_any_pieces(
        frames in prop::collection::vec(any_frame(), 0..8),
        piece in 1..100_usize,
    ) {
        let (frames, encoded): (Vec<_>, Vec<_>) = frames.into_iter().unzip();
        let bytes = encoded.concat();
        let read = read(bytes.chunks(piece)).unwrap();
        prop_assert_eq!(without_data(&read), without_data(&frames));
        prop_assert_eq!(data_of(&read), data_of(&frames));
    }

    #[test]
    fn every_truncation_needs_more((frame, bytes) in any_frame()) {
        for end in 0..bytes.len() {
            let mut reader = FrameReader::new(LIMIT);
            reader.push(Bytes::copy_from_slice(&bytes[..end]));
            let mut seen = Vec::new();
            while let Some(frame) = reader.next().unwrap() {
                seen.push(frame);
            }
            prop_assert_eq!(reader.at_boundary(), end == 0);
            let announced = matches!(frame, Frame::Data(_) | Frame::Unknown(_));
            prop_assert!(announced || seen.is_empty());
            if !announced {
                prop_assert_eq!(&reader.take_rest()[..], &bytes[..end]);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes: Vec<u8>, piece in 1..20_usize) {
        let mut reader = FrameReader::new(LIMIT);
        for piece in bytes.chunks(piece) {
            reader.push(Bytes::copy_from_slice(piece));
            while let Ok(Some(_)) = reader.next() {}
        }
    }
}
