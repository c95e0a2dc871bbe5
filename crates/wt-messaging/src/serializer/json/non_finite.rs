//! For fields that may be NaN or infinite: `#[serde(with = "…::json::non_finite")]`.
//!
//! Written, the field is a number like any other. Read, it also takes the names `NaN`, `Infinity` and
//! `-Infinity`, which is how [`NonFinite::Words`](super::NonFinite::Words) passes on the bare words.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use wt_messaging::serializer::{Json, NonFinite};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Reading {
//!     #[serde(with = "wt_messaging::serializer::json::non_finite")]
//!     celsius: f64,
//! }
//!
//! let json = Json::new().non_finite(NonFinite::Words);
//! let reading: Reading = json.read(br#"{"celsius": NaN}"#)?;
//! assert!(reading.celsius.is_nan());
//! # Ok::<(), wt_messaging::serializer::DecodeError>(())
//! ```

use std::fmt;

use serde::{Deserializer, Serializer, de};

/// Writes the number.
///
/// # Errors
///
/// Those of the serializer.
pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(*value)
}

/// Reads a number or one of the names.
///
/// # Errors
///
/// Those of the deserializer, and when there is neither a number nor one of the names.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    deserializer.deserialize_any(Number)
}

struct Number;

impl de::Visitor<'_> for Number {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, NaN, Infinity or -Infinity")
    }

    fn visit_f64<E>(self, value: f64) -> Result<f64, E> {
        Ok(value)
    }

    #[allow(clippy::cast_precision_loss, reason = "as serde does for f64")]
    fn visit_u64<E>(self, value: u64) -> Result<f64, E> {
        Ok(value as f64)
    }

    #[allow(clippy::cast_precision_loss, reason = "as serde does for f64")]
    fn visit_i64<E>(self, value: i64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<f64, E> {
        match value {
            "NaN" => Ok(f64::NAN),
            "Infinity" => Ok(f64::INFINITY),
            "-Infinity" => Ok(f64::NEG_INFINITY),
            _ => Err(E::invalid_value(de::Unexpected::Str(value), &self)),
        }
    }
}
