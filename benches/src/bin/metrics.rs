//! What metrics cost: CPU time of requests and of sessions, when nobody exports, when somebody does, and, given a
//! program that was built without them, against having none.
//!
//! ```console
//! $ cargo build --release -p wt-benches --bin metrics
//! $ cp target/release/metrics target/release/metrics-without
//! $ cargo run --release -p wt-benches --features metrics --bin metrics -- --without target/release/metrics-without
//! ```
//!
//! Each figure is taken in a process of its own, since a recorder stays installed. Rounds of all of them take turns, so
//! that whatever else the machine does meets them all; each figure is the median.

use std::{
    error::Error,
    path::{Path, PathBuf},
    process::Command,
};

use clap::{Parser, ValueEnum};
use rustix::time::{ClockId, clock_gettime};
use tokio::{runtime::Builder, task::JoinSet};
use wt::{
    Client, ClientConfig, Identity, ServerApp, ServerConfig, ServerVerification, Session,
    server::BoxError,
};

/// Measures what metrics cost.
#[derive(Debug, Parser)]
struct Args {
    /// Rounds.
    #[arg(long, default_value_t = 21)]
    rounds: usize,
    /// Requests of a round.
    #[arg(long, default_value_t = 20_000)]
    requests: u32,
    /// Sessions of a round, each on a connection of its own.
    #[arg(long, default_value_t = 200)]
    sessions: u32,
    /// This program, built without `--features metrics`.
    #[arg(long, value_name = "FILE")]
    without: Option<PathBuf>,
    /// Takes one figure and prints it.
    #[arg(long, hide = true)]
    once: Option<Mode>,
    /// Shows only that it works.
    #[arg(long)]
    smoke: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Nobody exports.
    Off,
    /// Everything is published every second.
    On,
}

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Requests that wait for their answers at a time.
const IN_FLIGHT: u32 = 64;

/// Echoes each stream.
async fn echo(session: Session) -> std::result::Result<(), BoxError> {
    let mut tasks = JoinSet::new();
    while let Ok(mut stream) = session.accept_bi().await {
        tasks.spawn(async move {
            let bytes = stream.recv.read_to_end(1024).await?;
            stream.send.write_chunk(bytes).await?;
            stream.send.finish()?;
            Ok::<_, BoxError>(())
        });
        while tasks.try_join_next().is_some() {}
    }
    Ok(())
}

/// Returns the CPU time of this process, in nanoseconds.
fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// Makes `count` requests on a session.
async fn requests(session: &Session, count: u32) -> Result {
    let mut tasks = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let session = session.clone();
        tasks.spawn(async move {
            for _ in 0..count / IN_FLIGHT {
                let mut stream = session.open_bi().await?;
                stream.send.write_all(&[7; 64]).await?;
                stream.send.finish()?;
                stream.recv.read_to_end(64).await?;
            }
            Result::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// Takes one figure: nanoseconds of CPU time for a request, and for a session.
async fn once(args: &Args, mode: Mode) -> Result<[f64; 2]> {
    let identity = Identity::self_signed(["localhost", "127.0.0.1"])?;
    let hash = identity.certificate_hash();
    let config = ServerConfig::new(identity).with_bind(([127, 0, 0, 1], 0).into());
    #[cfg(feature = "metrics")]
    let recorder = match mode {
        Mode::On => Some(wt::monitor::metrics::Prometheus::install()?),
        Mode::Off => None,
    };
    let app = ServerApp::new(config)
        .configure(wt::server::AppConfig::new().with_access_log(false))
        .route("/echo/{room}", echo)
        .start()
        .await?;
    #[cfg(feature = "metrics")]
    let _publishing = match recorder {
        Some(_) => Some(
            wt::monitor::metrics::Exporter::new()
                .endpoint("bench", app.server().endpoint().clone())
                .with_interval(std::time::Duration::from_secs(1))
                .start()?,
        ),
        None => None,
    };
    #[cfg(not(feature = "metrics"))]
    if mode == Mode::On {
        return Err("this program was built without metrics".into());
    }
    let verification = ServerVerification::Hashes(vec![hash]);
    let client = Client::new(ClientConfig::new().with_verification(verification))?;
    let url = format!("https://{}/echo/room", app.local_addr()?);
    let session = client.connect(&url).await?;
    requests(&session, args.requests / 10).await?;

    let start = cpu();
    requests(&session, args.requests).await?;
    let request = (cpu() - start) / f64::from(args.requests);
    let start = cpu();
    for _ in 0..args.sessions {
        let session = client.connect(&url).await?;
        session.close(0, "");
    }
    let per_session = (cpu() - start) / f64::from(args.sessions);
    session.close(0, "");
    client.close().await;
    app.shut_down().await?;
    Ok([request, per_session])
}

/// Takes one figure in a process of its own.
fn apart(args: &Args, program: &Path, mode: &str) -> Result<[f64; 2]> {
    let output = Command::new(program)
        .args(["--once", mode])
        .args(["--requests", &args.requests.to_string()])
        .args(["--sessions", &args.sessions.to_string()])
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let mut numbers = text.split_whitespace().map(str::parse::<f64>);
    let mut next = || {
        let errors = String::from_utf8_lossy(&output.stderr);
        let missing = || format!("{} --once {mode}: {errors}", program.display());
        numbers.next().ok_or_else(missing)
    };
    Ok([next()??, next()??])
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn compare(args: &Args) -> Result {
    let here = std::env::current_exe()?;
    let mut ways = Vec::new();
    if let Some(without) = &args.without {
        ways.push(("built without metrics", without.as_path(), "off"));
    }
    ways.push(("nobody exports", &here, "off"));
    if cfg!(feature = "metrics") {
        ways.push(("published every second", &here, "on"));
    }
    let mut figures = vec![Vec::new(); ways.len()];
    for round in 0..args.rounds {
        for turn in 0..ways.len() {
            let at = (turn + round) % ways.len();
            let (_, program, mode) = ways[at];
            figures[at].push(apart(args, program, mode)?);
        }
    }
    println!("| CPU time | 64 B request | ratio | session | ratio |");
    println!("|---|--:|--:|--:|--:|");
    let of = |at: usize, which: usize| median(figures[at].iter().map(|f| f[which]).collect());
    // Each round against its own first figure: what slows down a round slows down both.
    let ratio = |at: usize, which: usize| {
        let pairs = figures[at].iter().zip(&figures[0]);
        median(
            pairs
                .map(|(one, first)| one[which] / first[which])
                .collect(),
        )
    };
    for (at, (name, ..)) in ways.iter().enumerate() {
        println!(
            "| {name} | {:.2} µs | {:.3} | {:.0} µs | {:.3} |",
            of(at, 0) / 1e3,
            ratio(at, 0),
            of(at, 1) / 1e3,
            ratio(at, 1),
        );
    }
    Ok(())
}

fn main() -> Result {
    let mut args = Args::parse();
    if args.smoke {
        (args.rounds, args.requests, args.sessions) = (1, 128, 2);
    }
    let Some(mode) = args.once else {
        return compare(&args);
    };
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let [request, session] = runtime.block_on(once(&args, mode))?;
    println!("{request} {session}");
    Ok(())
}
