//! The browsers that are known, and which of them would connect.

use clap::ValueEnum;
use wt::{
    CertificateHash, Dialect,
    proto::settings::{Setting, Settings},
};

use super::{
    certificate::Certificate,
    look::{Handshake, Offer},
    offer,
    problem::Problem,
};

/// A browser whose needs are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Browser {
    /// Chrome and Edge too, measured with version 156
    Chromium,
    /// Measured with version 153
    Firefox,
    /// As others report of version 26.4
    Safari,
}

impl Browser {
    pub(super) const ALL: [Self; 3] = [Self::Chromium, Self::Firefox, Self::Safari];

    /// Those whose needs were measured, and that matter unless somebody says otherwise.
    pub(super) const MEASURED: [Self; 2] = [Self::Chromium, Self::Firefox];

    /// Returns the name with the version of which this is known.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Chromium => "Chromium 156",
            Self::Firefox => "Firefox 153",
            Self::Safari => "Safari 26.4",
        }
    }

    /// Returns the name in JSON and on the command line.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Chromium => "chromium",
            Self::Firefox => "firefox",
            Self::Safari => "safari",
        }
    }

    pub(super) fn is_measured(self) -> bool {
        Self::MEASURED.contains(&self)
    }

    /// Returns the dialect that it would speak with this server, or why it would speak none.
    fn dialect(self, settings: &Settings) -> Result<Dialect, Problem> {
        match self {
            Self::Chromium | Self::Firefox => draft02(settings),
            Self::Safari => safari(settings),
        }
    }
}

/// What Chromium and Firefox ask for.
fn draft02(settings: &Settings) -> Result<Dialect, Problem> {
    const SEND: &str = "have the server send SETTINGS_ENABLE_WEBTRANSPORT (0x2b603742) = 1";
    match settings.get(Setting::SETTINGS_ENABLE_WEBTRANSPORT_DRAFT02) {
        Some(1) => Ok(Dialect::Draft02),
        None | Some(0) => Err(Problem::new(
            "it speaks draft-02 only, which the server does not offer",
            SEND,
        )),
        Some(value) => Err(Problem::new(
            format!(
                "it closes the connection (H3_SETTINGS_ERROR): SETTINGS_ENABLE_WEBTRANSPORT is {value}, and only 1 is right"
            ),
            SEND,
        )),
    }
}

/// What Safari asks for, as others report.
fn safari(settings: &Settings) -> Result<Dialect, Problem> {
    let sessions = settings.get(Setting::SETTINGS_WT_MAX_SESSIONS).unwrap_or(0);
    let limits = [
        Setting::SETTINGS_WT_INITIAL_MAX_DATA,
        Setting::SETTINGS_WT_INITIAL_MAX_STREAMS_UNI,
        Setting::SETTINGS_WT_INITIAL_MAX_STREAMS_BIDI,
    ];
    let has_limits = limits
        .iter()
        .all(|limit| settings.get(*limit).is_some_and(|value| value > 0));
    let draft07 = settings.get(Setting::SETTINGS_WEBTRANSPORT_MAX_SESSIONS_DRAFT07);
    match (sessions, draft07.unwrap_or(0)) {
        (2.., _) if !has_limits => Err(Problem::new(
            format!(
                "it refuses a server that announces {} sessions without limits for them",
                offer::count(sessions)
            ),
            "have the server send SETTINGS_WT_INITIAL_MAX_DATA (0x2b61), _STREAMS_UNI (0x2b64) and \
             _STREAMS_BIDI (0x2b65), or SETTINGS_WT_MAX_SESSIONS (0x14e9cd29) = 1",
        )),
        (1.., _) => Ok(Dialect::Draft13),
        (0, 1..) => Ok(Dialect::Draft07),
        (0, 0) => Err(Problem::new(
            "it speaks draft-13 or draft-07, and the server offers neither",
            "have the server send SETTINGS_WT_MAX_SESSIONS (0x14e9cd29) = 1",
        )),
    }
}

/// How a browser comes to trust the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// By its issuer.
    Authority,
    /// By its hash, which the page has to name.
    Hash,
    /// Nobody asked.
    NotJudged,
}

/// Which trust is asked for on the command line.
#[derive(Debug)]
pub(super) enum Wanted {
    /// By authority or by hash.
    Any,
    /// By one of these hashes.
    Hashes(Vec<CertificateHash>),
    /// None.
    Nothing,
}

/// Who would take the certificate, and why others would not.
#[derive(Debug)]
pub(super) struct Trusted {
    /// What it says, or why it cannot be read.
    pub(super) certificate: Result<Certificate, String>,
    /// Why browsers would not take it by its hash.
    pub(super) by_hash: Vec<Problem>,
    /// Why they would not take it for the sake of its issuer.
    pub(super) by_authority: Vec<Problem>,
    pub(super) wanted: Wanted,
}

impl Trusted {
    /// Says how browsers would trust the certificate, or why not.
    fn judge(&self) -> Result<Trust, Vec<Problem>> {
        let certificate = match (&self.wanted, &self.certificate) {
            (Wanted::Nothing, _) => return Ok(Trust::NotJudged),
            (_, Ok(certificate)) => certificate,
            (_, Err(_)) => return Err(self.by_hash.clone()),
        };
        if let Wanted::Hashes(hashes) = &self.wanted {
            if !hashes.contains(&certificate.hash) {
                return Err(vec![Problem::new(
                    "the certificate has another hash than the one given",
                    format!(
                        "have pages name {}, or the server show the other certificate",
                        certificate.hash
                    ),
                )]);
            }
        } else if self.by_authority.is_empty() {
            return Ok(Trust::Authority);
        }
        match (self.by_hash.is_empty(), &self.wanted) {
            (true, _) => Ok(Trust::Hash),
            // Nobody expects the hash of a certificate that an authority issued.
            (false, Wanted::Any) if !certificate.self_signed => Err(self.by_authority.clone()),
            (false, _) => Err(self.by_hash.clone()),
        }
    }
}

/// Whether a browser would connect.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) browser: Browser,
    /// What it would speak.
    pub(super) dialect: Option<Dialect>,
    pub(super) trust: Option<Trust>,
    /// Why it would not connect; empty when it would.
    pub(super) problems: Vec<Problem>,
}

impl Verdict {
    pub(super) const fn connects(&self) -> bool {
        self.problems.is_empty()
    }

    /// Judges whether this browser would connect.
    ///
    /// `localhost` says whether the URL names it and nothing answers on ::1.
    pub(super) fn of(
        browser: Browser,
        offer: &Offer,
        handshakes: &[(Dialect, Handshake)],
        trusted: &Trusted,
        localhost: bool,
    ) -> Self {
        let mut problems = Vec::new();
        if localhost && browser == Browser::Chromium {
            problems.push(Problem::new(
                "it looks for localhost on ::1 only, where nothing answers",
                "let the server listen on [::], or name 127.0.0.1 in the URL",
            ));
        }
        let dialect = browser.dialect(&offer.settings);
        match &dialect {
            Ok(dialect) => {
                let played = handshakes.iter().find(|(played, _)| played == dialect);
                if let Some((_, Handshake::Failed { problem, .. })) = played {
                    problems.push(problem.clone());
                }
            }
            Err(problem) => problems.push(problem.clone()),
        }
        let trust = trusted.judge();
        if let Err(more) = &trust {
            problems.extend(more.iter().cloned());
        }
        Self {
            browser,
            dialect: dialect.ok(),
            trust: trust.ok(),
            problems,
        }
    }
}

#[cfg(test)]
mod tests;
