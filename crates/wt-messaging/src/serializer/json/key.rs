//! Keys of objects: JSON has strings only, so numbers, booleans and null become theirs.

use std::fmt;

use serde::ser::{Impossible, Serialize, Serializer};

use super::write::{WriteError, Writer};

type Result<T = ()> = std::result::Result<T, WriteError>;
type No = Impossible<(), WriteError>;

/// Writes one key.
pub(super) struct KeyWriter<'w, 'a>(pub(super) &'w mut Writer<'a>);

impl KeyWriter<'_, '_> {
    fn word(self, word: &str) -> Result {
        self.0.string(word);
        Ok(())
    }

    fn integer(self, value: impl itoa::Integer) -> Result {
        self.0.raw("\"");
        self.0.integer(value);
        self.0.raw("\"");
        Ok(())
    }

    fn float(self, value: f64, shortest: impl fmt::Debug) -> Result {
        self.0.raw("\"");
        self.0.float(value, shortest)?;
        self.0.raw("\"");
        Ok(())
    }
}

impl Serializer for KeyWriter<'_, '_> {
    type Ok = ();
    type Error = WriteError;
    type SerializeSeq = No;
    type SerializeTuple = No;
    type SerializeTupleStruct = No;
    type SerializeTupleVariant = No;
    type SerializeMap = No;
    type SerializeStruct = No;
    type SerializeStructVariant = No;

    fn serialize_bool(self, value: bool) -> Result {
        self.word(if value { "true" } else { "false" })
    }

    fn serialize_i8(self, value: i8) -> Result {
        self.integer(value)
    }

    fn serialize_i16(self, value: i16) -> Result {
        self.integer(value)
    }

    fn serialize_i32(self, value: i32) -> Result {
        self.integer(value)
    }

    fn serialize_i64(self, value: i64) -> Result {
        self.integer(value)
    }

    fn serialize_i128(self, value: i128) -> Result {
        self.integer(value)
    }

    fn serialize_u8(self, value: u8) -> Result {
        self.integer(value)
    }

    fn serialize_u16(self, value: u16) -> Result {
        self.integer(value)
    }

    fn serialize_u32(self, value: u32) -> Result {
        self.integer(value)
    }

    fn serialize_u64(self, value: u64) -> Result {
        self.integer(value)
    }

    fn serialize_u128(self, value: u128) -> Result {
        self.integer(value)
    }

    fn serialize_f32(self, value: f32) -> Result {
        self.float(f64::from(value), value)
    }

    fn serialize_f64(self, value: f64) -> Result {
        self.float(value, value)
    }

    fn serialize_char(self, value: char) -> Result {
        self.word(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result {
        self.word(value)
    }

    fn serialize_bytes(self, _: &[u8]) -> Result {
        Err(WriteError::Key("a byte string"))
    }

    fn serialize_none(self) -> Result {
        self.word("null")
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result {
        self.word("null")
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result {
        self.word("null")
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result {
        self.word(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result {
        Err(WriteError::Key("a variant with content"))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<No> {
        Err(WriteError::Key("a list"))
    }

    fn serialize_tuple(self, _: usize) -> Result<No> {
        Err(WriteError::Key("a tuple"))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<No> {
        Err(WriteError::Key("a tuple"))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<No> {
        Err(WriteError::Key("a variant with content"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<No> {
        Err(WriteError::Key("a map"))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<No> {
        Err(WriteError::Key("a struct"))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<No> {
        Err(WriteError::Key("a variant with content"))
    }
}
