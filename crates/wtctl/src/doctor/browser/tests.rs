use rcgen::{CertificateParams, KeyPair};
use wt::{DialectSet, proto::VarInt};

use super::*;

fn settings(pairs: &[(Setting, u64)]) -> Settings {
    let pairs = pairs.iter();
    pairs.fold(Settings::new(), |settings, (setting, value)| {
        settings.with(*setting, VarInt::new(*value).unwrap())
    })
}

const DRAFT_02: (Setting, u64) = (Setting::SETTINGS_ENABLE_WEBTRANSPORT_DRAFT02, 1);
const DRAFT_07: (Setting, u64) = (Setting::SETTINGS_WEBTRANSPORT_MAX_SESSIONS_DRAFT07, 1);
const DRAFT_13: (Setting, u64) = (Setting::SETTINGS_WT_MAX_SESSIONS, 1);
const LIMITS: [(Setting, u64); 3] = [
    (Setting::SETTINGS_WT_INITIAL_MAX_DATA, 1 << 20),
    (Setting::SETTINGS_WT_INITIAL_MAX_STREAMS_UNI, 10),
    (Setting::SETTINGS_WT_INITIAL_MAX_STREAMS_BIDI, 10),
];

fn offer(pairs: &[(Setting, u64)]) -> Offer {
    let settings = settings(pairs);
    Offer {
        dialects: DialectSet::offered(&settings),
        settings,
        quic_datagrams: Some(1200),
    }
}

fn certificate() -> Certificate {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    Certificate::read(params.self_signed(&key).unwrap().der()).unwrap()
}

fn trusted(by_hash: &[Problem], by_authority: &[Problem], wanted: Wanted) -> Trusted {
    Trusted {
        certificate: Ok(certificate()),
        by_hash: by_hash.to_vec(),
        by_authority: by_authority.to_vec(),
        wanted,
    }
}

/// A certificate that everybody takes.
fn anybody() -> Trusted {
    trusted(&[], &[], Wanted::Any)
}

fn judge(browser: Browser, pairs: &[(Setting, u64)]) -> Verdict {
    Verdict::of(browser, &offer(pairs), &[], &anybody(), false)
}

#[test]
fn chromium_and_firefox_speak_draft_02_only() {
    for browser in Browser::MEASURED {
        let verdict = judge(browser, &[DRAFT_02, DRAFT_13]);
        assert!(verdict.connects());
        assert_eq!(verdict.dialect, Some(Dialect::Draft02));
        let verdict = judge(browser, &[DRAFT_07, DRAFT_13]);
        assert_eq!(verdict.dialect, None);
        let [problem] = &verdict.problems[..] else {
            panic!("{verdict:?}");
        };
        assert!(problem.why.contains("speaks draft-02 only"), "{problem:?}");
        assert!(problem.fix.contains("0x2b603742) = 1"), "{problem:?}");
        let wrong = (DRAFT_02.0, 2);
        let verdict = judge(browser, &[wrong]);
        assert!(
            verdict.problems[0].why.contains("H3_SETTINGS_ERROR"),
            "{verdict:?}"
        );
    }
}

#[test]
fn safari_wants_limits_for_several_sessions() {
    let several = (DRAFT_13.0, 16);
    let safari = |pairs: &[(Setting, u64)]| judge(Browser::Safari, pairs);
    assert_eq!(safari(&[DRAFT_13]).dialect, Some(Dialect::Draft13));
    assert_eq!(safari(&[DRAFT_07]).dialect, Some(Dialect::Draft07));
    let all = [&[several], &LIMITS[..]].concat();
    assert_eq!(safari(&all).dialect, Some(Dialect::Draft13));
    for some in [&[several][..], &all[..3], &[DRAFT_07, several]] {
        let verdict = safari(some);
        let why = "it refuses a server that announces 16 sessions without limits for them";
        assert_eq!(verdict.problems[0].why, why);
        assert!(verdict.problems[0].fix.contains("0x2b61"));
    }
    let verdict = safari(&[DRAFT_02]);
    assert!(
        verdict.problems[0].fix.contains("0x14e9cd29"),
        "{verdict:?}"
    );
}

#[test]
fn a_handshake_that_fails_is_its_reason() {
    let problem = Problem::new("the server refused", "do something");
    let failed = Handshake::Failed {
        status: Some(404),
        problem: problem.clone(),
    };
    let handshakes = [(Dialect::Draft02, failed)];
    let offer = offer(&[DRAFT_02, DRAFT_07]);
    let of = |browser| Verdict::of(browser, &offer, &handshakes, &anybody(), false);
    assert_eq!(of(Browser::Chromium).problems, [problem]);
    assert!(of(Browser::Safari).connects());
}

#[test]
fn chromium_looks_for_localhost_on_one_address_only() {
    let offer = offer(&[DRAFT_02]);
    let of = |browser| Verdict::of(browser, &offer, &[], &anybody(), true);
    assert!(of(Browser::Chromium).problems[0].why.contains("::1 only"));
    assert!(of(Browser::Firefox).connects());
}

#[test]
fn one_way_to_trust_is_enough() {
    let no = |why: &str| vec![Problem::new(why, "fix")];
    let (hash, authority) = (no("no hash"), no("no authority"));
    assert_eq!(anybody().judge(), Ok(Trust::Authority));
    let by_hash = trusted(&[], &authority, Wanted::Any);
    assert_eq!(by_hash.judge(), Ok(Trust::Hash));
    // What is self-signed is meant to be taken by its hash.
    let neither = trusted(&hash, &authority, Wanted::Any);
    assert_eq!(neither.judge(), Err(hash.clone()));
    let unjudged = trusted(&hash, &authority, Wanted::Nothing);
    assert_eq!(unjudged.judge(), Ok(Trust::NotJudged));
}

#[test]
fn a_hash_that_is_asked_for_has_to_be_the_right_one() {
    let mut asked = anybody();
    let right = asked.certificate.as_ref().unwrap().hash;
    asked.wanted = Wanted::Hashes(vec![right]);
    assert_eq!(asked.judge(), Ok(Trust::Hash));
    asked.wanted = Wanted::Hashes(vec![CertificateHash::from_bytes([7; 32])]);
    let problems = asked.judge().unwrap_err();
    assert_eq!(
        problems[0].why,
        "the certificate has another hash than the one given"
    );
    assert!(problems[0].fix.contains(&right.to_string()));
}
