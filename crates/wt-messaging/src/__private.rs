//! What [`messages!`](crate::messages) needs where it is used. No part of the API.

pub use bytes::{Bytes, BytesMut};

use crate::{serializer::DecodeError, structured::UnknownType};

/// Returns the numbers if no two are equal; a panic while compiling is an error of the compiler.
#[must_use]
pub const fn distinct(numbers: &'static [u16]) -> &'static [u16] {
    let mut first = 0;
    while first < numbers.len() {
        let mut second = first + 1;
        while second < numbers.len() {
            assert!(
                numbers[first] != numbers[second],
                "two variants have the same number"
            );
            second += 1;
        }
        first += 1;
    }
    numbers
}

/// The error of a number that is none of the enum's.
#[must_use]
pub fn unknown_type(type_id: u16) -> DecodeError {
    DecodeError::new("these messages", UnknownType::Number(type_id))
}
