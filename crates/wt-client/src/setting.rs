//! What is wrong with a setting.

use std::fmt;

/// A setting has a value that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid setting `{key}`: {value}: {reason}")]
#[non_exhaustive]
pub struct InvalidSetting {
    /// The setting, as `type.field` where it is a field.
    pub key: &'static str,
    /// The value found there.
    pub value: String,
    /// What the value has to be.
    pub reason: &'static str,
}

/// Answers an error about `value` at `key` unless `holds`.
pub(crate) fn ensure(
    holds: bool,
    key: &'static str,
    value: impl fmt::Debug,
    reason: &'static str,
) -> Result<(), InvalidSetting> {
    if holds {
        return Ok(());
    }
    Err(InvalidSetting {
        key,
        value: format!("{value:?}"),
        reason,
    })
}
