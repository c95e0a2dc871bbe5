//! Certificates that change while the server runs.

use std::io::{self, Write};

use serde::Serialize;
use wt::{CertificateEvent, Server};

use crate::{
    output::{QUIET, VALUE},
    stop::Hangup,
};

/// What tools read.
#[derive(Serialize)]
struct Changed {
    event: &'static str,
    change: String,
    names: Vec<String>,
    certificate_sha256: String,
}

/// Reads certificates again at each SIGHUP and says which ones are shown from then on. Never ends.
pub(super) async fn keep(server: Server, mut hangup: Hangup, json: bool) {
    let mut events = server.certificates().events();
    loop {
        tokio::select! {
            event = events.recv() => {
                // Who lags behind misses some lines; failures are logged by themselves.
                if let Some(Ok(CertificateEvent::Changed { names, change, new, .. })) = event {
                    let changed = Changed {
                        event: "certificate",
                        change: change.to_string(),
                        names,
                        certificate_sha256: new.to_hex(),
                    };
                    // Nobody may be there to read it, and sessions do not wait for that.
                    drop(tokio::task::spawn_blocking(move || print(&changed, json)));
                }
            }
            () = hangup.asked() => match server.reload_certificates().await {
                Ok(changed) => tracing::info!(changed, "read certificates again"),
                Err(_) => tracing::debug!("some certificates stay as they are"),
            },
        }
    }
}

fn print(changed: &Changed, json: bool) -> io::Result<()> {
    if json {
        let mut line = serde_json::to_vec(changed)?;
        line.push(b'\n');
        let mut out = io::stdout().lock();
        out.write_all(&line)?;
        return out.flush();
    }
    let Changed {
        change,
        names,
        certificate_sha256: hash,
        ..
    } = changed;
    let names = names.join(", ");
    let mut out = anstream::stdout().lock();
    writeln!(
        out,
        "Certificate SHA-256: {VALUE}{hash}{VALUE:#} {QUIET}({change}: {names}){QUIET:#}"
    )?;
    out.flush()
}
