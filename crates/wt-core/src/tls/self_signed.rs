//! Certificates that vouch for themselves.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::pki_types::{CertificateDer, DnsName, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;

use super::TlsError;

/// What a self-signed certificate is made of; see [`Identity::self_signed_with`](super::Identity::self_signed_with).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SelfSigned {
    /// DNS names and IP addresses of the server, at least one. Browsers look here and nowhere else.
    pub names: Vec<String>,
    /// How long the certificate is valid in all. Clients that trust it by hash accept at most 14 days. Default: 13
    /// days.
    pub validity: Duration,
    /// How long ago the validity began, for clients whose clocks are behind. Default: one hour.
    pub backdate: Duration,
}

impl SelfSigned {
    const VALIDITY: Duration = Duration::from_secs(13 * 24 * 60 * 60);
    const BACKDATE: Duration = Duration::from_secs(60 * 60);

    /// Describes a certificate for `names` with default validity.
    pub fn new(names: impl IntoIterator<Item: Into<String>>) -> Self {
        Self {
            names: names.into_iter().map(Into::into).collect(),
            validity: Self::VALIDITY,
            backdate: Self::BACKDATE,
        }
    }

    /// Sets how long the certificate is valid in all.
    pub fn with_validity(mut self, validity: Duration) -> Self {
        self.validity = validity;
        self
    }

    /// Sets how long ago the validity began.
    pub fn with_backdate(mut self, backdate: Duration) -> Self {
        self.backdate = backdate;
        self
    }

    /// Makes a key and the certificate, as of `now`.
    pub(super) fn generate(
        &self,
        now: SystemTime,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        let params = self.params(now)?;
        let key =
            KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| generate(&error))?;
        let certificate = params.self_signed(&key).map_err(|error| generate(&error))?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Ok((vec![certificate.into()], key.into()))
    }

    fn params(&self, now: SystemTime) -> Result<CertificateParams, TlsError> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = self.alt_names()?;
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "wt self-signed");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        (params.not_before, params.not_after) = self.dates(now).ok_or(TlsError::InvalidValidity)?;
        Ok(params)
    }

    fn alt_names(&self) -> Result<Vec<SanType>, TlsError> {
        if self.names.is_empty() {
            return Err(TlsError::InvalidName {
                name: String::new(),
            });
        }
        self.names.iter().map(|name| alt_name(name)).collect()
    }

    fn dates(&self, now: SystemTime) -> Option<(OffsetDateTime, OffsetDateTime)> {
        if self.validity <= self.backdate {
            return None;
        }
        let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
        let now = OffsetDateTime::from_unix_timestamp(now.try_into().ok()?).ok()?;
        let not_before = now.checked_sub(self.backdate.try_into().ok()?)?;
        let not_after = not_before.checked_add(self.validity.try_into().ok()?)?;
        (not_before.year() >= 1970 && not_after.year() < 9999).then_some((not_before, not_after))
    }
}

fn alt_name(name: &str) -> Result<SanType, TlsError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let invalid = || TlsError::InvalidName {
        name: name.to_owned(),
    };
    let without_wildcard = name.strip_prefix("*.").unwrap_or(name);
    DnsName::try_from(without_wildcard).map_err(|_| invalid())?;
    Ok(SanType::DnsName(name.try_into().map_err(|_| invalid())?))
}

fn generate(error: &rcgen::Error) -> TlsError {
    TlsError::Generate {
        reason: error.to_string(),
    }
}
