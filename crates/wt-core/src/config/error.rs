//! What is wrong with a configuration.

use std::fmt;

/// A configuration holds a value that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid configuration for `{key}`: {value}: {reason}")]
#[non_exhaustive]
pub struct ConfigError {
    /// Dotted path of the field, such as `limits.early_streams`.
    pub key: &'static str,
    /// The value found there.
    pub value: String,
    /// What the value has to be.
    pub reason: &'static str,
}

/// Answers an error about `value` at `key` unless `holds`.
pub(super) fn ensure(
    holds: bool,
    key: &'static str,
    value: impl fmt::Debug,
    reason: &'static str,
) -> Result<(), ConfigError> {
    if holds {
        return Ok(());
    }
    Err(ConfigError {
        key,
        value: format!("{value:?}"),
        reason,
    })
}
