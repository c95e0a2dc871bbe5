//! `wtctl top`: what a server does, in a terminal.
//!
//! `watch` reads the feed and connects again, `picture` is what is known, `report` writes it once for
//! a pipe, `screen` keeps it on a terminal.

mod picture;
mod report;
mod screen;
mod watch;

use std::io::{self, IsTerminal};

use tokio::{sync::mpsc, time::timeout};

use self::{
    picture::Picture,
    watch::{Update, Watcher},
};
use crate::{failure::Failure, reach::Reach, stop::Stop};

const EXAMPLES: &str = "\
Examples:
  wtctl top https://localhost:4433/monitor --cert-hash HASH
      Watch 'wtctl serve --dashboard' on this machine.
  wtctl top 'https://example.com/monitor?token=5f1c'
      Show a token: of 'wtctl serve --dashboard-token', or of your own server.
  wtctl top https://example.com/monitor --once
      Print one report; a pipe gets no more either.
  wtctl top https://example.com/monitor --json | jq .gauges.sessions
      For scripts: the newest sample in one line of JSON.

Keys: q, Esc or Ctrl-C to leave, p or space to hold the picture.

The server has to serve a feed of wt on the path of the URL. Exit status: 0 when there was a sample, 1
when not.";

/// Updates that wait to be shown; then the feed is not read, and the server skips samples.
const WAITING: usize = 64;

/// Show what a server does: sessions, rates, round trips, drops, alerts and health.
///
/// Reads the feed of a server: 'wtctl serve --dashboard' has one at /monitor. On a terminal it goes on until it is told
/// to stop, and connects again when the session ends.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    reach: Reach,
    /// Print one report and end, also on a terminal
    #[arg(long)]
    once: bool,
    /// Print the newest sample in one line of JSON and end
    #[arg(long)]
    json: bool,
}

/// Watches until it is told to stop, or once.
pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    let mut stop = Stop::listen()?;
    let client = args.reach.client()?;
    // The first session is waited for here, so that what is wrong is said in one line.
    let session = args.reach.session(&client, &mut stop).await?;
    let (sender, mut updates) = mpsc::channel(WAITING);
    let watcher = Watcher::new(client, args.reach.request.url.clone(), &args.reach);
    if args.once || args.json || !io::stdout().is_terminal() {
        return once(args, watcher, session, sender, updates, &mut stop).await;
    }
    let mut watching = tokio::spawn(watcher.watch(session, sender));
    let shown = screen::run(&args.reach.request.url, &mut updates, &mut stop).await;
    drop(updates);
    // It ends when nobody takes its updates any more, and says goodbye.
    if timeout(watch::GOODBYE, &mut watching).await.is_err() {
        watching.abort();
    }
    shown
}

/// Prints a report as soon as there is a sample with rates.
async fn once(
    args: &Args,
    watcher: Watcher,
    session: wt::Session,
    sender: mpsc::Sender<Update>,
    mut updates: mpsc::Receiver<Update>,
    stop: &mut Stop,
) -> Result<(), Failure> {
    let mut picture = Picture::default();
    let reading = watcher.once(session, sender);
    let look = async {
        while let Some(update) = updates.recv().await {
            picture.take(update);
            if picture.is_whole() {
                break;
            }
        }
        picture.is_whole()
    };
    let seen = tokio::select! {
        failure = reading => Err(failure),
        whole = look => match whole {
            true => Ok(()),
            false => Err(Failure::during_work("the feed ended before there was a sample")),
        },
        () = stop.asked() => Err(Failure::during_work("interrupted before there was a sample")),
    };
    let shown = seen.and_then(|()| {
        report::print(&args.reach.request.url, &picture, args.json)
            .map_err(|error| Failure::output(&error))
    });
    watcher.leave().await;
    shown
}
