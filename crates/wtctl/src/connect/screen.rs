//! What is said about the session, on standard error.

use std::{
    io::{IsTerminal, Write},
    time::Duration,
};

use wt::{Session, SessionError};

use super::send::Way;
use crate::{
    output::{QUIET, STRONG, VALUE},
    reach::canonical,
    units,
};

/// Says that a session is open, and what the server answered.
pub(super) fn connected(session: &Session, took: Duration, way: Way) {
    let mut err = anstream::stderr().lock();
    let ms = units::millis(took.as_secs_f64() * 1000.0);
    let (peer, dialect) = (session.remote_address(), session.dialect());
    let status = session.status();
    // Nothing can be done when standard error is gone.
    let _ = writeln!(
        err,
        "{QUIET}*{QUIET:#} {STRONG}connected{STRONG:#} to {} in {ms} ms: WebTransport {dialect}, status {status}",
        canonical(peer)
    );
    for (name, value) in session.response_headers() {
        let value = printable(value.as_bytes());
        let _ = writeln!(err, "{QUIET}<{QUIET:#} {VALUE}{name}{VALUE:#}: {value}");
    }
    let _ = match session.protocol() {
        Some(protocol) => writeln!(err, "{QUIET}*{QUIET:#} subprotocol: {protocol}"),
        None => writeln!(err, "{QUIET}* no subprotocol{QUIET:#}"),
    };
    if std::io::stdin().is_terminal() {
        let what = match way {
            Way::Bidi => "lines go out on a bidirectional stream",
            Way::Uni => "lines go out on a unidirectional stream",
            Way::Datagrams => "each line goes out as a datagram",
        };
        let _ = writeln!(
            err,
            "{QUIET}* {what}; Ctrl-D ends them, Ctrl-C closes the session{QUIET:#}"
        );
    }
}

/// Writes what is not printable ASCII as an escape.
fn printable(bytes: &[u8]) -> String {
    let parts = bytes.iter().map(|byte| match byte {
        b' '..=b'~' => char::from(*byte).to_string(),
        other => other.escape_ascii().to_string(),
    });
    parts.collect()
}

/// Says how the session ended.
pub(super) fn closed(end: &SessionError) {
    let words = match end.code() {
        Some(code) => {
            let by = if end.is_closed_by_peer() {
                "the server closed the session"
            } else {
                "closed the session"
            };
            match end.reason() {
                "" => format!("{by}: code {code}"),
                // The server's words may hold anything.
                reason => format!("{by}: code {code}, reason {reason:?}"),
            }
        }
        None => end.to_string(),
    };
    anstream::eprintln!("{QUIET}*{QUIET:#} {STRONG}{words}{STRONG:#}");
}

/// Says that something went wrong which does not end the session.
pub(super) fn warn(words: &str) {
    anstream::eprintln!("{QUIET}*{QUIET:#} {words}");
}
