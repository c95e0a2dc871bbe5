//! The line that says where the server listens.

use std::{
    io::{self, Write},
    net::SocketAddr,
};

use serde::Serialize;
use wt::CertificateHash;

use crate::{
    failure::Failure,
    output::{QUIET, STRONG, VALUE},
};

/// What tools read; the order of the fields is that of the contract.
#[derive(Serialize)]
struct Listening {
    event: &'static str,
    address: String,
    port: u16,
    url: String,
    certificate_sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<String>,
}

/// What tools read in a second line, where there is a dashboard.
#[derive(Serialize)]
struct DashboardAt<'a> {
    event: &'static str,
    url: &'a str,
}

/// Returns the URL under which clients on this machine reach the server.
pub(super) fn url(address: SocketAddr) -> String {
    let (ip, port) = (address.ip(), address.port());
    if ip.is_unspecified() || ip.is_loopback() {
        format!("https://localhost:{port}/")
    } else {
        format!("https://{address}/")
    }
}

/// Says where the server listens and which certificate it shows, for tools or for people.
pub(super) fn print(
    address: SocketAddr,
    hash: CertificateHash,
    metrics: Option<SocketAddr>,
    json: bool,
) -> Result<(), Failure> {
    let metrics = metrics.map(|address| format!("http://{address}/metrics"));
    let written = if json {
        print_json(address, hash, metrics)
    } else {
        print_words(address, hash, metrics)
    };
    written.map_err(|error| Failure::output(&error))
}

/// Says where the page is, behind the line of the server.
pub(super) fn print_dashboard(url: &str, json: bool) -> Result<(), Failure> {
    let written = if json {
        serde_json::to_string(&DashboardAt {
            event: "dashboard",
            url,
        })
        .map_err(io::Error::from)
        .and_then(|line| writeln!(io::stdout(), "{line}"))
    } else {
        writeln!(
            anstream::stdout(),
            "{STRONG}Dashboard{STRONG:#}: {VALUE}{url}{VALUE:#}"
        )
    };
    written.map_err(|error| Failure::output(&error))
}

fn print_json(
    address: SocketAddr,
    hash: CertificateHash,
    metrics: Option<String>,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(&Listening {
        event: "listening",
        address: address.to_string(),
        port: address.port(),
        url: url(address),
        certificate_sha256: hash.to_hex(),
        metrics,
    })?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

fn print_words(
    address: SocketAddr,
    hash: CertificateHash,
    metrics: Option<String>,
) -> io::Result<()> {
    let url = url(address);
    let mut out = anstream::stdout().lock();
    writeln!(
        out,
        "{STRONG}Listening{STRONG:#} on {address} (UDP): {VALUE}{url}{VALUE:#}"
    )?;
    writeln!(out, "Certificate SHA-256: {VALUE}{hash}{VALUE:#}")?;
    if let Some(metrics) = metrics {
        writeln!(out, "Metrics: {VALUE}{metrics}{VALUE:#}")?;
    }
    writeln!(
        out,
        "{QUIET}Ctrl-C stops it; -v logs sessions and refusals.{QUIET:#}"
    )?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_leads_to_the_server() {
        for (address, expected) in [
            ("[::]:4433", "https://localhost:4433/"),
            ("0.0.0.0:1", "https://localhost:1/"),
            ("127.0.0.1:1", "https://localhost:1/"),
            ("[::1]:1", "https://localhost:1/"),
            ("192.0.2.7:443", "https://192.0.2.7:443/"),
            ("[2001:db8::1]:443", "https://[2001:db8::1]:443/"),
        ] {
            assert_eq!(url(address.parse().unwrap()), expected);
        }
    }
}
