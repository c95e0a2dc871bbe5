//! What a `DatagramTransport` costs: datagrams delivered per second, compared with raw quinn in the same run.
//!
//! ```console
//! $ cargo run --release -p wt-benches --bin datagrams
//! ```
//!
//! Sender and receivers are processes of their own, each on a runtime with one thread, over loopback. Rounds of all
//! ways to send take turns, so that whatever else the machine does meets them all; each figure is the median.

#[path = "../pair.rs"]
mod pair;
#[path = "../raw.rs"]
mod raw;
#[path = "../../../crates/wt-core/src/runtime/mod.rs"]
mod runtime;
#[path = "../tls.rs"]
mod tls;

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use bytes::Bytes;
use clap::{Parser, ValueEnum};
use wt::{
    Session,
    datagram::{DatagramConfig, DatagramTransport, Priority, SendOptions},
};

use crate::pair::{COUNT, Peer, Result, Usage, accept_session, median};

/// Measures what a datagram transport costs.
#[derive(Debug, Parser)]
struct Args {
    /// Rounds for each way to send and each size.
    #[arg(long, default_value_t = 41)]
    rounds: usize,
    /// Milliseconds that a round sends.
    #[arg(long, default_value_t = 100)]
    time: u64,
    /// Measures only these ways, and raw quinn on both runtimes.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Way>,
    /// Measures only datagrams of this size.
    #[arg(long)]
    size: Option<usize>,
    /// Bytes that QUIC gets ahead of time where there are priorities.
    #[arg(long)]
    send_ahead: Option<usize>,
    /// Shows only that it works.
    #[arg(long)]
    smoke: bool,
    #[arg(long, hide = true)]
    serve: Option<Way>,
}

/// A way to send and to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Way {
    Quinn,
    QuinnBatching,
    Session,
    Plain,
    Lanes,
}

/// The ways, their names for people, and the least ratio to raw quinn on the same runtime.
const WAYS: [(Way, &str, f64); 5] = [
    (Way::Quinn, "raw quinn, its own runtime", 0.0),
    (Way::QuinnBatching, "raw quinn, the runtime of wt", 0.0),
    (Way::Session, "wt session", 0.0),
    (Way::Plain, "DatagramTransport, plain", 0.95),
    (Way::Lanes, "DatagramTransport, priorities and TTL", 0.8),
];

/// A connection that stays for all rounds.
enum Sender {
    Quinn(quinn::Connection),
    Session(Session),
    Transport(DatagramTransport, bool),
}

impl Sender {
    fn max(&self) -> usize {
        let max = match self {
            Self::Quinn(connection) => connection.max_datagram_size(),
            Self::Session(session) => session.max_datagram_size(),
            Self::Transport(transport, _) => transport.max_datagram_size(),
        };
        max.unwrap_or(0)
    }

    /// Sends a datagram out of a buffer that is used again; quinn wants bytes of its own.
    async fn send(&self, n: u64, data: &[u8]) -> Result {
        match self {
            Self::Quinn(connection) => {
                let data = Bytes::copy_from_slice(data);
                connection.send_datagram_wait(data).await?;
            }
            Self::Session(session) => session.send_datagram_wait(data).await?,
            Self::Transport(transport, false) => transport.send(data).await?,
            Self::Transport(transport, true) => {
                let options = SendOptions::new()
                    .priority(Priority::clamped((n % 3) as u8))
                    .ttl(Duration::from_secs(1));
                transport.send_with(data, options).await?;
            }
        }
        Ok(())
    }
}

/// Receives and counts until the process ends.
async fn serve(way: Way) -> Result {
    match way {
        Way::Quinn | Way::QuinnBatching => {
            let connection = raw::accept(way == Way::QuinnBatching).await?;
            while connection.read_datagram().await.is_ok() {
                COUNT.fetch_add(1, Relaxed);
            }
        }
        Way::Session => {
            let (_server, session) = accept_session().await?;
            while session.recv_datagram().await.is_ok() {
                COUNT.fetch_add(1, Relaxed);
            }
        }
        Way::Plain | Way::Lanes => {
            let (_server, session) = accept_session().await?;
            let transport = DatagramTransport::new(session)?;
            while transport.receive().await.is_ok() {
                COUNT.fetch_add(1, Relaxed);
            }
        }
    }
    Ok(())
}

/// What serves, and what sends to it.
struct Pair {
    way: Way,
    name: &'static str,
    bar: f64,
    peer: Peer,
    sender: Sender,
    /// One for each round.
    figures: Vec<Figures>,
}

impl Pair {
    async fn start(
        (way, name, bar): (Way, &'static str, f64),
        config: &DatagramConfig,
    ) -> Result<Self> {
        let word = way.to_possible_value().ok_or("a way without a name")?;
        let peer = Peer::start(word.get_name())?;
        let sender = match way {
            Way::Quinn | Way::QuinnBatching => {
                Sender::Quinn(raw::connect(&peer, way == Way::QuinnBatching).await?)
            }
            Way::Session => Sender::Session(peer.session().await?),
            Way::Plain | Way::Lanes => {
                let transport = DatagramTransport::with_config(peer.session().await?, config)?;
                Sender::Transport(transport, way == Way::Lanes)
            }
        };
        Ok(Self {
            way,
            name,
            bar,
            peer,
            sender,
            figures: Vec::new(),
        })
    }

    fn median(&self, of: impl FnMut(&Figures) -> f64) -> f64 {
        median(self.figures.iter().map(of).collect())
    }

    /// Returns the median of the ratios to the same rounds of another way.
    fn ratio(&self, other: &Self) -> f64 {
        let pairs = self.figures.iter().zip(&other.figures);
        median(pairs.map(|(a, b)| a.rate / b.rate).collect())
    }
}

/// What a round found.
#[derive(Clone, Copy)]
struct Figures {
    /// Datagrams delivered per second.
    rate: f64,
    /// The part that was lost.
    lost: f64,
    /// Nanoseconds of CPU time for each datagram delivered, of sender and receiver.
    cpu: [f64; 2],
}

/// Sends for a while.
async fn round(pair: &Pair, size: usize, time: Duration) -> Result<Figures> {
    let before = pair.peer.usage()?;
    let here = Usage::here();
    let mut bytes = vec![0; size];
    let (start, mut sent) = (Instant::now(), 0_u64);
    while !sent.is_multiple_of(16) || start.elapsed() < time {
        // Each has other contents, as in life.
        bytes[..8].copy_from_slice(&sent.to_be_bytes());
        pair.sender.send(sent, &bytes).await?;
        sent += 1;
    }
    let seconds = start.elapsed().as_secs_f64();
    // All that has not been lost arrives soon.
    let mut after = pair.peer.usage()?;
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = pair.peer.usage()?;
        if now.count == after.count {
            break;
        }
        after = now;
    }
    let arrived = (after.count - before.count) as f64;
    let each = |from: Usage, to: Usage| (to.cpu - from.cpu).as_nanos() as f64 / arrived;
    Ok(Figures {
        rate: arrived / seconds,
        lost: 1.0 - arrived / sent as f64,
        cpu: [each(here, Usage::here()), each(before, after)],
    })
}

async fn run(args: Args) -> Result {
    let (rounds, time) = match args.smoke {
        true => (1, Duration::from_millis(20)),
        false => (args.rounds.max(1), Duration::from_millis(args.time.max(1))),
    };
    let mut config = DatagramConfig::new();
    config.send_ahead = args.send_ahead.unwrap_or(config.send_ahead);
    let mut pairs = Vec::new();
    for way in WAYS {
        let always = matches!(way.0, Way::Quinn | Way::QuinnBatching);
        if always || args.only.is_empty() || args.only.contains(&way.0) {
            pairs.push(Pair::start(way, &config).await?);
        }
    }
    for size in args.size.map_or(vec![64, 1200], |size| vec![size.max(8)]) {
        // Large ones fit only when the path's size is known.
        let wait = Instant::now();
        while pairs.iter().any(|pair| pair.sender.max() < size) {
            if wait.elapsed() > Duration::from_secs(10) {
                return Err(format!("datagrams of {size} bytes never fit").into());
            }
            for pair in &pairs {
                round(pair, 64, Duration::from_millis(5)).await?;
            }
        }
        for pair in &mut pairs {
            pair.figures.clear();
        }
        // The first round warms up.
        for n in 0..=rounds {
            for turn in 0..pairs.len() {
                // Each is first now and then.
                let at = (n + turn) % pairs.len();
                let figures = round(&pairs[at], size, time).await?;
                if n > 0 {
                    pairs[at].figures.push(figures);
                }
            }
        }
        println!("\n{size} B datagrams, median of {rounds} rounds of {time:?}");
        let same = pairs.iter().find(|pair| pair.way == Way::QuinnBatching);
        let (own, same) = (&pairs[0], same.ok_or("nothing to compare with")?);
        for pair in &pairs {
            let ratio = pair.ratio(same);
            let verdict = match pair.bar {
                0.0 => String::new(),
                bar if ratio >= bar => format!("at least {bar}: yes"),
                bar => format!("at least {bar}: NO"),
            };
            println!(
                "{:<38} {:>8.0}/s {:>5.2} x quinn {ratio:>5.2} x on wt's runtime {:>5.1} % lost, CPU {:>5.0} + {:>5.0} ns  {verdict}",
                pair.name,
                pair.median(|f| f.rate),
                pair.ratio(own),
                pair.median(|f| f.lost) * 100.0,
                pair.median(|f| f.cpu[0]),
                pair.median(|f| f.cpu[1]),
            );
        }
    }
    Ok(())
}

fn main() -> Result {
    let args = Args::parse();
    pair::runtime()?.block_on(async {
        match args.serve {
            Some(way) => tokio::spawn(serve(way)).await?,
            None => tokio::spawn(run(args)).await?,
        }
    })
}
