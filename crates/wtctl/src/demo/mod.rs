//! `wtctl demo`: the whole stack in one command, then a page to try in a browser.

mod native;
mod page;
mod report;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use wt::Identity;

use self::{page::Page, report::Report};
use crate::{
    failure::Failure,
    output::{QUIET, STRONG, VALUE},
    serve::{self, NAMES, Service, Settings},
    stop::Stop,
};

/// The subprotocol of the demo.
const PROTOCOL: &str = "wt-demo";

/// How long sessions of the page may take to finish.
const GRACE: Duration = Duration::from_secs(2);

const EXAMPLES: &str = "\
Examples:
  wtctl demo
      Show everything, then serve the page until Ctrl-C.
  wtctl demo --once
      Only show; exits with 0 if all went well and with 1 if not.
  wtctl demo --listen 127.0.0.1:4433 --page 127.0.0.1:8080
      Take these ports, so that they can be forwarded. Mind that WebTransport uses UDP.";

/// Show the whole stack in one command, then serve a page to try in a browser.
///
/// Starts the server of 'wtctl serve' with a certificate in memory and takes a native client through
/// streams, datagrams, sessions on one connection, a subprotocol and a clean close. Then it serves a
/// page on http://localhost that does the same from your browser, with a live plot.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// End after the native part: with 0 if it went well, with 1 if not
    #[arg(long)]
    once: bool,
    /// Address and UDP port of the WebTransport server; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0", value_parser = serve::address)]
    listen: SocketAddr,
    /// Address and TCP port of the page; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0", value_parser = serve::address)]
    page: SocketAddr,
}

/// Shows the native part and, unless it is to end then, serves the page until it is told to stop.
pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    let mut signal = Stop::listen()?;
    let report = Report::begin();

    let started = Instant::now();
    let identity = certificate(args.listen.ip())?;
    let hash = identity.certificate_hash();
    report.done("certificate", "in memory: ECDSA P-256, 13 days", started);

    let started = Instant::now();
    let service = Service::bind(Settings::new(
        args.listen,
        identity,
        vec![PROTOCOL.to_owned()],
    ))?;
    let url = by_number(service.local_addr()?);
    report.done("server", &format!("listens at {url}"), started);

    let (asker, stop) = Stop::by_hand();
    let serving = tokio::spawn(service.run(stop, GRACE));
    let native = tokio::select! {
        result = native::run(&report, &url, hash) => result.map_err(|_| Failure::during_work(
            "a step of the demo failed; -vv logs what happened on the connection",
        )),
        () = signal.asked() => Err(Failure::during_work("interrupted")),
    };
    let result = match native {
        Ok(()) if !args.once => serve_page(args.page, &url, hash, &mut signal).await,
        result => result,
    };
    asker.ask();
    match serving.await {
        Ok(()) => result,
        Err(error) => result.and(Err(Failure::during_work(format!(
            "the server failed: {error}"
        )))),
    }
}

async fn serve_page(
    address: SocketAddr,
    url: &str,
    hash: wt::CertificateHash,
    stop: &mut Stop,
) -> Result<(), Failure> {
    let page = Page::bind(address, &format!("{url}echo"), hash, PROTOCOL).await?;
    let port = page.port()?;
    report::lines(&[
        "",
        &format!("{STRONG}Now in your browser:{STRONG:#} {VALUE}http://localhost:{port}{VALUE:#}"),
        &format!("{QUIET}Chrome, Edge or Firefox on this machine. Ctrl-C stops the demo.{QUIET:#}"),
    ]);
    tokio::select! {
        () = page.serve() => {}
        () = stop.asked() => {}
    }
    Ok(())
}

fn certificate(listen: IpAddr) -> Result<Identity, Failure> {
    let mut names = NAMES.map(str::to_owned).to_vec();
    if !listen.is_unspecified() && !names.contains(&listen.to_string()) {
        names.push(listen.to_string());
    }
    Identity::self_signed(names).map_err(|error| Failure::cannot_start(&error))
}

/// Returns the URL of the server by number, since browsers may look for `localhost` on ::1 only.
pub(crate) fn by_number(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    format!("https://{address}/")
}
