//! The line of JSON.

use std::io::{self, Write};

use serde::Serialize;

use super::super::{
    Findings,
    browser::{Trust, Verdict},
    certificate::{self, Certificate},
    look::Handshake,
    offer,
    problem::Problem,
};
use crate::{failure::Failure, reach::canonical};

/// One line of JSON; its fields stay.
#[derive(Serialize)]
struct Json<'a> {
    url: &'a str,
    /// Whether the exit status is 0.
    good: bool,
    addresses: Vec<Address<'a>>,
    certificate: Option<Cert<'a>>,
    settings: Vec<Setting>,
    /// Bytes; `null` when the server takes none.
    quic_datagram_size: Option<usize>,
    /// `null` without flow control of sessions.
    flow_control: Option<FlowControl>,
    dialects: Vec<Dialect<'a>>,
    browsers: Vec<Browser<'a>>,
}

#[derive(Serialize)]
struct Address<'a> {
    address: String,
    handshake_ms: Option<f64>,
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct Cert<'a> {
    names: Vec<String>,
    covers_host: bool,
    not_before: String,
    not_after: String,
    key: String,
    self_signed: bool,
    sha256: String,
    by_authority: Judged<'a>,
    by_hash: Judged<'a>,
}

#[derive(Serialize)]
struct Judged<'a> {
    trusted: bool,
    problems: &'a [Problem],
}

#[derive(Serialize)]
struct Setting {
    name: &'static str,
    id: String,
    value: u64,
    meaning: String,
}

#[derive(Serialize)]
struct FlowControl {
    max_data: u64,
    max_streams_bidi: u64,
    max_streams_uni: u64,
}

#[derive(Serialize)]
struct Dialect<'a> {
    dialect: &'static str,
    offered: bool,
    /// How many the server allows on a connection, where it says so.
    max_sessions: Option<u64>,
    /// Whether there was a session.
    works: bool,
    status: Option<u16>,
    connect_ms: Option<f64>,
    protocol: Option<&'a str>,
    max_datagram_size: Option<usize>,
    problem: Option<&'a Problem>,
}

#[derive(Serialize)]
struct Browser<'a> {
    browser: &'static str,
    label: &'static str,
    /// Whether what it needs was measured, not only reported.
    measured: bool,
    connects: bool,
    dialect: Option<&'static str>,
    /// `authority`, `hash` or `unknown`.
    trust: Option<&'static str>,
    problems: &'a [Problem],
}

pub(super) fn print(found: &Findings) -> io::Result<()> {
    let limits = offer::flow_control(&found.offer.settings);
    line(&Json {
        url: &found.url,
        good: found.is_good(),
        addresses: found
            .answers
            .iter()
            .map(|answer| Address {
                address: canonical(answer.address).to_string(),
                handshake_ms: answer.result.as_ref().ok().map(|took| millis(*took)),
                error: answer.result.as_ref().err().map(|words| &words[..]),
            })
            .collect(),
        certificate: found
            .trusted
            .certificate
            .as_ref()
            .ok()
            .map(|certificate| cert(found, certificate)),
        settings: found
            .offer
            .settings
            .iter()
            .map(|(setting, value)| Setting {
                name: setting.name(),
                id: format!("{:#x}", setting.id()),
                value,
                meaning: offer::meaning(setting, value),
            })
            .collect(),
        quic_datagram_size: found.offer.quic_datagrams,
        flow_control: limits.map(|limits| FlowControl {
            max_data: limits.max_data,
            max_streams_bidi: limits.max_streams_bidi,
            max_streams_uni: limits.max_streams_uni,
        }),
        dialects: found
            .handshakes
            .iter()
            .map(|(dialect, handshake)| Dialect {
                max_sessions: offer::session_limit(&found.offer.settings, *dialect),
                ..played(*dialect, handshake)
            })
            .collect(),
        browsers: found.verdicts.iter().map(browser).collect(),
    })
}

fn cert<'a>(found: &'a Findings, certificate: &Certificate) -> Cert<'a> {
    let judged = |problems: &'a [Problem]| Judged {
        trusted: problems.is_empty(),
        problems,
    };
    Cert {
        names: certificate.names.iter().map(ToString::to_string).collect(),
        covers_host: found.covers_host,
        not_before: certificate::rfc3339(certificate.not_before),
        not_after: certificate::rfc3339(certificate.not_after),
        key: certificate.key.to_string(),
        self_signed: certificate.self_signed,
        sha256: certificate.hash.to_hex(),
        by_authority: judged(&found.trusted.by_authority),
        by_hash: judged(&found.trusted.by_hash),
    }
}

fn played(dialect: wt::Dialect, handshake: &Handshake) -> Dialect<'_> {
    let nothing = Dialect {
        dialect: dialect.name(),
        offered: true,
        max_sessions: None,
        works: false,
        status: None,
        connect_ms: None,
        protocol: None,
        max_datagram_size: None,
        problem: None,
    };
    match handshake {
        Handshake::NotOffered => Dialect {
            offered: false,
            ..nothing
        },
        Handshake::Session(opened) => Dialect {
            works: true,
            status: Some(opened.status),
            connect_ms: Some(millis(opened.took)),
            protocol: opened.protocol.as_deref(),
            max_datagram_size: opened.max_datagram,
            ..nothing
        },
        Handshake::Failed { status, problem } => Dialect {
            status: *status,
            problem: Some(problem),
            ..nothing
        },
    }
}

fn browser(verdict: &Verdict) -> Browser<'_> {
    Browser {
        browser: verdict.browser.name(),
        label: verdict.browser.label(),
        measured: verdict.browser.is_measured(),
        connects: verdict.connects(),
        dialect: verdict.dialect.map(wt::Dialect::name),
        trust: verdict.trust.map(|trust| match trust {
            Trust::Authority => "authority",
            Trust::Hash => "hash",
            Trust::NotJudged => "unknown",
        }),
        problems: &verdict.problems,
    }
}

/// Says that the server could not be looked at.
pub(super) fn unreached(url: &str, failure: &Failure) -> io::Result<()> {
    #[derive(Serialize)]
    struct Unreached<'a> {
        url: &'a str,
        good: bool,
        error: String,
    }
    line(&Unreached {
        url,
        good: false,
        error: failure.to_string(),
    })
}

fn line(what: &impl Serialize) -> io::Result<()> {
    let line = serde_json::to_string(what)?;
    writeln!(io::stdout(), "{line}")
}

fn millis(time: std::time::Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
