//! What is told of certificates.

use std::{fmt, time::SystemTime};

use crate::tls::{CertificateHash, TlsError};

/// Something that happened to the certificates of a server. `Display` says it in one line.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CertificateEvent {
    /// New connections are shown another certificate from now on.
    Changed {
        /// The names that it is for.
        names: Vec<String>,
        /// What brought it.
        change: CertificateChange,
        /// The hash of the one before, if there was one.
        old: Option<CertificateHash>,
        /// Its hash, by which pages trust it if it is self-signed.
        new: CertificateHash,
        /// When it expires.
        not_after: SystemTime,
    },
    /// New connections are not shown this one any more.
    Removed {
        /// The names that it is for.
        names: Vec<String>,
        /// Its hash.
        hash: CertificateHash,
    },
    /// There is no newer certificate, and the old one stays.
    Failed {
        /// The names that the old one is for.
        names: Vec<String>,
        /// The hash of the old one.
        hash: CertificateHash,
        /// Why.
        error: TlsError,
    },
}

/// What brought a new certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CertificateChange {
    /// The application added it.
    Added,
    /// The application put it in the place of another.
    Replaced,
    /// Its files changed.
    Reloaded,
    /// The self-signed one before it was about to expire.
    Renewed,
}

impl fmt::Display for CertificateChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Added => "added",
            Self::Replaced => "replaced",
            Self::Reloaded => "reloaded",
            Self::Renewed => "renewed",
        })
    }
}

impl fmt::Display for CertificateEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed {
                names, change, new, ..
            } => write!(f, "certificate {change}: {} {new}", names.join(", ")),
            Self::Removed { names, hash } => {
                write!(f, "certificate removed: {} {hash}", names.join(", "))
            }
            Self::Failed { names, error, .. } => {
                write!(f, "certificate stays: {}: {error}", names.join(", "))
            }
        }
    }
}
