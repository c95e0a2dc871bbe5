//! The server's certificate: what it says, and who would take it.

use std::{net::IpAddr, time::Duration};

use time::UtcDateTime;
use wt::{CertificateHash, core::tls::CertificateDer};
use x509_cert::{
    Certificate as X509, Version,
    der::{Decode, oid::ObjectIdentifier},
    ext::pkix::{SubjectAltName, name::GeneralName},
    spki::AlgorithmIdentifierOwned,
};

use super::problem::Problem;

/// The longest validity of a certificate that browsers take by its hash.
const MAX_VALIDITY: Duration = Duration::from_secs(14 * DAY);
/// Seconds.
const DAY: u64 = 24 * 60 * 60;

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

const NEW_ONE: &str = "make a new one with 'wtctl cert', which is valid for 13 days";

/// The first certificate that a server shows.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) hash: CertificateHash,
    /// Names and addresses of subjectAltName, which are the only ones that count.
    pub(super) names: Vec<Name>,
    pub(super) not_before: UtcDateTime,
    pub(super) not_after: UtcDateTime,
    pub(super) key: Key,
    /// Whether issuer and subject are the same.
    pub(super) self_signed: bool,
    is_v3: bool,
}

/// A name of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Host(String),
    Address(IpAddr),
}

/// What kind of key a certificate has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    EcdsaP256,
    Other(String),
}

impl Certificate {
    /// Reads a certificate; the error says in words what is wrong with it.
    pub(super) fn read(der: &CertificateDer<'_>) -> Result<Self, String> {
        let parsed = X509::from_der(der).map_err(|error| error.to_string())?;
        let tbs = parsed.tbs_certificate();
        let names = tbs
            .get_extension::<SubjectAltName>()
            .map_err(|error| format!("subjectAltName: {error}"))?
            .map(|(_, names)| names.0.iter().filter_map(Name::read).collect());
        let time = |time: x509_cert::time::Time| {
            let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
            UtcDateTime::from_unix_timestamp(seconds).unwrap_or(UtcDateTime::MAX)
        };
        Ok(Self {
            hash: CertificateHash::of(der),
            names: names.unwrap_or_default(),
            not_before: time(tbs.validity().not_before),
            not_after: time(tbs.validity().not_after),
            key: Key::of(&tbs.subject_public_key_info().algorithm),
            self_signed: tbs.issuer() == tbs.subject(),
            is_v3: tbs.version() == Version::V3,
        })
    }

    /// How long it is valid in all.
    pub(super) fn validity(&self) -> Duration {
        (self.not_after - self.not_before)
            .try_into()
            .unwrap_or_default()
    }

    /// Whether one of its names is this host.
    pub(super) fn covers(&self, host: &str) -> bool {
        self.names.iter().any(|name| name.covers(host))
    }

    /// Says why it is not valid now.
    pub(super) fn out_of_date(&self, now: UtcDateTime) -> Option<Problem> {
        if now < self.not_before {
            let why = format!(
                "the certificate is not valid before {}",
                minute(self.not_before)
            );
            Some(Problem::new(why, "set the clocks, or wait"))
        } else if now > self.not_after {
            let why = format!("the certificate expired on {}", minute(self.not_after));
            Some(Problem::new(why, NEW_ONE))
        } else {
            None
        }
    }

    /// Says why browsers would not take it by its hash (serverCertificateHashes).
    ///
    /// Names play no part in that.
    pub(super) fn by_hash(&self, now: UtcDateTime) -> Vec<Problem> {
        let mut problems: Vec<_> = self.out_of_date(now).into_iter().collect();
        if self.validity() > MAX_VALIDITY {
            let validity = match days(self.validity()) {
                rounded if rounded == "14 days" => "a little more than 14 days".to_owned(),
                rounded => rounded,
            };
            let why = format!(
                "the certificate is valid for {validity} in all, and trust by hash ends at 14 days"
            );
            problems.push(Problem::new(why, NEW_ONE));
        }
        if let Key::Other(key) = &self.key {
            problems.push(Problem::new(
                format!("its key is {key}, and trust by hash needs ECDSA on P-256"),
                "make one with an ECDSA key on P-256, as 'wtctl cert' does",
            ));
        }
        if !self.is_v3 {
            problems.push(Problem::new(
                "it is no X.509 certificate of version 3",
                "make one with 'wtctl cert'",
            ));
        }
        problems
    }

    /// Says why browsers would not take it for the sake of its issuer, where the certificate itself shows it.
    pub(super) fn by_authority(&self, host: &str, now: UtcDateTime) -> Vec<Problem> {
        let mut problems: Vec<_> = self.out_of_date(now).into_iter().collect();
        if !self.covers(host) {
            let why = match self.names.len() {
                0 => "the certificate names nobody (no subjectAltName)".to_owned(),
                _ => format!(
                    "the certificate is for {}, not for {host}",
                    self.all_names()
                ),
            };
            let fix = format!("get one that names {host}");
            problems.push(Problem::new(why, fix));
        }
        if self.self_signed {
            problems.push(Problem::new(
                "the certificate is self-signed",
                "get one from a public authority, or have pages name its hash (serverCertificateHashes)",
            ));
        }
        problems
    }

    pub(super) fn all_names(&self) -> String {
        let names: Vec<_> = self.names.iter().map(ToString::to_string).collect();
        names.join(", ")
    }
}

impl Name {
    fn read(name: &GeneralName) -> Option<Self> {
        match name {
            GeneralName::DnsName(name) => Some(Self::Host(name.as_str().to_owned())),
            GeneralName::IpAddress(bytes) => {
                let bytes = bytes.as_bytes();
                let v4 = || Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?));
                let v6 = || Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?));
                v4().or_else(v6).map(Self::Address)
            }
            _ => None,
        }
    }

    /// Whether this is the host, by the rules of RFC 6125: a `*` stands for the first label.
    fn covers(&self, host: &str) -> bool {
        match self {
            Self::Address(address) => host.parse() == Ok(*address),
            Self::Host(name) => {
                if let Some(parent) = name.strip_prefix("*.") {
                    let rest = host.split_once('.').map(|(_, rest)| rest);
                    rest.is_some_and(|rest| rest.eq_ignore_ascii_case(parent))
                } else {
                    name.eq_ignore_ascii_case(host.trim_end_matches('.'))
                }
            }
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // A server's words may hold anything.
            Self::Host(name) => name.escape_debug().fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl Key {
    fn of(algorithm: &AlgorithmIdentifierOwned) -> Self {
        let curve = || {
            algorithm
                .parameters
                .as_ref()?
                .decode_as::<ObjectIdentifier>()
                .ok()
        };
        let name = match algorithm.oid {
            EC_PUBLIC_KEY => match curve() {
                Some(P256) => return Self::EcdsaP256,
                Some(P384) => "ECDSA on P-384",
                Some(P521) => "ECDSA on P-521",
                _ => "ECDSA on another curve",
            },
            RSA | RSA_PSS => "RSA",
            ED25519 => "Ed25519",
            other => return Self::Other(format!("of the kind {other}")),
        };
        Self::Other(name.to_owned())
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::EcdsaP256 => "ECDSA on P-256",
            Self::Other(name) => name,
        })
    }
}

/// Writes a time to the minute.
pub(super) fn minute(time: UtcDateTime) -> String {
    format!(
        "{} {:02}:{:02} UTC",
        time.date(),
        time.hour(),
        time.minute()
    )
}

/// Writes a time as `2026-12-06T17:28:09Z`.
pub(super) fn rfc3339(time: UtcDateTime) -> String {
    let clock = time.time();
    format!(
        "{}T{:02}:{:02}:{:02}Z",
        time.date(),
        clock.hour(),
        clock.minute(),
        clock.second()
    )
}

/// Writes a length of time in days, or in hours when there is less than one.
pub(super) fn days(time: Duration) -> String {
    let some = |number: u64, unit: &str| match number {
        1 => format!("1 {unit}"),
        number => format!("{number} {unit}s"),
    };
    // A second or an hour more or less is none to speak of.
    let hours = (time.as_secs() + 1800) / 3600;
    match hours {
        0..48 => some(hours, "hour"),
        _ => some((hours + 1) / 24, "day"),
    }
}

#[cfg(test)]
mod tests;
