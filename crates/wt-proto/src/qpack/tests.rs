use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::{Field, QpackError, decode_fields, encode_fields, static_table};

const UNLIMITED: usize = usize::MAX;

type Plain<'a> = (&'a [u8], &'a [u8]);

const CONNECT: [Plain<'static>; 9] = [
    (b":method", b"CONNECT"),
    (b":protocol", b"webtransport-h3"),
    (b":scheme", b"https"),
    (b":path", b"/chat?room=42"),
    (b":authority", b"example.com:4433"),
    (b"origin", b"https://example.com"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64)"),
    (b"sec-webtransport-http3-draft02", b"1"),
    (b"wt-available-protocols", b"\"chat.v2\", \"chat.v1\""),
];

fn encoded(fields: &[Plain<'_>]) -> BytesMut {
    let mut out = BytesMut::new();
    encode_fields(fields.iter().copied(), &mut out);
    out
}

fn fields(plain: &[Plain<'_>]) -> Vec<Field> {
    plain
        .iter()
        .map(|(name, value)| Field {
            name: Bytes::copy_from_slice(name),
            value: Bytes::copy_from_slice(value),
        })
        .collect()
}

// RFC 9204, B.1
#[test]
fn specification_example() {
    let block = b"\x00\x00\x51\x0b/index.html";
    assert_eq!(
        decode_fields(block, UNLIMITED),
        Ok(fields(&[(b":path", b"/index.html")]))
    );
    // This encoder takes the Huffman code, for it is shorter.
    assert_eq!(
        encoded(&[(b":path", b"/index.html")]),
        &b"\x00\x00\x51\x88\x60\xd5\x48\x5f\x2b\xce\x9a\x68"[..]
    );
}

#[test]
fn smallest_responses() {
    assert_eq!(encoded(&[(b":status", b"200")]), &[0x00, 0x00, 0xd9][..]);
    assert_eq!(encoded(&[(b":status", b"404")]), &[0x00, 0x00, 0xdb][..]);
    assert_eq!(
        encoded(&[(b":status", b"403")]),
        &[0x00, 0x00, 0xff, 0x05][..]
    );
}

#[test]
fn every_static_row_is_indexed() {
    for index in 0..99 {
        let row = static_table::get(index).unwrap();
        let block = encoded(&[row]);
        assert!(block.len() <= 4);
        assert_eq!(decode_fields(&block, UNLIMITED), Ok(fields(&[row])));
    }
}

#[test]
fn every_static_name_is_referred_to() {
    for index in 0..99 {
        let (name, _) = static_table::get(index).unwrap();
        let row: Plain<'_> = (name, b"~");
        let block = encoded(&[row]);
        assert!(block.len() <= 6);
        assert_eq!(decode_fields(&block, UNLIMITED), Ok(fields(&[row])));
        // With N, "never indexed", set.
        let mut never = block.clone();
        never[2] |= 0x20;
        assert_eq!(decode_fields(&never, UNLIMITED), Ok(fields(&[row])));
    }
}

#[test]
fn literal_names() {
    // 001, N, H = 0, length 3; then H = 0, length 1.
    let expected = Ok(fields(&[(b"abc", b"d")]));
    assert_eq!(decode_fields(b"\x00\x00\x23abc\x01d", UNLIMITED), expected);
    assert_eq!(decode_fields(b"\x00\x00\x33abc\x01d", UNLIMITED), expected);
    // A length of seven and more continues in the next byte.
    assert_eq!(
        decode_fields(b"\x00\x00\x27\x01abcdefgh\x00", UNLIMITED),
        Ok(fields(&[(b"abcdefgh", b"")]))
    );
}

#[test]
fn connect_request_round_trip() {
    let block = encoded(&CONNECT);
    assert_eq!(decode_fields(&block, UNLIMITED), Ok(fields(&CONNECT)));
}

#[test]
fn empty_section() {
    assert_eq!(encoded(&[]), &[0x00, 0x00][..]);
    assert_eq!(decode_fields(&[0x00, 0x00], 0), Ok(Vec::new()));
}

#[test]
fn any_base_that_is_not_negative_is_accepted() {
    assert_eq!(decode_fields(&[0x00, 0x05], UNLIMITED), Ok(Vec::new()));
    assert_eq!(
        decode_fields(&[0x00, 0x7f, 0x10], UNLIMITED),
        Ok(Vec::new())
    );
    assert_eq!(
        decode_fields(&[0x00, 0x80], UNLIMITED),
        Err(QpackError::Decompression)
    );
}

#[test]
fn dynamic_table_is_refused() {
    for block in [
        &[0x01, 0x00][..],         // Required Insert Count 1
        &[0xff, 0x01, 0x00],       // Required Insert Count 256
        &[0x00, 0x00, 0x80],       // indexed, T = 0
        &[0x00, 0x00, 0xbf, 0x00], // indexed, T = 0
        &[0x00, 0x00, 0x10],       // indexed with post-base index
        &[0x00, 0x00, 0x40, 0x00], // literal with name reference, T = 0
        &[0x00, 0x00, 0x60, 0x00], // likewise, N = 1
        &[0x00, 0x00, 0x00, 0x00], // literal with post-base name reference
        &[0x00, 0x00, 0x08, 0x00], // likewise, N = 1
    ] {
        assert_eq!(
            decode_fields(block, UNLIMITED),
            Err(QpackError::Decompression),
            "{block:x?}"
        );
    }
}

#[test]
fn static_index_out_of_range_is_refused() {
    assert!(decode_fields(&[0x00, 0x00, 0xff, 0x23], UNLIMITED).is_ok());
    for block in [
        &[0x00, 0x00, 0xff, 0x24][..],
        &[0x00, 0x00, 0x5f, 0x54, 0x00],
        &[
            0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f,
        ],
    ] {
        assert_eq!(
            decode_fields(block, UNLIMITED),
            Err(QpackError::Decompression),
            "{block:x?}"
        );
    }
}

#[test]
fn integer_overflow_is_refused() {
    let mut block = vec![0x00, 0x00, 0x50, 0x7f];
    block.extend([0xff; 12]);
    assert_eq!(
        decode_fields(&block, UNLIMITED),
        Err(QpackError::Decompression)
    );
    // A length of 2^62 - 1 is an integer, but there is no such string.
    let mut block = vec![0x00, 0x00, 0x50, 0x7f, 0x80];
    block.extend([0xff; 7]);
    block.push(0x3f);
    assert_eq!(
        decode_fields(&block, UNLIMITED),
        Err(QpackError::Decompression)
    );
}

#[test]
fn bad_huffman_is_refused() {
    for block in [
        &[0x00, 0x00, 0x50, 0x81, 0xff][..], // padding of eight bits
        &[0x00, 0x00, 0x50, 0x81, 0x06],     // padding with a zero
        &[0x00, 0x00, 0x50, 0x84, 0xff, 0xff, 0xff, 0xfc], // end of string
        &[0x00, 0x00, 0x29, 0xff, 0x00],     // in the name
    ] {
        assert_eq!(
            decode_fields(block, UNLIMITED),
            Err(QpackError::Decompression),
            "{block:x?}"
        );
    }
}

#[test]
fn every_truncation_fails_or_ends_between_fields() {
    let block = encoded(&CONNECT);
    let mut ends = Vec::new();
    for count in 0..=CONNECT.len() {
        ends.push(encoded(&CONNECT[..count]).len());
    }
    for len in 0..=block.len() {
        let expected = match ends.iter().position(|end| *end == len) {
            Some(count) => Ok(fields(&CONNECT[..count])),
            None => Err(QpackError::Decompression),
        };
        assert_eq!(
            decode_fields(&block[..len], UNLIMITED),
            expected,
            "{len} bytes"
        );
    }
}

#[test]
fn size_counts_name_value_and_overhead() {
    let plain: [Plain<'_>; 2] = [(b":status", b"200"), (b"a", b"bc")];
    let block = encoded(&plain);
    let size = 7 + 3 + 32 + 1 + 2 + 32;
    assert_eq!(decode_fields(&block, size), Ok(fields(&plain)));
    assert_eq!(decode_fields(&block, size - 1), Err(QpackError::TooLarge));
    assert_eq!(decode_fields(&block, 0), Err(QpackError::TooLarge));
}

#[test]
fn small_section_cannot_grow_beyond_the_limit() {
    // 64 kB of references to a long row.
    let mut block = vec![0x00, 0x00];
    for _ in 0..32_768 {
        block.extend([0xff, 85 - 63]);
    }
    assert_eq!(decode_fields(&block, 65_536), Err(QpackError::TooLarge));
}

fn any_field() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..60);
    let text = |pattern: &'static str| {
        proptest::string::string_regex(pattern)
            .unwrap()
            .prop_map(String::into_bytes)
    };
    prop_oneof![
        (bytes(), bytes()),
        (text("[a-z][a-z-]{0,20}"), text("[ -~]{0,60}")),
        (0u64..99).prop_map(|index| {
            let (name, value) = static_table::get(index).unwrap();
            (name.to_vec(), value.to_vec())
        }),
        ((0u64..99), text("[ -~]{0,20}"))
            .prop_map(|(index, value)| (static_table::get(index).unwrap().0.to_vec(), value)),
    ]
}

fn any_section() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    prop::collection::vec(any_field(), 0..12)
}

fn borrowed(section: &[(Vec<u8>, Vec<u8>)]) -> Vec<Plain<'_>> {
    section
        .iter()
        .map(|(name, value)| (&name[..], &value[..]))
        .collect()
}

/// What an independent codec says about a section.
fn reference_decode(block: &[u8]) -> Option<Vec<Field>> {
    let decoded = qpack::decode_stateless(&mut &block[..], u64::MAX).ok()?;
    let fields = decoded.fields.into_iter().map(|field| {
        let (name, value) = field.into_inner();
        Field {
            name: Bytes::from(name.into_owned()),
            value: Bytes::from(value.into_owned()),
        }
    });
    Some(fields.collect())
}

#[test]
fn reference_codec_has_the_same_static_table() {
    for index in 0..99u8 {
        let block = if index < 63 {
            vec![0, 0, 0xc0 | index]
        } else {
            vec![0, 0, 0xff, index - 63]
        };
        assert_eq!(
            decode_fields(&block, UNLIMITED).ok(),
            reference_decode(&block)
        );
    }
}

#[test]
fn reference_codec_has_the_same_huffman_code() {
    for byte in 0..=255u8 {
        for other in [byte, b'a', b'?', 0xff] {
            let plain = vec![(b"x".to_vec(), vec![byte, other, byte])];
            let mut block = BytesMut::from(&[0x00, 0x00, 0x21, b'x'][..]);
            let mut code = BytesMut::new();
            super::huffman::encode(&plain[0].1, &mut code);
            block.extend_from_slice(&[0x80 | code.len() as u8]);
            block.extend_from_slice(&code);
            assert_eq!(reference_decode(&block), Some(fields(&borrowed(&plain))));
        }
    }
}

proptest! {
    #[test]
    fn round_trip(section in any_section()) {
        let plain = borrowed(&section);
        prop_assert_eq!(decode_fields(&encoded(&plain), UNLIMITED), Ok(fields(&plain)));
    }

    #[test]
    fn random_bytes_never_panic(block in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_fields(&block, 4096);
    }

    #[test]
    fn random_field_lines_never_panic(lines in prop::collection::vec(any::<u8>(), 0..60)) {
        let mut block = vec![0x00, 0x00];
        block.extend(lines);
        let _ = decode_fields(&block, UNLIMITED);
    }

    #[test]
    fn reference_codec_reads_what_is_written(section in any_section()) {
        let plain = borrowed(&section);
        prop_assert_eq!(reference_decode(&encoded(&plain)), Some(fields(&plain)));
    }

    #[test]
    fn what_the_reference_codec_writes_is_read(section in any_section()) {
        let theirs: Vec<_> = section
            .iter()
            .map(|(name, value)| qpack::HeaderField::new(name.clone(), value.clone()))
            .collect();
        let mut block = Vec::new();
        qpack::encode_stateless(&mut block, &theirs).unwrap();
        prop_assert_eq!(decode_fields(&block, UNLIMITED), Ok(fields(&borrowed(&section))));
    }

    #[test]
    fn accepted_sections_mean_the_same_to_the_reference_codec(
        lines in prop::collection::vec(prop_oneof![0xc0u8.., 0x50u8..0x60, 0x20u8..0x30, any::<u8>()], 0..24),
    ) {
        let mut block = vec![0x00, 0x00];
        block.extend(lines);
        if let Ok(ours) = decode_fields(&block, UNLIMITED) {
            prop_assert_eq!(reference_decode(&block), Some(ours));
        }
    }
}
