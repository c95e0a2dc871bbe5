//! `wtctl doctor`: what a server offers, and which browsers would connect.
//!
//! `look` asks the server, `offer`, `certificate` and `browser` judge what it said, `report` shows it.

mod browser;
mod certificate;
mod look;
mod offer;
mod problem;
mod report;

use time::UtcDateTime;
use wt::{Dialect, Identity};

use self::{
    browser::{Browser, Trusted, Verdict, Wanted},
    certificate::Certificate,
    look::{Answer, Handshake, Look, Offer},
    problem::Problem,
};
use crate::{failure::Failure, reach::Reach, stop::Stop};

const EXAMPLES: &str = "\
Examples:
  wtctl doctor https://example.com/chat
      Why does the page not connect?
  wtctl doctor https://localhost:4433/ --cert-hash HASH
      Is this the certificate that pages name in serverCertificateHashes?
  wtctl doctor https://example.com/chat -H 'Origin: https://example.org' --protocol chat-1
      Ask as a page of example.org does that offers a subprotocol.
  wtctl doctor https://staging.example/ --ca root.pem --browser chromium --json | jq .browsers
      For scripts: one line of JSON.

Each dialect that the server offers is tried on a connection of its own, with one request for the
path. Whatever the certificate is, the server is asked; then the certificate is judged: by the
authorities of the system or of --ca and by the rules for hashes, by the hashes of --cert-hash alone,
or not at all with --insecure. What is said of Chromium and Firefox was measured, what is said of
Safari is reported by others. Exit status: 0 when every dialect that the server offers leads to a
session and each browser of --browser would connect, 1 when not, 2 for bad arguments.";

/// Say what a server offers and which browsers would connect.
///
/// Shows its addresses, its certificate, its SETTINGS in words, how the handshake of each dialect ends,
/// and where a browser would not connect, why and what to change.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    reach: Reach,
    /// Browser that has to connect for exit status 0; can be repeated [default: chromium, firefox]
    #[arg(long = "browser", value_name = "NAME", value_enum)]
    browsers: Vec<Browser>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Everything that was found.
#[derive(Debug)]
struct Findings {
    url: String,
    answers: Vec<Answer>,
    offer: Offer,
    trusted: Trusted,
    /// Whether the certificate names the host.
    covers_host: bool,
    /// Subprotocols were offered.
    asked_protocol: bool,
    handshakes: Vec<(Dialect, Handshake)>,
    verdicts: Vec<Verdict>,
    /// The browsers that have to connect.
    matter: Vec<Browser>,
}

impl Findings {
    /// Names what matters and does not work.
    fn failed(&self) -> Vec<&'static str> {
        let mut failed = Vec::new();
        if self.offer.dialects.is_empty() {
            failed.push("no dialect of WebTransport");
        }
        for (dialect, handshake) in &self.handshakes {
            if matches!(handshake, Handshake::Failed { .. }) {
                failed.push(dialect.name());
            }
        }
        let verdicts = self.verdicts.iter();
        let refusing = verdicts.filter(|v| !v.connects() && self.matter.contains(&v.browser));
        failed.extend(refusing.map(|verdict| verdict.browser.label()));
        failed
    }

    fn is_good(&self) -> bool {
        self.failed().is_empty()
    }
}

/// Returns whether browsers take a certificate by its hash alone.
pub(crate) fn is_trusted_by_hash(identity: &Identity) -> bool {
    let leaf = identity.chain().first();
    let leaf = leaf.and_then(|leaf| certificate::Certificate::read(leaf).ok());
    leaf.is_some_and(|leaf| leaf.by_hash(UtcDateTime::now()).is_empty())
}

/// Looks at a server and says what it found.
pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    let mut stop = Stop::listen()?;
    let look = Look::new(args)?;
    let found = tokio::select! {
        found = examine(args, &look) => found,
        () = stop.asked() => Err(Failure::during_work("interrupted before everything was known")),
    };
    let found = match found {
        Ok(found) => found,
        Err(failure) if args.json => {
            report::unreached(&args.reach.request.url, &failure)?;
            return Err(failure);
        }
        Err(failure) => return Err(failure),
    };
    report::print(&found, args.json)?;
    if found.is_good() {
        Ok(())
    } else {
        // All there is to say was said.
        Err(Failure::told())
    }
}

async fn examine(args: &Args, look: &Look<'_>) -> Result<Findings, Failure> {
    let (answers, connection) = look.reach().await?;
    let offer = look.offer(&connection).await?;
    let der = look::certificate(&connection);
    let address = connection.remote_address();
    connection.close(0, "").await;

    let mut handshakes = Vec::new();
    for dialect in Dialect::ALL {
        handshakes.push((dialect, look.play(address, &offer, dialect).await?));
    }

    let host = &look.target().host;
    let authority = look.authority(address).await;
    let now = UtcDateTime::now();
    let certificate = der.map_or_else(
        || Err("the server shows none".to_owned()),
        |der| Certificate::read(&der),
    );
    let (by_hash, by_authority) = match &certificate {
        Ok(certificate) => (
            certificate.by_hash(now),
            by_authority(certificate, authority, host, now),
        ),
        Err(words) => {
            let problem = Problem::new(
                format!("the certificate cannot be read: {words}"),
                "make a new one with 'wtctl cert'",
            );
            (vec![problem.clone()], vec![problem])
        }
    };
    let covers_host = certificate.as_ref().is_ok_and(|c| c.covers(host));
    let trusted = Trusted {
        certificate,
        by_hash,
        by_authority,
        wanted: wanted(&args.reach),
    };
    let localhost = host == "localhost"
        && !answers
            .iter()
            .any(|answer| answer.address.is_ipv6() && answer.result.is_ok());
    let verdicts: Vec<_> = Browser::ALL
        .into_iter()
        .map(|browser| Verdict::of(browser, &offer, &handshakes, &trusted, localhost))
        .collect();
    let matter = match &args.browsers[..] {
        [] => Browser::MEASURED.to_vec(),
        named => Browser::ALL
            .into_iter()
            .filter(|b| named.contains(b))
            .collect(),
    };
    Ok(Findings {
        url: args.reach.request.url.clone(),
        answers,
        offer,
        trusted,
        covers_host,
        asked_protocol: !args.reach.request.protocols.is_empty(),
        handshakes,
        verdicts,
        matter,
    })
}

/// Which trust the arguments ask for.
fn wanted(reach: &Reach) -> Wanted {
    if reach.is_insecure() {
        Wanted::Nothing
    } else if reach.hashes().is_empty() {
        Wanted::Any
    } else {
        Wanted::Hashes(reach.hashes().to_vec())
    }
}

/// Says why browsers would not take the certificate for the sake of its issuer: in words of our own where they are
/// clearer than those of the TLS library.
fn by_authority(
    certificate: &Certificate,
    authority: Result<(), String>,
    host: &str,
    now: UtcDateTime,
) -> Vec<Problem> {
    let Err(words) = authority else {
        return Vec::new();
    };
    match certificate.by_authority(host, now) {
        problems if !problems.is_empty() => problems,
        _ => vec![Problem::new(
            words,
            "get a certificate from a public authority, send the whole chain, or name your own authority with --ca",
        )],
    }
}
