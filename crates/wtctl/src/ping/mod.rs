//! `wtctl ping`: round trips by datagram and by stream.
//!
//! `datagram` and `stream` measure, `series` is what they found, `report` how it is shown.

mod datagram;
mod report;
mod series;
mod stream;

use std::time::Duration;

use tokio::time::timeout;
use wt::{Session, SessionError};

use self::{report::Report, series::Series};
use crate::{failure::Failure, progress, reach::Reach, stop::Stop, units};

const EXAMPLES: &str = "\
Examples:
  wtctl ping https://localhost:4433/echo --cert-hash HASH
      20 round trips each way, to 'wtctl serve'.
  wtctl ping https://example.com/echo --count 500 --interval 20ms --size 1000 --datagram
      10 seconds of large datagrams.
  wtctl ping https://example.com/echo --json | jq .datagram.loss
      For scripts: one line of JSON.

The server has to send back what it gets, as /echo of 'wtctl serve' does. A round trip by stream is a
new bidirectional stream from its first byte to the end of the answer. Exit status: 0 when something
came back in each way that was asked for, else 1.";

/// Measure round trips by datagram and by stream.
///
/// Shows the shortest, the median, the 99th percentile and the longest, what was lost, and how they
/// are spread.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    reach: Reach,
    /// Round trips in each way
    #[arg(short, long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,
    /// Time between two of them
    #[arg(short, long, value_name = "TIME", default_value = "100ms", value_parser = units::some_time)]
    interval: Duration,
    /// Bytes that go each way, at least 4
    #[arg(short, long, value_name = "BYTES", default_value = "64", value_parser = size)]
    size: usize,
    /// By stream only
    #[arg(long, conflicts_with = "datagram")]
    stream: bool,
    /// By datagram only
    #[arg(long)]
    datagram: bool,
    /// When one that did not come back counts as lost
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::some_time)]
    wait: Duration,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

fn size(text: &str) -> Result<usize, String> {
    const MOST: usize = 16 << 20;
    let size = units::size(text)?;
    if (datagram::NUMBER..=MOST).contains(&size) {
        Ok(size)
    } else {
        Err("from 4 bytes to 16MiB".to_owned())
    }
}

/// How round trips are to be made.
#[derive(Clone, Copy, Debug)]
struct Plan {
    count: u32,
    interval: Duration,
    size: usize,
    wait: Duration,
}

/// Measures and shows what came out.
pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    let mut stop = Stop::listen()?;
    let client = args.reach.client()?;
    let session = args.reach.session(&client, &mut stop).await?;
    let plan = Plan {
        count: args.count,
        interval: args.interval,
        size: args.size,
        wait: args.wait,
    };
    let fits = args.stream || fits(&session, args.size)?;
    let bar = progress::bar(u64::from(args.count));
    bar.set_message("round trips");
    let mut datagrams = (fits && !args.stream).then(|| Series::new(plan.count));
    let mut streams = (!args.datagram).then(|| Series::new(plan.count));

    // Whoever is interrupted sees what there was until then.
    let result = tokio::select! {
        result = both(&session, plan, datagrams.as_mut(), streams.as_mut(), &bar) => result,
        () = stop.asked() => Ok(()),
    };
    bar.finish_and_clear();
    let report = Report::new(args, &session, datagrams, streams);
    session.close(0, "");
    report.print(args.json)?;
    client.close().await;
    match result {
        Err(end) => Err(Failure::during_work(end.to_string())),
        Ok(()) => match report.missing() {
            None => Ok(()),
            Some(what) => Err(Failure::during_work(format!(
                "{what} came back; does the server echo on this path?"
            ))),
        },
    }
}

/// Checks that datagrams of this size can be sent.
fn fits(session: &Session, size: usize) -> Result<bool, Failure> {
    match session.max_datagram_size() {
        None => Err(Failure::during_work(
            "the server takes no datagrams; --stream measures without them",
        )),
        Some(most) if most < size => Err(Failure::bad_argument(format!(
            "a datagram of {size} bytes does not fit, at most {most} do now; --stream measures without datagrams"
        ))),
        Some(_) => Ok(true),
    }
}

/// Measures in both ways at the same time.
async fn both(
    session: &Session,
    plan: Plan,
    datagrams: Option<&mut Series>,
    streams: Option<&mut Series>,
    bar: &indicatif::ProgressBar,
) -> Result<(), SessionError> {
    let by_datagram = async {
        match datagrams {
            Some(series) => datagram::run(session, plan, series).await,
            None => Ok(()),
        }
    };
    let by_stream = async {
        match streams {
            Some(series) => stream::run(session, plan, series).await,
            None => Ok(()),
        }
    };
    let show = async {
        for done in 1..=u64::from(plan.count) {
            tokio::time::sleep(plan.interval).await;
            bar.set_position(done);
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = async { tokio::try_join!(by_datagram, by_stream) } => result.map(|_| ()),
        () = show => Ok(()),
    }
}

/// Waits for what comes next, at most for `wait`.
async fn within<T>(wait: Duration, what: impl Future<Output = T>) -> Option<T> {
    timeout(wait, what).await.ok()
}
