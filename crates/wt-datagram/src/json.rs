//! JSON as the datagrams of PyWebTransport carry it: compact, and nothing but ASCII.

use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

/// Writes what is not printable ASCII as `\uXXXX`.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(|c: char| c >= '\u{7f}') {
            let (plain, from) = rest.split_at(at);
            CompactFormatter.write_string_fragment(writer, plain)?;
            let mut chars = from.chars();
            if let Some(c) = chars.next() {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
            rest = chars.as_str();
        }
        CompactFormatter.write_string_fragment(writer, rest)
    }
}

/// Writes a value.
pub(crate) fn encode(value: &(impl Serialize + ?Sized)) -> serde_json::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(128);
    value.serialize(&mut Serializer::with_formatter(&mut bytes, Ascii))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_is_compact_and_ascii() {
        let value = json!([{"a": 1, "b": "grüß \u{7f}\u{1f600}\"\\\n\u{1}"}, 1.5, null, true]);
        let bytes = encode(&value).unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            r#"[{"a":1,"b":"gr\u00fc\u00df \u007f\ud83d\ude00\"\\\n\u0001"},1.5,null,true]"#
        );
    }

    #[test]
    fn what_is_written_can_be_read() {
        let text = "a\u{80}b\u{ffff}c\u{10000}d";
        let bytes = encode(text).unwrap();
        assert_eq!(serde_json::from_slice::<String>(&bytes).unwrap(), text);
    }
}
