//! How a server keeps its certificates fresh.

use std::time::Duration;

use super::{ConfigError, ensure, ensure_time};

/// How a server keeps its certificates fresh while it runs; see [`Certificates`](crate::tls::Certificates).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use wt_core::config::CertificateConfig;
///
/// // Files are read again on demand only.
/// let config = CertificateConfig::new().with_check_interval(None);
/// // Files that change are noticed within a minute.
/// let config = CertificateConfig::new().with_check_interval(Duration::from_secs(60));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct CertificateConfig {
    /// How many certificates the server may have, the default one among them. Default: 1000.
    pub max: usize,
    /// How often the files are read that certificates came from, to see whether they changed; `None` leaves them alone
    /// until [`Certificates::reload`](crate::tls::Certificates::reload) is called. Default: 5 s.
    #[cfg_attr(feature = "serde", serde(with = "super::files::text"))]
    pub check_interval: Option<Duration>,
    /// Whether certificates that [`Identity::self_signed`](crate::tls::Identity::self_signed) made are replaced by new
    /// ones, with a new hash, before they expire. Default: `true`.
    pub renew: bool,
    /// How long before their end that is, at most a quarter of the time that they are good for. Default: one day.
    #[cfg_attr(feature = "serde", serde(with = "super::files::text"))]
    pub renew_before: Duration,
    /// How long before the end of a certificate diagnostics begin to warn, at most a quarter of its validity; for those
    /// that are renewed by themselves, half of the time that remains when that is due. Default: 7 days.
    #[cfg_attr(feature = "serde", serde(with = "super::files::text"))]
    pub expiry_warning: Duration,
}

impl Default for CertificateConfig {
    fn default() -> Self {
        Self {
            max: 1000,
            check_interval: Some(Duration::from_secs(5)),
            renew: true,
            renew_before: Duration::from_secs(24 * 60 * 60),
            expiry_warning: Duration::from_secs(7 * 24 * 60 * 60),
        }
    }
}

impl CertificateConfig {
    /// Makes one with default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how many certificates the server may have.
    #[must_use]
    pub const fn with_max(mut self, max: usize) -> Self {
        self.max = max;
        self
    }

    /// Sets how often files are looked at; `None` for never.
    #[must_use]
    pub fn with_check_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.check_interval = interval.into();
        self
    }

    /// Sets whether self-signed certificates are renewed.
    #[must_use]
    pub const fn with_renew(mut self, renew: bool) -> Self {
        self.renew = renew;
        self
    }

    /// Sets how long before their end self-signed certificates are renewed.
    #[must_use]
    pub const fn with_renew_before(mut self, time: Duration) -> Self {
        self.renew_before = time;
        self
    }

    /// Sets how long before the end of a certificate diagnostics begin to warn.
    #[must_use]
    pub const fn with_expiry_warning(mut self, time: Duration) -> Self {
        self.expiry_warning = time;
        self
    }

    /// Checks that all values can work, for a server with `count` certificates.
    pub(super) fn validate(&self, count: usize) -> Result<(), ConfigError> {
        ensure(
            self.max >= count,
            "certificates.max",
            self.max,
            "must be at least the number of certificates that the server is given",
        )?;
        if let Some(interval) = self.check_interval {
            ensure_time("certificates.check_interval", interval)?;
        }
        ensure_time("certificates.renew_before", self.renew_before)?;
        ensure_time("certificates.expiry_warning", self.expiry_warning)
    }
}
