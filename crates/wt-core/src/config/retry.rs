//! When clients have to show where they are.

use std::{fmt, str::FromStr};

use super::{
    ConfigError,
    error::invalid,
    text::{Reason, Text},
};

/// When a server has new clients show that they receive what is sent to their address, by QUIC Retry (RFC 9000, 8.1.2).
///
/// It costs a client one more round trip and the server nothing that it would have to remember. Who forges addresses
/// does not get past it.
///
/// Written `never`, `under-load` or `always`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Retry {
    /// Never. Clients then count for the address that they claim to have, so that somebody who forges the address of
    /// another client uses up what that one may have.
    Never,
    /// When clients that have not shown it use half of any limit on new connections: of handshakes, connections or rates,
    /// in total or of their address. The other half is for those that have.
    #[default]
    UnderLoad,
    /// Always.
    Always,
}

impl Retry {
    /// Returns the name in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::UnderLoad => "under-load",
            Self::Always => "always",
        }
    }
}

impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Retry {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        Self::read(text).map_err(|reason| invalid("retry", text, reason))
    }
}

impl Text for Retry {
    fn read(text: &str) -> Result<Self, Reason> {
        match &text.trim().to_ascii_lowercase().replace('_', "-")[..] {
            "never" => Ok(Self::Never),
            "under-load" => Ok(Self::UnderLoad),
            "always" => Ok(Self::Always),
            _ => Err("must be one of never, under-load and always".into()),
        }
    }

    fn write(&self) -> String {
        self.name().to_owned()
    }
}
