use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
};
use time::OffsetDateTime;

use super::*;

const RSA_KEY: &str = include_str!("../../../tests/data/rsa-2048.key.pem");

const HOUR: time::Duration = time::Duration::HOUR;
const THIRTEEN_DAYS: time::Duration = time::Duration::days(13);

/// Some time, to the second.
fn noon() -> UtcDateTime {
    UtcDateTime::from_unix_timestamp(1_800_000_000).unwrap()
}

fn p256() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

fn params(names: &[&str], starts: time::Duration, lasts: time::Duration) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = OffsetDateTime::from(noon()) + starts;
    params.not_after = params.not_before + lasts;
    params
}

/// A self-signed certificate for these names that is valid from `starts` after noon on for `lasts`.
fn certificate(
    names: &[&str],
    key: &KeyPair,
    starts: time::Duration,
    lasts: time::Duration,
) -> Certificate {
    let made = params(names, starts, lasts).self_signed(key).unwrap();
    Certificate::read(made.der()).unwrap()
}

/// One as `wtctl cert` makes it, an hour old.
fn good() -> Certificate {
    certificate(
        &["localhost", "127.0.0.1", "::1"],
        &p256(),
        -HOUR,
        THIRTEEN_DAYS,
    )
}

fn whys(problems: &[Problem]) -> Vec<&str> {
    problems.iter().map(|problem| &problem.why[..]).collect()
}

#[test]
fn a_good_one_is_taken_by_its_hash() {
    let good = good();
    assert_eq!(good.by_hash(noon()), []);
    assert_eq!(good.key, Key::EcdsaP256);
    assert_eq!(good.all_names(), "localhost, 127.0.0.1, ::1");
    assert!(good.self_signed);
    for host in ["localhost", "LOCALHOST", "127.0.0.1", "::1", "0:0::1"] {
        assert!(good.covers(host), "{host}");
    }
}

#[test]
fn fourteen_days_are_the_longest_validity() {
    let lasting = |lasts| certificate(&["a"], &p256(), -HOUR, lasts);
    let days = time::Duration::days;
    assert_eq!(lasting(days(14)).by_hash(noon()), []);
    let too_long = "the certificate is valid for 90 days in all, and trust by hash ends at 14 days";
    let problems = lasting(days(90)).by_hash(noon());
    assert_eq!(whys(&problems), [too_long]);
    assert!(problems[0].fix.contains("'wtctl cert'"), "{problems:?}");
    let problems = lasting(days(14) + time::Duration::SECOND).by_hash(noon());
    let words = "the certificate is valid for a little more than 14 days in all, and trust by hash ends at 14 days";
    assert_eq!(whys(&problems), [words]);
}

#[test]
fn other_keys_than_p256_are_named() {
    let key = |key: &KeyPair| {
        let certificate = certificate(&["a"], key, -HOUR, THIRTEEN_DAYS);
        let problems = certificate.by_hash(noon());
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems[0].why.clone()
    };
    let rsa = KeyPair::from_pem(RSA_KEY).unwrap();
    assert_eq!(
        key(&rsa),
        "its key is RSA, and trust by hash needs ECDSA on P-256"
    );
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    assert!(key(&p384).contains("ECDSA on P-384"));
    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    assert!(key(&ed25519).contains("Ed25519"));
}

#[test]
fn it_has_to_be_valid_now() {
    let expired = certificate(&["a"], &p256(), -HOUR * 48, HOUR * 24);
    let words = "the certificate expired on 2027-01-14 08:00 UTC";
    assert_eq!(whys(&expired.by_hash(noon())), [words]);
    assert_eq!(whys(&expired.by_authority("a", noon()))[0], words);
    let future = certificate(&["a"], &p256(), HOUR, HOUR * 24);
    let words = "the certificate is not valid before 2027-01-15 09:00 UTC";
    assert_eq!(whys(&future.by_hash(noon())), [words]);
}

#[test]
fn several_faults_are_all_told() {
    let rsa = KeyPair::from_pem(RSA_KEY).unwrap();
    let bad = certificate(&["a"], &rsa, -HOUR * 24 * 60, HOUR * 24 * 30);
    assert_eq!(bad.by_hash(noon()).len(), 3);
}

#[test]
fn a_wrong_name_matters_to_authorities_only() {
    let other = certificate(&["example.com"], &p256(), -HOUR, THIRTEEN_DAYS);
    assert_eq!(other.by_hash(noon()), []);
    let problems = other.by_authority("example.org", noon());
    let words = [
        "the certificate is for example.com, not for example.org",
        "the certificate is self-signed",
    ];
    assert_eq!(whys(&problems), words);
    let nameless = certificate(&[], &p256(), -HOUR, THIRTEEN_DAYS);
    let problems = nameless.by_authority("a", noon());
    assert_eq!(
        whys(&problems)[0],
        "the certificate names nobody (no subjectAltName)"
    );
}

#[test]
fn one_of_an_authority_is_not_self_signed() {
    let authority_key = p256();
    let mut authority = params(&["authority"], -HOUR, THIRTEEN_DAYS);
    let name = rcgen::DnType::CommonName;
    authority.distinguished_name.push(name, "some authority");
    let issuer = Issuer::new(authority, authority_key);
    let mut leaf = params(&["example.com"], -HOUR, THIRTEEN_DAYS * 7);
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let leaf = leaf.signed_by(&p256(), &issuer).unwrap();
    let leaf = Certificate::read(leaf.der()).unwrap();
    assert!(!leaf.self_signed);
    assert_eq!(leaf.by_authority("example.com", noon()), []);
    assert_eq!(leaf.by_hash(noon()).len(), 1);
}

#[test]
fn a_star_stands_for_one_label() {
    let wild = Name::Host("*.example.com".to_owned());
    for (host, covered) in [
        ("a.example.com", true),
        ("A.EXAMPLE.COM", true),
        ("example.com", false),
        ("a.b.example.com", false),
        ("a.example.org", false),
    ] {
        assert_eq!(wild.covers(host), covered, "{host}");
    }
    assert!(!Name::Host("127.0.0.1".to_owned()).covers("127.0.0.2"));
}

#[test]
fn what_is_no_certificate_is_an_error() {
    let error = Certificate::read(&CertificateDer::from(&b"abc"[..])).unwrap_err();
    assert!(!error.is_empty());
}

#[test]
fn lengths_of_time_are_rounded() {
    for (seconds, words) in [
        (20 * 60, "0 hours"),
        (60 * 60, "1 hour"),
        (47 * 60 * 60, "47 hours"),
        (13 * DAY, "13 days"),
        (13 * DAY - 60, "13 days"),
        (13 * DAY - 6 * 60 * 60, "12 days"),
    ] {
        assert_eq!(days(Duration::from_secs(seconds)), words);
    }
    assert_eq!(rfc3339(noon()), "2027-01-15T08:00:00Z");
}
