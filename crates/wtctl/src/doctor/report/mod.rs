//! What `wtctl doctor` shows.

mod json;

use std::io::{self, Write};

use time::UtcDateTime;
use wt::proto::settings::Setting;

use super::{
    Findings,
    browser::{Trust, Trusted, Verdict, Wanted},
    certificate::{self, Certificate},
    look::{Answer, Handshake, Opened},
    offer,
    problem::Problem,
};
use crate::{
    failure::Failure,
    output::{BAD, GOOD, QUIET, STRONG, VALUE},
    plot::Ink,
    reach::canonical,
    units,
};

/// Where the second column begins.
const INDENT: usize = 13;
/// How wide the names of dialects, browsers and facts are.
const NAME: usize = 14;

/// Shows everything that was found.
pub(super) fn print(found: &Findings, json: bool) -> Result<(), Failure> {
    let printed = if json {
        json::print(found)
    } else {
        let out = anstream::stdout().lock();
        Words::new(out, Ink::of_stdout()).print(found)
    };
    printed.map_err(|error| Failure::output(&error))
}

/// Says in JSON that nothing was found.
pub(super) fn unreached(url: &str, failure: &Failure) -> Result<(), Failure> {
    json::unreached(url, failure).map_err(|error| Failure::output(&error))
}

/// How something is.
#[derive(Clone, Copy)]
enum Mark {
    Good,
    Bad,
    /// Neither.
    Plain,
}

/// Writes sections: a heading in the first column, rows in the second.
struct Words<W> {
    out: W,
    signs: [&'static str; 3],
    arrow: &'static str,
    /// The heading of the section, until it is written.
    heading: &'static str,
    /// Those that were told in this section.
    fixes: Vec<String>,
}

impl<W: Write> Words<W> {
    fn new(out: W, ink: Ink) -> Self {
        let (signs, arrow) = match ink {
            Ink::Blocks => (["✓", "✗", "–"], "→"),
            Ink::Plain => (["ok", "no", "- "], "->"),
        };
        Self {
            out,
            signs,
            arrow,
            heading: "",
            fixes: Vec::new(),
        }
    }

    fn section(&mut self, heading: &'static str) {
        self.heading = heading;
        self.fixes.clear();
    }

    fn row(&mut self, text: &str) -> io::Result<()> {
        let heading = std::mem::take(&mut self.heading);
        writeln!(self.out, "{STRONG}{heading:<INDENT$}{STRONG:#}{text}")
    }

    /// How wide a sign is.
    fn sign_width(&self) -> usize {
        self.signs[0].chars().count()
    }

    fn fact(&mut self, name: &str, text: &str) -> io::Result<()> {
        let width = self.sign_width();
        self.row(&format!("{:width$} {name:<NAME$} {text}", ""))
    }

    fn sign(&self, mark: Mark) -> String {
        let [good, bad, plain] = self.signs;
        match mark {
            Mark::Good => format!("{GOOD}{good}{GOOD:#}"),
            Mark::Bad => format!("{BAD}{bad}{BAD:#}"),
            Mark::Plain => format!("{QUIET}{plain}{QUIET:#}"),
        }
    }

    fn marked(&mut self, mark: Mark, name: &str, text: &str) -> io::Result<()> {
        let sign = self.sign(mark);
        self.row(&format!("{sign} {name:<NAME$} {text}"))
    }

    /// What to do, below what is wrong; several faults with the same remedy have it once.
    fn fix(&mut self, fix: &str) -> io::Result<()> {
        if self.fixes.iter().any(|told| told == fix) {
            return Ok(());
        }
        self.fixes.push(fix.to_owned());
        let (arrow, width) = (self.arrow, self.sign_width() + 1 + NAME + 1);
        self.row(&format!("{:width$}{VALUE}{arrow} {fix}{VALUE:#}", ""))
    }

    fn problems(&mut self, name: &str, problems: &[Problem]) -> io::Result<()> {
        let mut name = name;
        for Problem { why, fix } in problems {
            if name.is_empty() {
                let width = self.sign_width() + 1 + NAME + 1;
                self.row(&format!("{:width$}{why}", ""))?;
            } else {
                self.marked(Mark::Bad, name, why)?;
            }
            name = "";
            self.fix(fix)?;
        }
        Ok(())
    }

    fn gap(&mut self) -> io::Result<()> {
        writeln!(self.out)
    }

    fn print(&mut self, found: &Findings) -> io::Result<()> {
        writeln!(self.out, "{STRONG}{}{STRONG:#}\n", found.url)?;
        self.addresses(&found.answers)?;
        self.gap()?;
        self.certificate(found)?;
        self.gap()?;
        self.offer(found)?;
        self.gap()?;
        self.dialects(found)?;
        self.gap()?;
        self.browsers(&found.verdicts)?;
        self.gap()?;
        let failed = found.failed();
        let (style, verdict) = if failed.is_empty() {
            let browsers: Vec<_> = found.matter.iter().map(|b| b.label()).collect();
            let words = format!(
                "All is well: every dialect offered works, and {} would connect.",
                browsers.join(" and ")
            );
            (GOOD, words)
        } else {
            (BAD, format!("Not all is well: {}.", failed.join(", ")))
        };
        writeln!(self.out, "{style}{verdict}{style:#}")?;
        self.out.flush()
    }

    fn addresses(&mut self, answers: &[Answer]) -> io::Result<()> {
        self.section("Addresses");
        let names: Vec<_> = answers
            .iter()
            .map(|answer| canonical(answer.address).to_string())
            .collect();
        let width = names.iter().map(String::len).max().unwrap_or(0).max(NAME);
        for (answer, name) in answers.iter().zip(names) {
            let (mark, words) = match &answer.result {
                Ok(took) => (Mark::Good, format!("answers in {} ms", millis(*took))),
                Err(words) => (Mark::Bad, words.clone()),
            };
            self.marked(mark, &format!("{name:<width$}"), &words)?;
        }
        Ok(())
    }

    fn certificate(&mut self, found: &Findings) -> io::Result<()> {
        self.section("Certificate");
        let Trusted {
            certificate,
            by_hash,
            by_authority,
            wanted,
        } = &found.trusted;
        let certificate = match certificate {
            Ok(certificate) => certificate,
            Err(words) => return self.row(words),
        };
        self.facts(certificate, found.covers_host)?;
        for (name, problems) in [("by authority", by_authority), ("by hash", by_hash)] {
            let mark = match problems.len() {
                0 => Mark::Good,
                // One of both is enough.
                _ if by_hash.is_empty() || by_authority.is_empty() => Mark::Plain,
                _ => Mark::Bad,
            };
            let words = match &problems[..] {
                [] => "browsers trust it".to_owned(),
                problems => {
                    let whys: Vec<_> = problems.iter().map(|problem| &problem.why[..]).collect();
                    format!("not trusted: {}", whys.join("; "))
                }
            };
            self.marked(mark, name, &words)?;
        }
        if let (Wanted::Hashes(hashes), true) = (wanted, by_hash.is_empty()) {
            let (mark, words) = if hashes.contains(&certificate.hash) {
                (Mark::Good, "it is the one given")
            } else {
                (Mark::Bad, "it is not the one given")
            };
            self.marked(mark, "hash", words)?;
        }
        Ok(())
    }

    fn facts(&mut self, certificate: &Certificate, covers_host: bool) -> io::Result<()> {
        let names = match certificate.names.len() {
            0 => "none".to_owned(),
            _ => certificate.all_names(),
        };
        let other = if covers_host { "" } else { " (not this host)" };
        self.fact("names", &format!("{names}{other}"))?;
        let (from, until) = (certificate.not_before, certificate.not_after);
        let left = match std::time::Duration::try_from(until - UtcDateTime::now()) {
            Ok(left) => format!("{} left", certificate::days(left)),
            Err(_) => "expired".to_owned(),
        };
        let in_all = certificate::days(certificate.validity());
        let (from, until) = (certificate::minute(from), certificate::minute(until));
        self.fact("valid", &format!("{from} to {until}: {in_all}, {left}"))?;
        let issuer = if certificate.self_signed {
            "self-signed"
        } else {
            "issued by an authority"
        };
        self.fact("key", &format!("{}, {issuer}", certificate.key))?;
        self.fact("SHA-256", &format!("{VALUE}{}{VALUE:#}", certificate.hash))
    }

    fn offer(&mut self, found: &Findings) -> io::Result<()> {
        self.section("Offers");
        let offer = &found.offer;
        let datagrams = match offer.quic_datagrams {
            Some(most) => format!("of up to {most} B as the path is now"),
            None => "none by QUIC, and WebTransport needs them".to_owned(),
        };
        self.fact("datagrams", &datagrams)?;
        let flow_control = offer::flow_control_words(&offer.settings);
        self.fact("flow control", &flow_control)?;
        let mut sessions = found
            .handshakes
            .iter()
            .filter_map(|(_, handshake)| match handshake {
                Handshake::Session(session) => Some(session),
                _ => None,
            });
        let protocol = match (found.asked_protocol, sessions.next_back()) {
            (false, _) => "not asked for: --protocol NAME offers one".to_owned(),
            (
                true,
                Some(Opened {
                    protocol: Some(protocol),
                    ..
                }),
            ) => protocol.clone(),
            (true, _) => "none of those offered".to_owned(),
        };
        self.fact("subprotocol", &protocol)?;
        self.gap()?;
        self.section("SETTINGS");
        let pair = |(setting, value): (Setting, u64)| format!("{:#x} = {value}", setting.id());
        let width = offer.settings.iter().map(|entry| pair(entry).len()).max();
        let width = width.unwrap_or(0).max(NAME);
        for (setting, value) in offer.settings.iter() {
            let meaning = offer::meaning(setting, value);
            let pair = pair((setting, value));
            let sign = self.sign_width();
            self.row(&format!(
                "{:sign$} {QUIET}{pair:<width$}{QUIET:#}  {meaning}",
                ""
            ))?;
        }
        Ok(())
    }

    fn dialects(&mut self, found: &Findings) -> io::Result<()> {
        self.section("Dialects");
        for (dialect, handshake) in &found.handshakes {
            match handshake {
                Handshake::NotOffered => {
                    self.marked(Mark::Plain, dialect.name(), "not offered")?;
                }
                Handshake::Session(opened) => {
                    let words = session(opened);
                    self.marked(Mark::Good, dialect.name(), &words)?;
                }
                Handshake::Failed { problem, .. } => {
                    self.problems(dialect.name(), std::slice::from_ref(problem))?;
                }
            }
        }
        Ok(())
    }

    fn browsers(&mut self, verdicts: &[Verdict]) -> io::Result<()> {
        self.section("Browsers");
        for verdict in verdicts {
            let label = verdict.browser.label();
            let reported = if verdict.browser.is_measured() {
                ""
            } else {
                ", as others report"
            };
            if let (true, Some(dialect), Some(trust)) =
                (verdict.connects(), verdict.dialect, verdict.trust)
            {
                let trust = match trust {
                    Trust::Authority => "",
                    Trust::Hash => " when the page names the hash",
                    Trust::NotJudged => " if it trusts the certificate",
                };
                let words = format!("connects with {dialect}{trust}{reported}");
                self.marked(Mark::Good, label, &words)?;
            } else {
                self.problems(label, &verdict.problems)?;
                if !reported.is_empty() {
                    self.marked(
                        Mark::Plain,
                        "",
                        "what it needs is not measured, but reported by others",
                    )?;
                }
            }
        }
        Ok(())
    }
}

fn session(opened: &Opened) -> String {
    format!(
        "session in {} ms, status {}",
        millis(opened.took),
        opened.status
    )
}

fn millis(time: std::time::Duration) -> String {
    units::millis(time.as_secs_f64() * 1000.0)
}
