//! One publisher and many subscribers: the rate of deliveries, what is lost, the memory that it takes,
//! and what one subscriber that does not read changes.
//!
//! ```console
//! $ cargo run --release -p wt-benches --bin pubsub
//! ```
//!
//! Server and clients are in one process, on loopback. Rounds with and without the stalled subscriber
//! take turns. It fails when a message is lost, or when the stalled one costs the others more than 5 %.

use std::{
    error::Error,
    fs,
    net::SocketAddr,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use tokio::{task::JoinSet, time::timeout};
use wt::{
    BiStream, Client, ClientConfig, Identity, Server, ServerConfig, ServerVerification, Session,
    messaging::pubsub::{MemoryBroker, PubSub, PubSubService, ServiceConfig, Subscription},
};

/// Measures publish-subscribe.
#[derive(Debug, Parser)]
struct Args {
    /// Connections that the subscribers share.
    #[arg(long, default_value_t = 100)]
    connections: usize,
    /// Subscribers, each with a stream of its own.
    #[arg(long, default_value_t = 1000)]
    subscribers: usize,
    /// Messages in a round.
    #[arg(long, default_value_t = 1000)]
    messages: usize,
    /// Bytes in a message.
    #[arg(long, default_value_t = 256)]
    size: usize,
    /// Rounds of each kind.
    #[arg(long, default_value_t = 16)]
    rounds: usize,
    /// Shows only that it works: no bar on the rate.
    #[arg(long)]
    smoke: bool,
}

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The most that a stalled subscriber may cost the others.
const BAR: f64 = 0.05;

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The longest that a message may take.
const PATIENCE: Duration = Duration::from_secs(30);

async fn run(args: &Args) -> Result<bool> {
    let idle = memory();
    let identity = Identity::self_signed(["localhost"])?;
    let hash = identity.certificate_hash();
    let config = ServerConfig::new(identity).with_bind(SocketAddr::from(([127, 0, 0, 1], 0)));
    let server = Server::bind(&config)?;
    let url = format!("https://localhost:{}/", server.local_addr()?.port());
    let broker = MemoryBroker::new();
    let streams = args.subscribers.div_ceil(args.connections);
    let config = ServiceConfig::new().with_max_streams(streams);
    let service = PubSubService::with_config(broker.clone(), config);
    tokio::spawn(serve(server, service));
    let config = ClientConfig::new().with_verification(ServerVerification::Hashes(vec![hash]));
    let client = Client::new(config)?;

    let mut subscriptions = subscribe(args, &client, &url).await?;
    let publisher = PubSub::open(&client.connect(&url).await?).await?;
    println!(
        "{} subscribers on {} connections, {} messages of {} bytes in a round",
        args.subscribers, args.connections, args.messages, args.size
    );
    let subscribed = memory();
    let mut rates = [Vec::new(), Vec::new()];
    for round in 0..2 * args.rounds {
        // Each kind is first as often as the other: a run may get slower or faster.
        let with_stalled = matches!(round % 4, 1 | 2);
        let stalled = match with_stalled {
            true => Some(stall(&client, &url, &broker).await?),
            false => None,
        };
        let start = Instant::now();
        let mut readers = JoinSet::new();
        for subscription in subscriptions.drain(..) {
            readers.spawn(read(subscription, args.messages));
        }
        for number in 0..args.messages {
            let mut payload = number.to_be_bytes().to_vec();
            payload.resize(args.size.max(payload.len()), b'x');
            publisher.publish("news", payload).await?;
        }
        while let Some(subscription) = readers.join_next().await {
            subscriptions.push(subscription??);
        }
        let rate = (args.messages * args.subscribers) as f64 / start.elapsed().as_secs_f64();
        let kind = ["all read ", "one stalls"][usize::from(with_stalled)];
        println!("{kind:<12}{rate:>10.0} deliveries/s");
        rates[usize::from(with_stalled)].push(rate);
        drop(stalled);
    }
    let [all, stalled] = rates;
    let ratios = all.iter().zip(&stalled).map(|(all, stalled)| stalled / all);
    let cost = 1.0 - median(ratios.collect());
    println!(
        "no message was lost; one that stalls costs the others {:.1} %",
        cost * 100.0
    );
    println!(
        "memory: {idle} MiB at first, {subscribed} MiB with all subscribed, {} MiB at the end",
        memory()
    );
    Ok(args.smoke || cost < BAR)
}

async fn serve(server: Server, service: PubSubService) {
    while let Some(request) = server.accept().await {
        let service = service.clone();
        tokio::spawn(async move {
            if let Ok(session) = request.accept().await {
                service.serve(&session).await;
            }
        });
    }
}

/// Makes the subscribers, each with a client of its own.
async fn subscribe(args: &Args, client: &Client, url: &str) -> Result<Vec<Subscription>> {
    let mut sessions: Vec<Session> = Vec::new();
    for _ in 0..args.connections {
        sessions.push(client.connect(url).await?);
    }
    let mut subscriptions = Vec::new();
    for session in sessions.iter().cycle().take(args.subscribers) {
        let pubsub = PubSub::open(session).await?;
        subscriptions.push(pubsub.subscribe("news").await?);
    }
    Ok(subscriptions)
}

/// Reads the messages of a round, all of them and in order.
async fn read(mut news: Subscription, messages: usize) -> Result<Subscription> {
    for number in 0..messages {
        let message = timeout(PATIENCE, news.recv()).await?;
        let message = message.ok_or("a subscription ended")?;
        if message.payload().get(..8) != Some(&number.to_be_bytes()[..]) {
            return Err(format!("message {number} was lost: {:?}", news.stats()).into());
        }
    }
    Ok(news)
}

/// Makes a subscriber that does not read, and fills its windows and its queue.
async fn stall(client: &Client, url: &str, broker: &MemoryBroker) -> Result<(Session, BiStream)> {
    let session = client.connect(url).await?;
    let mut stream = session.open_bi().await?;
    stream.send.write_all(b"SUB fill\nSUB news\n").await?;
    let mut confirmed = [0; "SUB-OK fill\nSUB-OK news\n".len()];
    timeout(PATIENCE, stream.recv.read_exact(&mut confirmed)).await??;
    let before = broker.stats().dropped;
    while broker.stats().dropped == before {
        broker.publish("fill", vec![0; 1 << 20]).await?;
    }
    Ok((session, stream))
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}

/// Memory of this process now, in MiB, where the system tells.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let words = line.and_then(|line| line.split_whitespace().next());
    words
        .and_then(|kib| kib.parse::<u64>().ok())
        .unwrap_or_default()
        / 1024
}
