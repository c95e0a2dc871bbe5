//! The writer behind [`Json`]: serde's data model as JSON text.
//!
//! `serde_json` writes NaN as null before its formatter is asked, and says no to keys that Python
//! takes, so this is a serializer of its own.

use std::fmt::{self, Write as _};

use bytes::BytesMut;
use serde::ser::{
    self, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant,
};

use super::{Json, NonFinite, key::KeyWriter};

/// Why a value has no form in JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WriteError {
    #[error("{0} is not a number that JSON has; choose what becomes of it with `Json::non_finite`")]
    NonFinite(&'static str),
    #[error("JSON has no form for bytes; write them as text or a list of numbers")]
    Bytes,
    #[error("{0} cannot be the key of a member")]
    Key(&'static str),
    #[error("{0}")]
    Custom(String),
}

impl ser::Error for WriteError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Custom(message.to_string())
    }
}

type Result<T = ()> = std::result::Result<T, WriteError>;

/// Writes one value.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    out: &'a mut BytesMut,
    json: &'a Json,
    depth: usize,
}

impl<'a> Writer<'a> {
    pub(super) const fn new(out: &'a mut BytesMut, json: &'a Json) -> Self {
        Self {
            out,
            json,
            depth: 0,
        }
    }

    pub(super) fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    pub(super) fn integer(&mut self, value: impl itoa::Integer) {
        self.raw(itoa::Buffer::new().format(value));
    }

    /// Writes a float as Python's `repr` does: the shortest digits, and an exponent of two digits or
    /// more below 1e-4 and from 1e16 on, which is where Rust's `Debug` has one, too.
    pub(super) fn float(&mut self, value: f64, shortest: impl fmt::Debug) -> Result {
        if !value.is_finite() {
            let word = if value.is_nan() {
                "NaN"
            } else if value > 0.0 {
                "Infinity"
            } else {
                "-Infinity"
            };
            match self.json.non_finite {
                NonFinite::Refuse => return Err(WriteError::NonFinite(word)),
                NonFinite::Null => self.raw("null"),
                NonFinite::Words => self.raw(word),
            }
            return Ok(());
        }
        let start = self.out.len();
        // Writing to memory does not fail.
        let _ = write!(self.out, "{shortest:?}");
        let exponent = self.out[start..].iter().position(|&byte| byte == b'e');
        if let Some(exponent) = exponent {
            let digits = self.out.split_off(start + exponent + 1);
            let (sign, digits) = match digits.strip_prefix(b"-") {
                Some(digits) => (b'-', digits),
                None => (b'+', &digits[..]),
            };
            self.out.extend_from_slice(&[sign]);
            if digits.len() < 2 {
                self.out.extend_from_slice(b"0");
            }
            self.out.extend_from_slice(digits);
        }
        Ok(())
    }

    pub(super) fn string(&mut self, text: &str) {
        self.raw("\"");
        let mut rest = text;
        loop {
            let (plain, after) = rest.split_at(self.plain(rest));
            self.raw(plain);
            let mut chars = after.chars();
            let Some(c) = chars.next() else { break };
            self.escape(c);
            rest = chars.as_str();
        }
        self.raw("\"");
    }

    /// How many bytes `text` begins with that stand for themselves; a whole number of characters.
    fn plain(&self, text: &str) -> usize {
        /// Looked at in one go, which takes a processor few steps.
        const STEP: usize = 16;
        let ascii = self.json.ascii;
        // The first byte of a character tells.
        let escaped =
            |byte: u8| (byte < b' ') | (byte == b'"') | (byte == b'\\') | (ascii & (byte > b'~'));
        let mut steps = text.as_bytes().chunks_exact(STEP);
        let clear = |step: &[u8]| !step.iter().fold(false, |any, &byte| any | escaped(byte));
        let start = STEP * steps.by_ref().take_while(|step| clear(step)).count();
        let rest = &text.as_bytes()[start..];
        let end = rest.iter().position(|&byte| escaped(byte));
        start + end.unwrap_or(rest.len())
    }

    fn escape(&mut self, c: char) {
        match c {
            '"' => self.raw("\\\""),
            '\\' => self.raw("\\\\"),
            '\n' => self.raw("\\n"),
            '\r' => self.raw("\\r"),
            '\t' => self.raw("\\t"),
            '\x08' => self.raw("\\b"),
            '\x0c' => self.raw("\\f"),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(self.out, "\\u{unit:04x}");
                }
            }
        }
    }

    fn line(&mut self) {
        if let Some(indent) = self.json.indent {
            self.raw("\n");
            let spaces = self.depth * usize::from(indent);
            self.out.resize(self.out.len() + spaces, b' ');
        }
    }

    fn colon(&mut self) {
        self.raw(if self.json.compact { ":" } else { ": " });
    }

    fn open(&mut self, bracket: &str) {
        self.raw(bracket);
        self.depth += 1;
    }

    /// Begins an object with one member, as variants with content are.
    fn variant(&mut self, name: &str) {
        self.open("{");
        self.line();
        self.string(name);
        self.colon();
    }

    fn end_variant(&mut self) {
        self.depth -= 1;
        self.line();
        self.raw("}");
    }
}

/// Writes the members of a list or an object.
pub(super) struct Members<'w, 'a> {
    writer: &'w mut Writer<'a>,
    empty: bool,
    close: &'static str,
    variant: bool,
}

impl<'w, 'a> Members<'w, 'a> {
    fn list(writer: &'w mut Writer<'a>, variant: bool) -> Self {
        writer.open("[");
        Self {
            writer,
            empty: true,
            close: "]",
            variant,
        }
    }

    fn object(writer: &'w mut Writer<'a>, variant: bool) -> Self {
        writer.open("{");
        Self {
            writer,
            empty: true,
            close: "}",
            variant,
        }
    }

    fn next(&mut self) {
        if !self.empty {
            let json = self.writer.json;
            let tight = json.compact || json.indent.is_some();
            self.writer.raw(if tight { "," } else { ", " });
        }
        self.empty = false;
        self.writer.line();
    }

    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        self.next();
        value.serialize(&mut *self.writer)
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result {
        self.next();
        self.writer.string(name);
        self.writer.colon();
        value.serialize(&mut *self.writer)
    }

    fn finish(self) {
        self.writer.depth -= 1;
        if !self.empty {
            self.writer.line();
        }
        self.writer.raw(self.close);
        if self.variant {
            self.writer.end_variant();
        }
    }
}

impl<'w, 'a> ser::Serializer for &'w mut Writer<'a> {
    type Ok = ();
    type Error = WriteError;
    type SerializeSeq = Members<'w, 'a>;
    type SerializeTuple = Members<'w, 'a>;
    type SerializeTupleStruct = Members<'w, 'a>;
    type SerializeTupleVariant = Members<'w, 'a>;
    type SerializeMap = Members<'w, 'a>;
    type SerializeStruct = Members<'w, 'a>;
    type SerializeStructVariant = Members<'w, 'a>;

    fn serialize_bool(self, value: bool) -> Result {
        self.raw(if value { "true" } else { "false" });
        Ok(())
    }

    fn serialize_i8(self, value: i8) -> Result {
        self.integer(value);
        Ok(())
    }

    fn serialize_i16(self, value: i16) -> Result {
        self.integer(value);
        Ok(())
    }

    fn serialize_i32(self, value: i32) -> Result {
        self.integer(value);
        Ok(())
    }

    fn serialize_i64(self, value: i64) -> Result {
        self.integer(value);
        Ok(())
    }

    fn serialize_i128(self, value: i128) -> Result {
        self.integer(value);
        Ok(())
    }

    fn serialize_u8(self, value: u8) -> Result {
        self.integer(value);
        Ok(())
    }

    fn serialize_u16(self, value: u16) -> Result {
        self.integer(value);
        Ok(())
    }

    fn serialize_u32(self, value: u32) -> Result {
        self.integer(value);
        Ok(())
    }

    fn serialize_u64(self, value: u64) -> Result {
        self.integer(value);
        Ok(())
    }

    fn serialize_u128(self, value: u128) -> Result {
        self.integer(value);
        Ok(())
    }

    fn serialize_f32(self, value: f32) -> Result {
        self.float(f64::from(value), value)
    }

    fn serialize_f64(self, value: f64) -> Result {
        self.float(value, value)
    }

    fn serialize_char(self, value: char) -> Result {
        self.string(value.encode_utf8(&mut [0; 4]));
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result {
        self.string(value);
        Ok(())
    }

    fn serialize_bytes(self, _: &[u8]) -> Result {
        Err(WriteError::Bytes)
    }

    fn serialize_none(self) -> Result {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result {
        self.raw("null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result {
        self.string(variant);
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result {
        self.variant(variant);
        value.serialize(&mut *self)?;
        self.end_variant();
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Members<'w, 'a>> {
        Ok(Members::list(self, false))
    }

    fn serialize_tuple(self, _: usize) -> Result<Members<'w, 'a>> {
        Ok(Members::list(self, false))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Members<'w, 'a>> {
        Ok(Members::list(self, false))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Members<'w, 'a>> {
        self.variant(variant);
        Ok(Members::list(self, true))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Members<'w, 'a>> {
        Ok(Members::object(self, false))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Members<'w, 'a>> {
        Ok(Members::object(self, false))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Members<'w, 'a>> {
        self.variant(variant);
        Ok(Members::object(self, true))
    }
}

impl SerializeSeq for Members<'_, '_> {
    type Ok = ();
    type Error = WriteError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        self.item(value)
    }

    fn end(self) -> Result {
        self.finish();
        Ok(())
    }
}

impl SerializeTuple for Members<'_, '_> {
    type Ok = ();
    type Error = WriteError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        self.item(value)
    }

    fn end(self) -> Result {
        self.finish();
        Ok(())
    }
}

impl SerializeTupleStruct for Members<'_, '_> {
    type Ok = ();
    type Error = WriteError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        self.item(value)
    }

    fn end(self) -> Result {
        self.finish();
        Ok(())
    }
}

impl SerializeTupleVariant for Members<'_, '_> {
    type Ok = ();
    type Error = WriteError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        self.item(value)
    }

    fn end(self) -> Result {
        self.finish();
        Ok(())
    }
}

impl SerializeMap for Members<'_, '_> {
    type Ok = ();
    type Error = WriteError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result {
        self.next();
        key.serialize(KeyWriter(&mut *self.writer))?;
        self.writer.colon();
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        value.serialize(&mut *self.writer)
    }

    fn end(self) -> Result {
        self.finish();
        Ok(())
    }
}

impl SerializeStruct for Members<'_, '_> {
    type Ok = ();
    type Error = WriteError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result {
        self.field(name, value)
    }

    fn end(self) -> Result {
        self.finish();
        Ok(())
    }
}

impl SerializeStructVariant for Members<'_, '_> {
    type Ok = ();
    type Error = WriteError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result {
        self.field(name, value)
    }

    fn end(self) -> Result {
        self.finish();
        Ok(())
    }
}
