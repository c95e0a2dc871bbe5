//! The text behind bytes.

use std::borrow::Cow;

/// The bytes are no text in the encoding that they begin like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not {0}")]
pub(super) struct NotText(&'static str);

/// An encoding that JSON text may have (RFC 4627, 3).
#[derive(Clone, Copy)]
enum Encoding {
    Utf8,
    Utf16([usize; 2]),
    Utf32([usize; 4]),
}

const BE16: Encoding = Encoding::Utf16([0, 1]);
const LE16: Encoding = Encoding::Utf16([1, 0]);
const BE32: Encoding = Encoding::Utf32([0, 1, 2, 3]);
const LE32: Encoding = Encoding::Utf32([3, 2, 1, 0]);

/// Tells the encoding by the byte order mark or by where the zeros are, and the length of the mark.
fn detect(bytes: &[u8]) -> (Encoding, usize) {
    match bytes {
        [0, 0, 0xfe, 0xff, ..] => (BE32, 4),
        [0xff, 0xfe, 0, 0, ..] => (LE32, 4),
        [0xfe, 0xff, ..] => (BE16, 2),
        [0xff, 0xfe, ..] => (LE16, 2),
        [0xef, 0xbb, 0xbf, ..] => (Encoding::Utf8, 3),
        [0, 0, _, _, ..] => (BE32, 0),
        [0, _, _, _, ..] => (BE16, 0),
        [_, 0, 0, 0, ..] => (LE32, 0),
        [_, 0, _, _, ..] => (LE16, 0),
        [0, _] => (BE16, 0),
        [_, 0] => (LE16, 0),
        _ => (Encoding::Utf8, 0),
    }
}

/// Returns the text as UTF-8. That UTF-8 is valid is left to the parser.
pub(super) fn to_utf8(bytes: &[u8]) -> Result<Cow<'_, [u8]>, NotText> {
    let (encoding, mark) = detect(bytes);
    let bytes = bytes.get(mark..).unwrap_or_default();
    let text: Option<String> = match encoding {
        Encoding::Utf8 => return Ok(Cow::Borrowed(bytes)),
        Encoding::Utf16(order) => units(bytes, order).and_then(|units| {
            let units = units.map(|[high, low]| u16::from_be_bytes([high, low]));
            char::decode_utf16(units).collect::<Result<_, _>>().ok()
        }),
        Encoding::Utf32(order) => units(bytes, order).and_then(|units| {
            units
                .map(|u| char::from_u32(u32::from_be_bytes(u)))
                .collect()
        }),
    };
    let name = match encoding {
        Encoding::Utf8 => "UTF-8",
        Encoding::Utf16(_) => "UTF-16",
        Encoding::Utf32(_) => "UTF-32",
    };
    Ok(Cow::Owned(text.ok_or(NotText(name))?.into_bytes()))
}

/// The code units, their bytes put into order; `None` when the last one is not whole.
fn units<const N: usize>(bytes: &[u8], order: [usize; N]) -> Option<impl Iterator<Item = [u8; N]>> {
    let whole = bytes.len().is_multiple_of(N);
    whole.then(|| {
        bytes
            .chunks_exact(N)
            .map(move |unit| order.map(|at| unit[at]))
    })
}

/// Puts the bare words for numbers that are not finite in quotes; `None` when there are none.
pub(super) fn quote_words(text: &[u8]) -> Option<Vec<u8>> {
    let mut quoted = None;
    let mut copied = 0;
    let mut at = 0;
    let mut in_string = false;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => at += 1,
            b'N' | b'I' | b'-' if !in_string => {
                let rest = &text[at..];
                let words: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];
                if let Some(word) = words.into_iter().find(|word| rest.starts_with(word)) {
                    let out = quoted.get_or_insert_with(|| Vec::with_capacity(text.len() + 16));
                    out.extend_from_slice(&text[copied..at]);
                    out.push(b'"');
                    out.extend_from_slice(word);
                    out.push(b'"');
                    at += word.len();
                    copied = at;
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    if let Some(out) = &mut quoted {
        out.extend_from_slice(&text[copied..]);
    }
    quoted
}
