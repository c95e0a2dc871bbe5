//! What the benches of the layers share: the two ends of a connection, the server's in a process of its own.

use std::{
    env,
    error::Error,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

use rustls::pki_types::CertificateDer;
use tokio::runtime::{Builder, Runtime};
use wt::{
    Client, ClientConfig, Identity, Server, ServerConfig, ServerVerification, Session,
    core::config::TransportConfig,
};

pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

pub(crate) const DATAGRAM_SEND_BUFFER: usize = 256 * 1024;
pub(crate) const DATAGRAM_RECEIVE_BUFFER: usize = 1024 * 1024;
pub(crate) const SOCKET_BUFFER: usize = 4 * 1024 * 1024;
pub(crate) const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
pub(crate) const HOST: &str = "127.0.0.1";

/// A runtime with one thread, since there is one processor for each end at best.
pub(crate) fn runtime() -> Result<Runtime> {
    Ok(Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?)
}

/// What a process has done so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// What it counts.
    pub(crate) count: u64,
    /// User and system time of all threads.
    pub(crate) cpu: Duration,
}

/// What this process counts.
pub(crate) static COUNT: AtomicU64 = AtomicU64::new(0);

impl Usage {
    /// Looks at this process.
    pub(crate) fn here() -> Self {
        Self {
            count: COUNT.load(Relaxed),
            cpu: cpu(),
        }
    }
}

#[cfg(unix)]
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = Duration::from_secs(time.tv_sec.unsigned_abs());
    seconds + Duration::from_nanos(time.tv_nsec.unsigned_abs())
}

#[cfg(not(unix))]
fn cpu() -> Duration {
    Duration::ZERO
}

/// A server in a process of its own, which ends with this handle.
#[derive(Debug)]
pub(crate) struct Peer {
    child: Child,
    pub(crate) address: SocketAddr,
    usage: SocketAddr,
    pub(crate) certificate: CertificateDer<'static>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        // An error says that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Peer {
    /// Starts this program with `--serve way`.
    pub(crate) fn start(way: &str) -> Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .args(["--serve", way])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("no output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let [address, usage, hex] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err(format!("the server for {way} does not start").into());
        };
        let byte = |at| u8::from_str_radix(hex.get(at..at + 2).unwrap_or_default(), 16);
        let certificate: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(byte)
            .collect::<std::result::Result<_, _>>()?;
        Ok(Self {
            child,
            address: address.parse()?,
            usage: usage.parse()?,
            certificate: certificate.into(),
        })
    }

    /// Asks what the server has done so far.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let mut stream = TcpStream::connect(self.usage)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut line = String::new();
        stream.read_to_string(&mut line)?;
        let (count, cpu) = line.trim().split_once(' ').ok_or("no usage")?;
        Ok(Usage {
            count: count.parse()?,
            cpu: Duration::from_nanos(cpu.parse()?),
        })
    }

    /// Connects to the server with `wt`.
    pub(crate) async fn session(&self) -> Result<Session> {
        let roots = ServerVerification::Roots(vec![self.certificate.clone()]);
        let config = ClientConfig::new()
            .with_verification(roots)
            .with_transport(transport());
        let client = Client::new(config)?;
        let url = format!("https://{HOST}:{}/", self.address.port());
        Ok(client.connect(url).await?)
    }
}

/// Tells the process that started this one where the server is, and ends with it.
pub(crate) fn announce(address: SocketAddr, identity: &Identity) -> Result {
    let listener = TcpListener::bind(LOOPBACK)?;
    let usage = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming() {
            let usage = Usage::here();
            let line = format!("{} {}\n", usage.count, usage.cpu.as_nanos());
            // Who asked may be gone.
            let _: io::Result<()> = stream.and_then(|mut s| s.write_all(line.as_bytes()));
        }
    });
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    let certificate = identity.chain().first().ok_or("no certificate")?;
    let hex: String = certificate.iter().map(|b| format!("{b:02x}")).collect();
    writeln!(io::stdout(), "{address} {usage} {hex}")?;
    Ok(())
}

/// Waits for the one client of a server of `wt`.
pub(crate) async fn accept_session() -> Result<(Server, Session)> {
    let identity = Identity::self_signed([HOST])?;
    let config = ServerConfig::new(identity.clone())
        .with_bind(LOOPBACK)
        .with_transport(transport());
    let server = Server::bind(&config)?;
    announce(server.local_addr()?, &identity)?;
    let session = server.accept().await.ok_or("closed")?.accept().await?;
    Ok((server, session))
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport.datagram_send_buffer = DATAGRAM_SEND_BUFFER;
    transport.datagram_receive_buffer = DATAGRAM_RECEIVE_BUFFER;
    transport.socket_buffer = SOCKET_BUFFER;
    transport
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
