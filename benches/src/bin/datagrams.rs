//! What a `DatagramTransport` costs: datagrams delivered per second, compared with raw quinn in the same run.
//!
//! ```console
//! $ cargo run --release -p wt-benches --bin datagrams
//! ```
//!
//! Sender and receiver run in this one process, each on a runtime of its own with one thread, over loopback. Rounds of
//! all ways to send take turns, so that whatever else the machine does meets them all; each figure is the median.

use std::{
    error::Error,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use clap::Parser;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::{RootCertStore, crypto::ring::default_provider, version::TLS13};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::runtime::{Builder, Runtime};
use wt::{
    Client, ClientConfig, Identity, Server, ServerConfig, ServerVerification, Session,
    core::config::TransportConfig,
    datagram::{DatagramTransport, Priority, SendOptions},
};

/// Measures what a datagram transport costs.
#[derive(Debug, Parser)]
struct Args {
    /// Rounds for each way to send and each size.
    #[arg(long, default_value_t = 41)]
    rounds: usize,
    /// Milliseconds that a round sends.
    #[arg(long, default_value_t = 100)]
    time: u64,
    /// Shows only that it works.
    #[arg(long)]
    smoke: bool,
}

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const SEND_BUFFER: usize = 256 * 1024;
const RECEIVE_BUFFER: usize = 1024 * 1024;
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A way to send.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Quinn,
    Session,
    Plain,
    Lanes,
}

const WAYS: [(Way, &str, f64); 4] = [
    (Way::Quinn, "raw quinn", 0.0),
    (Way::Session, "wt session", 0.0),
    (Way::Plain, "DatagramTransport, plain", 0.95),
    (Way::Lanes, "DatagramTransport, priorities and TTL", 0.8),
];

fn runtime() -> Result<Runtime> {
    Ok(Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?)
}

/// A receiver on a thread of its own, which counts.
struct Receiver {
    count: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Receiver {
    /// Starts a receiver; returns what `bind` tells, such as its address.
    fn start<T: Send + 'static, F>(
        serve: impl FnOnce(mpsc::Sender<T>, Arc<AtomicU64>) -> F + Send + 'static,
    ) -> Result<(Self, T)>
    where
        F: Future<Output = Result>,
    {
        let (count, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (tell, told) = mpsc::channel();
        let (counter, stopped) = (count.clone(), stop.clone());
        let thread = thread::spawn(move || {
            let run = || -> Result {
                runtime()?.block_on(async {
                    let until = async {
                        while !stopped.load(Relaxed) {
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                    };
                    tokio::select! { ended = serve(tell, counter) => ended, () = until => Ok(()) }
                })
            };
            if let Err(error) = run() {
                eprintln!("the receiver: {error}");
            }
        });
        let receiver = Self {
            count,
            stop,
            thread,
        };
        Ok((receiver, told.recv()?))
    }

    fn stop(self) {
        self.stop.store(true, Relaxed);
        let _ = self.thread.join();
    }
}

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

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport.datagram_send_buffer = SEND_BUFFER;
    transport.datagram_receive_buffer = RECEIVE_BUFFER;
    transport.socket_buffer = SOCKET_BUFFER;
    transport
}

fn quinn_transport() -> Arc<quinn::TransportConfig> {
    let mut transport = quinn::TransportConfig::default();
    transport
        .datagram_send_buffer_size(SEND_BUFFER)
        .datagram_receive_buffer_size(Some(RECEIVE_BUFFER));
    Arc::new(transport)
}

/// An endpoint of quinn with the socket of a `wt` endpoint.
fn endpoint(server: Option<quinn::ServerConfig>) -> Result<quinn::Endpoint> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.bind(&LOOPBACK.into())?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    let config = quinn::EndpointConfig::default();
    let runtime = Arc::new(quinn::TokioRuntime);
    Ok(quinn::Endpoint::new(
        config,
        server,
        socket.into(),
        runtime,
    )?)
}

/// What serves, and what sends to it.
struct Pair {
    receiver: Receiver,
    sender: Sender,
}

async fn quinn_pair() -> Result<Pair> {
    let identity = Identity::self_signed(["127.0.0.1"])?;
    let certificate = identity
        .chain()
        .first()
        .ok_or("an identity without a certificate")?
        .clone();
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], identity.key().clone_key())?;
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let mut server = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    server.transport_config(quinn_transport());
    let (receiver, address) = Receiver::start(|tell, count| async move {
        let endpoint = endpoint(Some(server))?;
        tell.send(endpoint.local_addr()?)?;
        let incoming = endpoint.accept().await.ok_or("closed")?;
        let connection = incoming.await?;
        while connection.read_datagram().await.is_ok() {
            count.fetch_add(1, Relaxed);
        }
        Ok(())
    })?;

    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let mut client = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    client.transport_config(quinn_transport());
    let endpoint = endpoint(None)?;
    let connection = endpoint.connect_with(client, address, "127.0.0.1")?.await?;
    let sender = Sender::Quinn(connection);
    Ok(Pair { receiver, sender })
}

async fn wt_pair(way: Way) -> Result<Pair> {
    let identity = Identity::self_signed(["127.0.0.1"])?;
    let trust = ServerVerification::Hashes(vec![identity.certificate_hash()]);
    let config = ServerConfig::new(identity)
        .with_bind(LOOPBACK)
        .with_transport(transport());
    let (receiver, address) = Receiver::start(move |tell, count| async move {
        let server = Server::bind(&config)?;
        tell.send(server.local_addr()?)?;
        let request = server.accept().await.ok_or("closed")?;
        let session = request.accept().await?;
        if way == Way::Session {
            while session.recv_datagram().await.is_ok() {
                count.fetch_add(1, Relaxed);
            }
        } else {
            let transport = DatagramTransport::new(session)?;
            while transport.receive().await.is_ok() {
                count.fetch_add(1, Relaxed);
            }
        }
        Ok(())
    })?;
    let config = ClientConfig::new()
        .with_verification(trust)
        .with_transport(transport());
    let client = Client::new(config)?;
    let session = client.connect(format!("https://{address}/")).await?;
    let sender = match way {
        Way::Session => Sender::Session(session),
        _ => Sender::Transport(DatagramTransport::new(session)?, way == Way::Lanes),
    };
    Ok(Pair { receiver, sender })
}

/// Sends for a while; returns datagrams delivered per second, and which part was lost.
async fn round(pair: &Pair, size: usize, time: Duration) -> Result<(f64, f64)> {
    let count = &pair.receiver.count;
    let before = count.load(Relaxed);
    let mut bytes = vec![0; size];
    let (start, mut sent) = (Instant::now(), 0_u64);
    while sent % 16 != 0 || start.elapsed() < time {
        // Each has other contents, as in life.
        bytes[..8].copy_from_slice(&sent.to_be_bytes());
        pair.sender.send(sent, &bytes).await?;
        sent += 1;
    }
    let seconds = start.elapsed().as_secs_f64();
    // All that has not been lost arrives soon.
    let mut arrived = count.load(Relaxed);
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = count.load(Relaxed);
        if now == arrived {
            break;
        }
        arrived = now;
    }
    let arrived = (arrived - before) as f64;
    Ok((arrived / seconds, 1.0 - arrived / sent as f64))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn run(rounds: usize, time: Duration) -> Result {
    let mut pairs = Vec::new();
    for (way, _, _) in WAYS {
        pairs.push(match way {
            Way::Quinn => quinn_pair().await?,
            _ => wt_pair(way).await?,
        });
    }
    for size in [64, 1200] {
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
        let mut rates = [const { Vec::new() }; WAYS.len()];
        let mut losses = [const { Vec::new() }; WAYS.len()];
        let mut ratios = [const { Vec::new() }; WAYS.len()];
        // The first round warms up.
        for n in 0..=rounds {
            let mut figures = [(0.0, 0.0); WAYS.len()];
            for turn in 0..pairs.len() {
                // Each is first now and then.
                let at = (n + turn) % pairs.len();
                figures[at] = round(&pairs[at], size, time).await?;
            }
            for (at, (rate, lost)) in figures.into_iter().enumerate().filter(|_| n > 0) {
                rates[at].push(rate);
                losses[at].push(lost);
                ratios[at].push(rate / figures[0].0);
            }
        }
        println!("\n{size} B datagrams, median of {rounds} rounds of {time:?}");
        for (at, (_, name, bar)) in WAYS.into_iter().enumerate() {
            let (rate, lost) = (median(rates[at].clone()), median(losses[at].clone()));
            let ratio = median(ratios[at].clone());
            let verdict = match bar {
                0.0 => String::new(),
                bar if ratio >= bar => format!("at least {bar}: yes"),
                bar => format!("at least {bar}: NO"),
            };
            println!(
                "{name:<40} {rate:>9.0}/s  {ratio:>5.2} x quinn  {:>5.1} % lost  {verdict}",
                lost * 100.0
            );
        }
    }
    for pair in pairs {
        pair.receiver.stop();
    }
    Ok(())
}

fn main() -> Result {
    let args = Args::parse();
    let (rounds, time) = match args.smoke {
        true => (1, Duration::from_millis(20)),
        false => (args.rounds.max(1), Duration::from_millis(args.time.max(1))),
    };
    runtime()?.block_on(async { tokio::spawn(run(rounds, time)).await? })
}
