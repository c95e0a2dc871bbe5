//! Why a value could not be written or read.

use std::{error::Error, fmt, sync::Arc};

/// Why a value could not be written. The cause is in [`source`](Error::source).
#[derive(Clone, Debug)]
#[doc(alias = "SerializationError")]
pub struct EncodeError {
    format: &'static str,
    source: Arc<dyn Error + Send + Sync>,
}

/// Why bytes could not be read as a value. The cause is in [`source`](Error::source).
#[derive(Clone, Debug)]
#[doc(alias = "SerializationError")]
pub struct DecodeError {
    format: &'static str,
    source: Arc<dyn Error + Send + Sync>,
}

impl EncodeError {
    /// Makes an error of a serializer: the name of its format and what went wrong.
    pub fn new(format: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let source = Arc::from(source.into());
        Self { format, source }
    }

    /// Returns the name of the format, such as "JSON".
    #[must_use]
    pub const fn format(&self) -> &'static str {
        self.format
    }
}

impl DecodeError {
    /// Makes an error of a serializer: the name of its format and what went wrong.
    pub fn new(format: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let source = Arc::from(source.into());
        Self { format, source }
    }

    /// Returns the name of the format, such as "JSON".
    #[must_use]
    pub const fn format(&self) -> &'static str {
        self.format
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the value has no form in {}", self.format)
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the bytes are not the value expected in {}", self.format)
    }
}

impl Error for EncodeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

impl Error for DecodeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}
