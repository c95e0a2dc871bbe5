//! The Huffman code for strings: RFC 7541, 5.2 and Appendix B.
//!
//! The code is canonical: codes of one length are consecutive numbers in the order of their symbols, so the table of
//! lengths is all there is to write down. The codes and the decoding tables are computed from it at compile time.

use bytes::BytesMut;

/// The length of the longest code, that of the end-of-string symbol among others.
const MAX_LEN: u32 = 30;

/// The symbol that ends the code space; it is never sent.
const END_OF_STRING: usize = 256;

/// Code lengths in bits, by symbol.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, // 0x00
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, // 0x10
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, // 0x20
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, // 0x30
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, // 0x40
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, // 0x50
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, // 0x60
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, // 0x70
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, // 0x80
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, // 0x90
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, // 0xa0
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, // 0xb0
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, // 0xc0
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, // 0xd0
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, // 0xe0
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, // 0xf0
    30, // end of string
];

/// Code and length of each byte value; the code stands in the low bits.
static CODES: [(u32, u8); 256] = {
    let mut codes = [(0, 0); 256];
    let mut next = 0;
    let mut len = 1;
    while len <= MAX_LEN {
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as u32 == len {
                if symbol != END_OF_STRING {
                    codes[symbol] = (next, len as u8);
                }
                next += 1;
            }
            symbol += 1;
        }
        next <<= 1;
        len += 1;
    }
    codes
};

/// Symbol and length of the code that the next eight bits start with; length 0 if that code is longer.
static SHORT: [(u8, u8); 256] = {
    let mut short = [(0, 0); 256];
    let mut symbol = 0;
    while symbol < END_OF_STRING {
        let len = LENGTHS[symbol] as u32;
        if len <= 8 {
            let first = CODES[symbol].0 << (8 - len);
            let mut offset = 0;
            while offset < 1 << (8 - len) {
                short[(first + offset) as usize] = (symbol as u8, len as u8);
                offset += 1;
            }
        }
        symbol += 1;
    }
    short
};

/// The symbols whose codes have more than eight bits, in code order.
static LONG_SYMBOLS: [u8; LONG_COUNT] = {
    let mut symbols = [0; LONG_COUNT];
    let mut count = 0;
    let mut len = 9;
    while len <= MAX_LEN {
        let mut symbol = 0;
        while symbol < END_OF_STRING {
            if LENGTHS[symbol] as u32 == len {
                symbols[count] = symbol as u8;
                count += 1;
            }
            symbol += 1;
        }
        len += 1;
    }
    symbols
};

const LONG_COUNT: usize = {
    let mut count = 0;
    let mut symbol = 0;
    while symbol < END_OF_STRING {
        if LENGTHS[symbol] > 8 {
            count += 1;
        }
        symbol += 1;
    }
    count
};

/// All codes of one length above eight bits.
#[derive(Clone, Copy)]
struct LongCodes {
    len: u32,
    /// The first code, moved up to 30 bits.
    first: u32,
    /// What follows the last code, moved up to 30 bits.
    end: u32,
    /// Where the symbols start in `LONG_SYMBOLS`.
    offset: usize,
}

/// The long codes, shortest first. Their `end` values ascend, and the last is followed only by the end of string.
static LONG: [LongCodes; LONG_LENGTHS] = {
    let mut long = [LongCodes {
        len: 0,
        first: 0,
        end: 0,
        offset: 0,
    }; LONG_LENGTHS];
    let mut row = 0;
    let mut offset = 0;
    let mut len = 9;
    while len <= MAX_LEN {
        let mut count = 0;
        let mut first = 0;
        let mut symbol = 0;
        while symbol < END_OF_STRING {
            if LENGTHS[symbol] as u32 == len {
                if count == 0 {
                    first = CODES[symbol].0;
                }
                count += 1;
            }
            symbol += 1;
        }
        if count > 0 {
            let up = MAX_LEN - len;
            long[row] = LongCodes {
                len,
                first: first << up,
                end: (first + count) << up,
                offset,
            };
            row += 1;
            offset += count as usize;
        }
        len += 1;
    }
    assert!(row == LONG_LENGTHS);
    long
};

/// How many different lengths above eight bits occur.
const LONG_LENGTHS: usize = 17;

/// A string that is no Huffman code: it holds the end of string, or its padding is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InvalidHuffman;

/// Answers how many bytes `src` takes when encoded.
pub(super) fn encoded_len(src: &[u8]) -> usize {
    let bits: usize = src
        .iter()
        .map(|&byte| usize::from(LENGTHS[usize::from(byte)]))
        .sum();
    bits.div_ceil(8)
}

/// Appends the code of `src`, padded with ones to a whole byte.
pub(super) fn encode(src: &[u8], out: &mut BytesMut) {
    // The `filled` low bits are still to be written: below 32 between two symbols, below 62 at any time.
    let mut pending = 0u64;
    let mut filled = 0;
    for &byte in src {
        let (code, len) = CODES[usize::from(byte)];
        pending = pending << len | u64::from(code);
        filled += u32::from(len);
        if filled >= 32 {
            filled -= 32;
            out.extend_from_slice(&((pending >> filled) as u32).to_be_bytes());
        }
    }
    if filled > 0 {
        let padded = pending << (32 - filled) | 0xffff_ffff >> filled;
        let bytes = (padded as u32).to_be_bytes();
        out.extend_from_slice(&bytes[..filled.div_ceil(8) as usize]);
    }
}

/// Appends the string that `src` encodes. On an error `out` keeps an unspecified tail.
pub(super) fn decode(src: &[u8], out: &mut BytesMut) -> Result<(), InvalidHuffman> {
    let start = out.len();
    // No code is shorter than five bits.
    out.resize(start + src.len() * 8 / 5, 0);
    let written = decode_into(src, &mut out[start..])?;
    out.truncate(start + written);
    Ok(())
}

fn decode_into(mut src: &[u8], dst: &mut [u8]) -> Result<usize, InvalidHuffman> {
    let capacity = dst.len();
    let mut slots = dst.iter_mut();
    // The `filled` high bits of `window` are the next bits of the string, all others are zero.
    let mut window = 0u64;
    let mut filled = 0;
    loop {
        if filled < MAX_LEN {
            if let Some((word, rest)) = src.split_first_chunk::<4>() {
                window |= u64::from(u32::from_be_bytes(*word)) << (32 - filled);
                filled += 32;
                src = rest;
            } else {
                while let Some((&byte, rest)) = src.split_first() {
                    window |= u64::from(byte) << (56 - filled);
                    filled += 8;
                    src = rest;
                }
            }
        }
        let (symbol, len) = match SHORT[(window >> 56) as usize] {
            (_, 0) => match long_symbol((window >> (64 - MAX_LEN)) as u32) {
                Some(found) => found,
                // The end of string, or nothing but ones: padding if short enough.
                None => break,
            },
            (symbol, len) => (symbol, u32::from(len)),
        };
        if len > filled {
            break;
        }
        let slot = slots.next().ok_or(InvalidHuffman)?;
        *slot = symbol;
        window <<= len;
        filled -= len;
    }
    let padding_is_ones = window == !(u64::MAX.checked_shr(filled).unwrap_or(0));
    if filled < 8 && padding_is_ones {
        Ok(capacity - slots.len())
    } else {
        Err(InvalidHuffman)
    }
}

/// Finds the symbol of the code longer than eight bits that `bits`, 30 of them, start with.
#[cold]
fn long_symbol(bits: u32) -> Option<(u8, u32)> {
    let codes = LONG.iter().find(|codes| bits < codes.end)?;
    let nth = bits.checked_sub(codes.first)? >> (MAX_LEN - codes.len);
    let symbol = LONG_SYMBOLS.get(codes.offset + nth as usize)?;
    Some((*symbol, codes.len))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(src: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        encode(src, &mut out);
        out
    }

    fn decoded(src: &[u8]) -> Result<Vec<u8>, InvalidHuffman> {
        let mut out = BytesMut::from(&b"before"[..]);
        decode(src, &mut out)?;
        assert_eq!(&out[..6], b"before");
        Ok(out[6..].to_vec())
    }

    // RFC 7541, C.4 and C.6
    #[test]
    fn specification_examples() {
        let cases: [(&[u8], &[u8]); 9] = [
            (b"www.example.com", b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"),
            (b"no-cache", b"\xa8\xeb\x10\x64\x9c\xbf"),
            (b"custom-key", b"\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f"),
            (b"custom-value", b"\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf"),
            (b"302", b"\x64\x02"),
            (b"private", b"\xae\xc3\x77\x1a\x4b"),
            (
                b"Mon, 21 Oct 2013 20:13:21 GMT",
                b"\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff",
            ),
            (
                b"https://www.example.com",
                b"\x9d\x29\xad\x17\x18\x63\xc7\x8f\x0b\x97\xc8\xe9\xae\x82\xae\x43\xd3",
            ),
            (
                b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
                b"\x94\xe7\x82\x1d\xd7\xf2\xe6\xc7\xb3\x35\xdf\xdf\xcd\x5b\x39\x60\xd5\xaf\x27\x08\x7f\x36\x72\xc1\xab\x27\x0f\xb5\x29\x1f\x95\x87\x31\x60\x65\xc0\x03\xed\x4e\xe5\xb1\x06\x3d\x50\x07",
            ),
        ];
        for (plain, code) in cases {
            assert_eq!(encoded(plain), code);
            assert_eq!(decoded(code).as_deref(), Ok(plain));
            assert_eq!(encoded_len(plain), code.len());
        }
    }

    // RFC 7541, Appendix B: the ends of the table and one code of each unusual length.
    #[test]
    fn codes_are_those_of_the_appendix() {
        for (symbol, code, len) in [
            (0, 0x1ff8, 13),
            (1, 0x7f_ffd8, 23),
            (9, 0xff_ffea, 24),
            (10, 0x3fff_fffc, 30),
            (13, 0x3fff_fffd, 30),
            (22, 0x3fff_fffe, 30),
            (b' ', 0x14, 6),
            (b'0', 0x0, 5),
            (b'<', 0x7ffc, 15),
            (b'X', 0xfc, 8),
            (b'\\', 0x7_fff0, 19),
            (b't', 0x9, 5),
            (b'z', 0x7b, 7),
            (b'|', 0x7fc, 11),
            (127, 0xfff_fffc, 28),
            (128, 0xf_ffe6, 20),
            (199, 0x1ff_ffec, 25),
            (249, 0xfff_fffe, 28),
            (255, 0x3ff_ffee, 26),
        ] {
            assert_eq!(CODES[usize::from(symbol)], (code, len), "symbol {symbol}");
        }
    }

    #[test]
    fn code_fills_its_space() {
        let used: u64 = LENGTHS
            .iter()
            .map(|len| 1u64 << (MAX_LEN - u32::from(*len)))
            .sum();
        assert_eq!(used, 1 << MAX_LEN);
        assert_eq!(LENGTHS.iter().copied().max(), Some(30));
    }

    #[test]
    fn every_byte_alone_and_in_a_row() {
        for byte in 0..=255u8 {
            for count in 1..=9 {
                let plain = vec![byte; count];
                let code = encoded(&plain);
                assert_eq!(code.len(), encoded_len(&plain));
                assert_eq!(decoded(&code), Ok(plain));
            }
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decoded(&encoded(&all)), Ok(all));
    }

    #[test]
    fn every_pair_of_bytes() {
        for first in 0..=255u8 {
            for second in 0..=255u8 {
                assert_eq!(decoded(&encoded(&[first, second])), Ok(vec![first, second]));
            }
        }
    }

    #[test]
    fn empty_string() {
        assert!(encoded(b"").is_empty());
        assert_eq!(decoded(b""), Ok(Vec::new()));
    }

    #[test]
    fn padding_of_eight_or_more_bits_is_refused() {
        for len in 1..=8 {
            assert_eq!(decoded(&vec![0xff; len]), Err(InvalidHuffman));
        }
        // "0" is five zero bits.
        assert_eq!(decoded(&[0x07]), Ok(b"0".to_vec()));
        assert_eq!(decoded(&[0x07, 0xff]), Err(InvalidHuffman));
        assert_eq!(decoded(&[0x07, 0xff, 0xff, 0xff]), Err(InvalidHuffman));
    }

    #[test]
    fn padding_with_a_zero_is_refused() {
        assert_eq!(decoded(&[0x06]), Err(InvalidHuffman));
        assert_eq!(decoded(&[0x03]), Err(InvalidHuffman));
        // "X" has eight bits, '?' ten: what follows it is padding of six bits.
        assert_eq!(decoded(&[0xff, 0x00]), Err(InvalidHuffman));
        assert_eq!(decoded(&[0xff, 0x3f]), Ok(b"?".to_vec()));
    }

    #[test]
    fn end_of_string_is_refused() {
        // The 30 ones of the end of string, alone and after a symbol, then zeroes.
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xfc]), Err(InvalidHuffman));
        assert_eq!(
            decoded(&[0x07, 0xff, 0xff, 0xff, 0xe0]),
            Err(InvalidHuffman)
        );
        assert_eq!(
            decoded(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            Err(InvalidHuffman)
        );
    }

    proptest! {
        #[test]
        fn round_trip(plain in prop::collection::vec(any::<u8>(), 0..200)) {
            let code = encoded(&plain);
            prop_assert_eq!(code.len(), encoded_len(&plain));
            prop_assert_eq!(decoded(&code), Ok(plain));
        }

        #[test]
        fn what_decodes_encodes_to_the_same_bytes(code in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(plain) = decoded(&code) {
                prop_assert_eq!(encoded(&plain), code);
            }
        }
    }
}
