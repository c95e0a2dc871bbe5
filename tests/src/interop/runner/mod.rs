//! The QUIC interop runner's WebTransport cases, which the environment describes.
//!
//! | Variable | Says |
//! |---|---|
//! | `TESTCASE` | the case; any other name ends the program with [`UNSUPPORTED`] |
//! | `REQUESTS` | URLs (client) or `ENDPOINT/FILE` (server), separated by spaces |
//! | `PROTOCOLS` | subprotocols to offer or to accept, separated by spaces |
//! | `SSLKEYLOGFILE` | where TLS secrets go |
//! | `INTEROP_WWW`, `INTEROP_DOWNLOADS`, `INTEROP_CERTS` | other folders than `/www`, `/downloads` and `/certs` |
//! | `INTEROP_LISTEN` | another address of the server than `[::]:443` |

mod client;
mod exchange;
mod server;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use self::exchange::{Kind, is_plain};
use super::Failure;

/// The exit status that says "this case is not supported".
pub const UNSUPPORTED: u8 = 127;

/// Which end a program plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "there are two")]
pub enum Role {
    /// It connects.
    Client,
    /// It listens.
    Server,
}

/// What a program does once it has its sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    /// Settle on a subprotocol and write it down.
    Handshake,
    /// Answer requests for files, of all kinds.
    Answer,
    /// Ask for files.
    Ask(Kind),
}

impl Case {
    /// Names differ by role: who asks has the name of the transfer, who answers is told no more than `transfer`.
    fn parse(name: &str, role: Role) -> Option<Self> {
        let asks = match role {
            Role::Client => "-receive",
            Role::Server => "-send",
        };
        Some(match name {
            "handshake" => Self::Handshake,
            "transfer" => Self::Answer,
            _ => match name.strip_prefix("transfer-")?.strip_suffix(asks)? {
                "unidirectional" => Self::Ask(Kind::Uni),
                "bidirectional" => Self::Ask(Kind::Bidi),
                "datagram" => Self::Ask(Kind::Datagram),
                _ => return None,
            },
        })
    }
}

/// What the environment asks for.
#[derive(Debug)]
struct Task {
    case: Case,
    requests: Vec<String>,
    protocols: Vec<String>,
    www: PathBuf,
    downloads: PathBuf,
    certs: PathBuf,
    listen: SocketAddr,
}

impl Task {
    /// `None` when the case is not supported.
    fn from_env(role: Role) -> Result<Option<Self>, Failure> {
        let Some(case) = Case::parse(&variable("TESTCASE"), role) else {
            return Ok(None);
        };
        let folder = |name, default: &str| env::var_os(name).map_or(default.into(), PathBuf::from);
        let listen = match variable("INTEROP_LISTEN") {
            none if none.is_empty() => "[::]:443".to_owned(),
            address => address,
        };
        Ok(Some(Self {
            case,
            requests: words(&variable("REQUESTS")),
            protocols: words(&variable("PROTOCOLS")),
            www: folder("INTEROP_WWW", "/www"),
            downloads: folder("INTEROP_DOWNLOADS", "/downloads"),
            certs: folder("INTEROP_CERTS", "/certs"),
            listen: listen.parse()?,
        }))
    }

    /// Writes down what was settled on.
    fn save_protocol(&self, protocol: Option<&str>) -> Result<(), Failure> {
        let protocol = protocol.ok_or("no subprotocol was settled on")?;
        fs::create_dir_all(&self.downloads)?;
        fs::write(self.downloads.join("negotiated_protocol.txt"), protocol)?;
        Ok(())
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

/// Splits at spaces; a shell that passed quotes along is forgiven.
fn words(text: &str) -> Vec<String> {
    let text = text.trim_matches(['"', '\'']);
    text.split_whitespace().map(str::to_owned).collect()
}

/// The files that are wanted of each endpoint.
type Wanted = BTreeMap<String, Vec<String>>;

/// Adds `ENDPOINT` or `ENDPOINT/FILE` to what is wanted.
fn want(wanted: &mut Wanted, path: &str) -> Result<(), Failure> {
    let path = path.trim_matches('/');
    let (endpoint, file) = match path.split_once('/') {
        Some((endpoint, file)) => (endpoint, Some(file)),
        None => (path, None),
    };
    if ![Some(endpoint), file]
        .iter()
        .flatten()
        .all(|name| is_plain(name))
    {
        return Err(format!("{path:?} is not ENDPOINT or ENDPOINT/FILE").into());
    }
    let files = wanted.entry(endpoint.to_owned()).or_default();
    files.extend(file.map(str::to_owned));
    Ok(())
}

/// Does what the environment asks for. Says on standard error what went wrong, if anything did.
pub async fn run(role: Role) -> ExitCode {
    let outcome = match Task::from_env(role) {
        Ok(None) => return ExitCode::from(UNSUPPORTED),
        Ok(Some(task)) => match role {
            Role::Client => client::run(task).await,
            Role::Server => server::run(task).await,
        },
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_cases_depend_on_the_role() {
        let ask = Some(Case::Ask(Kind::Uni));
        assert_eq!(
            Case::parse("transfer-unidirectional-receive", Role::Client),
            ask
        );
        assert_eq!(
            Case::parse("transfer-unidirectional-receive", Role::Server),
            None
        );
        assert_eq!(
            Case::parse("transfer-unidirectional-send", Role::Server),
            ask
        );
        assert_eq!(
            Case::parse("transfer-unidirectional-send", Role::Client),
            None
        );
        assert_eq!(Case::parse("transfer", Role::Client), Some(Case::Answer));
        assert_eq!(Case::parse("tvoigwxm", Role::Client), None);
        assert_eq!(Case::parse("", Role::Server), None);
    }

    #[test]
    fn files_are_grouped_by_endpoint() {
        let mut wanted = Wanted::new();
        for path in ["/a/x", "b/y", "a/z", "/c"] {
            want(&mut wanted, path).unwrap();
        }
        assert_eq!(wanted["a"], ["x", "z"]);
        assert!(wanted["c"].is_empty());
        for path in ["", "/", "a/../b", "../x", "a/b/c", "a/.hidden"] {
            assert!(want(&mut wanted, path).is_err(), "{path}");
        }
    }

    #[test]
    fn quotes_around_the_protocols_are_no_part_of_them() {
        assert_eq!(words("\"one two\""), ["one", "two"]);
        assert!(words("").is_empty());
    }
}
