//! What is wrong with a configuration.

use std::{borrow::Cow, fmt};

/// A configuration holds a value that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid configuration for `{key}`: {value}: {reason}")]
#[non_exhaustive]
#[doc(alias = "ConfigurationError")]
pub struct ConfigError {
    /// Dotted path of the field, such as `limits.early_streams`.
    #[doc(alias = "config_key")]
    pub key: Cow<'static, str>,
    /// The value found there.
    #[doc(alias = "config_value")]
    pub value: String,
    /// What the value has to be.
    pub reason: Cow<'static, str>,
}

impl ConfigError {
    /// Makes an error about `value` at `key`. For the layers above, which have configurations of their own.
    #[doc(alias = "invalid_config")]
    pub fn new(
        key: impl Into<Cow<'static, str>>,
        value: impl fmt::Debug,
        reason: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            key: key.into(),
            value: format!("{value:?}"),
            reason: reason.into(),
        }
    }
}

/// Makes an error about a text.
pub(super) fn invalid(key: &str, value: &str, reason: impl Into<Cow<'static, str>>) -> ConfigError {
    ConfigError::new(key.to_owned(), value, reason)
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
    Err(ConfigError::new(key, value, reason))
}
