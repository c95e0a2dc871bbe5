//! `wtctl bench`: load from one machine.
//!
//! `tally` counts, `session` makes the load of one session, `report` shows what came out.

mod report;
mod session;
mod tally;

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until},
};

use self::{report::Report, tally::Tally};
use crate::{failure::Failure, progress, reach::Reach, stop::Stop, units};

const EXAMPLES: &str = "\
Examples:
  wtctl bench https://localhost:4433/echo --cert-hash HASH
      One session, 16 requests of 64 bytes in flight, 10 seconds, to 'wtctl serve'.
  wtctl bench https://example.com/echo --sessions 100 --ramp 5s --streams 4 --size 16KiB
      100 sessions, begun over 5 seconds, each with 4 requests in flight.
  wtctl bench https://example.com/echo --datagrams --streams 64 --size 1000 --duration 30s
      64 datagrams in flight.
  wtctl bench https://example.com/echo --json | jq .requests_per_second
      For scripts: one line of JSON.

The server has to send back what it gets, as /echo of 'wtctl serve' does. A request is a new
bidirectional stream from its opening to the end of the answer, or a datagram until it is back. Each
session has a connection of its own. Load and server share the machine when the server is local: then
the figures are those of both. Exit status: 0 when requests were answered, 1 when none was.";

/// Put load on a server and measure what it answers.
///
/// Keeps a number of requests in flight on each session for a while, and shows the requests and bytes
/// per second, the latencies and the errors.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    reach: Reach,
    /// Sessions at the same time, each on a connection of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    sessions: u32,
    /// Streams, or datagrams, in flight on each session
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    streams: u32,
    /// Bytes of each request; the answer is as long
    #[arg(short, long, value_name = "BYTES", default_value = "64", value_parser = units::size)]
    size: usize,
    /// Send datagrams instead of streams
    #[arg(long)]
    datagrams: bool,
    /// How long to measure
    #[arg(short, long, value_name = "TIME", default_value = "10s", value_parser = units::some_time)]
    duration: Duration,
    /// Time over which the sessions begin; it comes before the measurement
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = units::time)]
    ramp: Duration,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// What each session does.
#[derive(Clone, Copy, Debug)]
struct Load {
    in_flight: u32,
    size: usize,
    datagrams: bool,
}

/// Puts on the load, measures and shows what came out.
pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    let mut stop = Stop::listen()?;
    if args.datagrams && args.size < session::NUMBER {
        return Err(Failure::bad_argument("a datagram needs at least 8 bytes"));
    }
    let client = args.reach.client()?;
    let load = Load {
        in_flight: args.streams,
        size: args.size,
        datagrams: args.datagrams,
    };
    let tally = Arc::new(Tally::new());
    let mut sessions = JoinSet::new();
    let begun = Instant::now();
    for number in 0..args.sessions {
        let connect = args.reach.connect(&client);
        let at = begun
            + args
                .ramp
                .mul_f64(f64::from(number) / f64::from(args.sessions));
        let tally = tally.clone();
        sessions.spawn(async move {
            sleep_until(at).await;
            session::run(connect, load, &tally).await;
        });
    }
    let measured = tokio::select! {
        measured = measure(args, &tally, &mut sessions) => measured,
        () = stop.asked() => tally.measured(),
    };
    // What is in flight is given up, and each session closes when its task drops it.
    sessions.shutdown().await;
    client.close().await;
    let report = Report::new(args, &tally, measured);
    report.print(args.json)?;
    match (report.is_good(), tally.first_error()) {
        (true, _) => Ok(()),
        (false, Some(error)) => Err(Failure::during_work(format!(
            "nothing was answered: {error}"
        ))),
        (false, None) => Err(Failure::during_work("nothing was answered")),
    }
}

/// Waits for the ramp and then measures; returns for how long. Ends early when no session is left.
async fn measure(args: &Args, tally: &Tally, sessions: &mut JoinSet<()>) -> Duration {
    let total = args.ramp + args.duration;
    let bar = progress::bar(total.as_millis() as u64);
    let begun = Instant::now();
    let work = async {
        // Who is asked for at the end of the ramp still has to come.
        tokio::join!(sleep(args.ramp), tally.ready(args.sessions));
        tally.begin();
        sleep(args.duration).await;
    };
    let show = async {
        let mut ticks = interval(progress::STEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut last, mut seen) = (Instant::now(), 0);
        loop {
            ticks.tick().await;
            let (now, requests) = (Instant::now(), tally.answered());
            let rate = (requests - seen) as f64 / (now - last).as_secs_f64().max(0.001);
            (last, seen) = (now, requests);
            bar.set_position(begun.elapsed().as_millis() as u64);
            let (open, errors) = (tally.open(), tally.errors());
            bar.set_message(format!(
                "{open} session{}, {} requests/s, {errors} error{}",
                units::plural(open),
                units::grouped(rate),
                units::plural(errors),
            ));
        }
    };
    let all_over = async { while sessions.join_next().await.is_some() {} };
    tokio::select! {
        () = work => {}
        () = show => {}
        () = all_over => {}
    }
    bar.finish_and_clear();
    tally.measured()
}
