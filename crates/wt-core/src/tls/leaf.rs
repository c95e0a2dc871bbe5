//! What we need to know of a certificate ourselves.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, SystemTime},
};

use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::referenced::OwnedToRef;
use x509_cert::ext::pkix::{SubjectAltName, name::GeneralName};

/// `id-ecPublicKey` (RFC 5480, 2.1.1).
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// `secp256r1`, which is P-256 (RFC 5480, 2.1.1.1).
const SECP256R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");

/// The validity, names and kind of key of a certificate.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    /// Start of the validity, as time since the Unix epoch.
    pub(super) not_before: Duration,
    /// End of the validity, as time since the Unix epoch.
    pub(super) not_after: Duration,
    /// Whether the key is an ECDSA key on P-256.
    pub(super) is_p256: bool,
    /// DNS names, in lower case, and IP addresses (RFC 5280, 4.2.1.6).
    pub(super) names: Vec<String>,
}

impl Leaf {
    /// Reads the certificate; an error is a sentence that says what is wrong with it.
    pub(super) fn parse(certificate: &CertificateDer<'_>) -> Result<Self, String> {
        let parsed = Certificate::from_der(certificate).map_err(|error| error.to_string())?;
        let tbs = parsed.tbs_certificate();
        let algorithm = &tbs.subject_public_key_info().algorithm;
        Ok(Self {
            not_before: tbs.validity().not_before.to_unix_duration(),
            not_after: tbs.validity().not_after.to_unix_duration(),
            is_p256: algorithm
                .owned_to_ref()
                .assert_oids(EC_PUBLIC_KEY, SECP256R1)
                .is_ok(),
            names: names(&parsed),
        })
    }

    /// How long the certificate is valid in all.
    pub(super) fn validity(&self) -> Duration {
        self.not_after.saturating_sub(self.not_before)
    }

    /// The start of the validity.
    pub(super) fn begins(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.not_before
    }

    /// The end of the validity.
    pub(super) fn expires(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.not_after
    }
}

/// A subjectAltName that cannot be read names nobody: clients that look there refuse the certificate anyway.
fn names(certificate: &Certificate) -> Vec<String> {
    let found = certificate.tbs_certificate().get_extension();
    let Ok(Some((_, SubjectAltName(names)))) = found else {
        return Vec::new();
    };
    names.iter().filter_map(name).collect()
}

fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let v4 = <[u8; 4]>::try_from(bytes).map(|bytes| IpAddr::from(Ipv4Addr::from(bytes)));
            let v6 = || <[u8; 16]>::try_from(bytes).map(|bytes| Ipv6Addr::from(bytes).into());
            v4.or_else(|_| v6()).ok().map(|ip| ip.to_string())
        }
        _ => None,
    }
}
