//! How certificates stand.

use std::{
    fmt,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use super::{
    Slot,
    refresh::{renewal, words},
};
use crate::{
    config::CertificateConfig,
    tls::{CertificateHash, TlsError},
};

const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;

/// How a certificate of a server stands.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CertificateStatus {
    /// DNS names and IP addresses that it is for.
    pub names: Vec<String>,
    /// Its SHA-256.
    pub hash: CertificateHash,
    /// Whether it is shown where no other is for the name.
    pub is_default: bool,
    /// From when on it is valid.
    pub not_before: SystemTime,
    /// When it expires.
    pub not_after: SystemTime,
    /// From when on its end is worth a warning.
    pub warn_at: SystemTime,
    /// When it is replaced by a new one, if it is self-signed and renewed by itself.
    pub renewed_at: Option<SystemTime>,
    /// The files of chain and key that it was read from.
    pub files: Option<(PathBuf, PathBuf)>,
    /// Why there is no newer one, although the files changed or the time has come.
    pub failure: Option<TlsError>,
}

impl CertificateStatus {
    pub(super) fn new(slot: &Slot, is_default: bool, config: &CertificateConfig) -> Self {
        let identity = &slot.identity;
        let (not_before, not_after) = (identity.not_before(), identity.not_after());
        let renewed_at = renewal(identity, config);
        let warn_before = match renewed_at {
            Some(at) => not_after.duration_since(at).unwrap_or_default() / 2,
            None => {
                let validity = not_after.duration_since(not_before).unwrap_or_default();
                config.expiry_warning.min(validity / 4)
            }
        };
        let files = identity.files();
        let failure = slot.failure.as_ref().filter(|failure| failure.told);
        Self {
            names: identity.names().to_vec(),
            hash: identity.certificate_hash(),
            is_default,
            not_before,
            not_after,
            warn_at: not_after.checked_sub(warn_before).unwrap_or(not_after),
            renewed_at,
            files: files.map(|(chain, key)| (chain.to_owned(), key.to_owned())),
            failure: failure.map(|failure| failure.error.clone()),
        }
    }

    /// Returns the first of its names, or its hash where it has none.
    #[must_use]
    pub fn name(&self) -> String {
        let first = self.names.first().cloned();
        first.unwrap_or_else(|| self.hash.to_hex())
    }

    /// Returns how long it is valid from `now` on; zero when it has expired.
    #[must_use]
    pub fn left(&self, now: SystemTime) -> Duration {
        self.not_after.duration_since(now).unwrap_or_default()
    }

    /// Returns how many whole days it is valid from `now` on.
    #[must_use]
    pub fn days_left(&self, now: SystemTime) -> u64 {
        self.left(now).as_secs() / DAY
    }

    /// Returns how long it is valid from `now` on, below zero when it has expired.
    pub(super) fn seconds_left(&self, now: SystemTime) -> f64 {
        match self.not_after.duration_since(now) {
            Ok(left) => left.as_secs_f64(),
            Err(over) => -over.duration().as_secs_f64(),
        }
    }

    /// Returns whether it has expired at `now`: clients refuse it.
    #[must_use]
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.not_after < now
    }

    /// Returns whether it has expired or is about to, so that someone should do something.
    #[must_use]
    pub fn is_expiring(&self, now: SystemTime) -> bool {
        self.warn_at <= now
    }

    /// Returns what an operator should look at.
    #[must_use]
    pub fn issues(&self, now: SystemTime) -> Vec<CertificateIssue> {
        let (name, left) = (self.name(), self.left(now));
        let time = if self.is_expired(now) {
            Some(CertificateIssue::Expired { name: name.clone() })
        } else {
            let name = name.clone();
            let expiring = self.is_expiring(now);
            expiring.then_some(CertificateIssue::Expires { name, left })
        };
        let failure = self.failure.as_ref();
        let failure = failure.map(|error| CertificateIssue::NotRefreshed {
            name,
            reason: words(error),
        });
        time.into_iter().chain(failure).collect()
    }
}

/// Something about a certificate that an operator should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateIssue {
    /// It has expired: clients refuse it.
    Expired {
        /// The first of its names.
        name: String,
    },
    /// It is about to expire, and nothing newer has come.
    Expires {
        /// The first of its names.
        name: String,
        /// How long it is valid.
        left: Duration,
    },
    /// There should be a newer one, which cannot be used.
    NotRefreshed {
        /// The first of its names.
        name: String,
        /// Why not.
        reason: String,
    },
}

impl fmt::Display for CertificateIssue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired { name } => write!(f, "The certificate for {name} has expired."),
            Self::Expires { name, left } => {
                write!(f, "The certificate for {name} expires in {}.", span(*left))
            }
            Self::NotRefreshed { name, reason } => {
                write!(f, "There is no newer certificate for {name}: {reason}")
            }
        }
    }
}

/// Writes a time in the unit that fits.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (count, unit) = match seconds {
        0..=119 => (seconds, "second"),
        120..7200 => (seconds / 60, "minute"),
        7200..172_800 => (seconds / HOUR, "hour"),
        _ => (seconds / DAY, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

/// What happened to the certificates of a server so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateStats {
    /// How many there are.
    pub certificates: usize,
    /// How often there was a new one.
    pub changes: u64,
    /// How often there should have been one and was not.
    pub failures: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_the_unit_that_fits() {
        for (seconds, text) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (119, "119 seconds"),
            (120, "2 minutes"),
            (7199, "119 minutes"),
            (7200, "2 hours"),
            (2 * DAY - 1, "47 hours"),
            (2 * DAY, "2 days"),
            (90 * DAY, "90 days"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }
}
