//! The workloads: their names, and what a client does for each.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

use crate::{
    process::Usage,
    server::{Address, BLOCK, ECHO, PING, REQUEST, SINK, SOURCE},
    stack::{Client, RecvHalf, Result, SendHalf, Session, Settings, Stack},
};

/// A workload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Streams of each kind that both ends allow.
    pub(crate) streams: u32,
    /// Whom it is for.
    pub(crate) who: Who,
}

/// Whom a workload is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Every stack.
    All,
    /// Stacks with several sessions on a connection.
    Sharing,
    /// This stack and quinn: whether cost grows with numbers.
    Scaling,
}

/// What a client does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Sends and receives one long stream, or both at once.
    Bulk { up: bool, down: bool },
    /// Sends 1000 streams of 64 KiB at once.
    ManyStreams,
    /// Requests of `size` bytes on bidirectional streams of their own, `flight` at a time, over
    /// `sessions` sessions of one connection.
    Requests {
        size: usize,
        flight: usize,
        sessions: usize,
    },
    /// Unidirectional streams of `size` bytes, answered by unidirectional streams.
    Uni { size: usize, flight: usize },
    /// As many datagrams as go out.
    Datagrams { size: usize },
    /// One datagram and its echo after the other.
    DatagramEcho,
    /// Sessions, each on a connection of its own, `flight` at a time.
    Connect { flight: usize },
    /// A session and the answer to its first request, one after the other.
    FirstAnswer,
    /// Server memory of idle sessions, each on a connection of its own.
    Idle,
    /// Server memory of the second and later sessions on a connection.
    IdleShared,
    /// Cost of `count` sessions, each on a connection of its own.
    ScaleSessions { count: usize },
    /// Cost of `count` open streams on one connection.
    ScaleStreams { count: usize },
}

impl Kind {
    /// Whether the server only holds its sessions.
    pub(crate) const fn idle(self) -> bool {
        matches!(self, Self::Idle | Self::IdleShared)
    }
}

/// Enough for all that is in flight in most workloads.
const STREAMS: u32 = 1024;
/// What a server offers that waits for clients.
pub(crate) const FEW_STREAMS: u32 = 100;

const fn all(name: &'static str, kind: Kind, streams: u32) -> Workload {
    Workload {
        name,
        kind,
        streams,
        who: Who::All,
    }
}

const fn requests(name: &'static str, size: usize, flight: usize) -> Workload {
    let kind = Kind::Requests {
        size,
        flight,
        sessions: 1,
    };
    all(name, kind, STREAMS)
}

const fn sessions(name: &'static str, count: usize) -> Workload {
    Workload {
        name,
        kind: Kind::ScaleSessions { count },
        streams: FEW_STREAMS,
        who: Who::Scaling,
    }
}

const fn streams(name: &'static str, count: usize) -> Workload {
    Workload {
        name,
        kind: Kind::ScaleStreams { count },
        // QUIC announces streams that ended when they are an eighth of this.
        streams: 12_000,
        who: Who::Scaling,
    }
}

/// All workloads, in the order in which they are run and shown.
pub(crate) const WORKLOADS: &[Workload] = &[
    all(
        "upload",
        Kind::Bulk {
            up: true,
            down: false,
        },
        STREAMS,
    ),
    all(
        "download",
        Kind::Bulk {
            up: false,
            down: true,
        },
        STREAMS,
    ),
    all(
        "duplex",
        Kind::Bulk {
            up: true,
            down: true,
        },
        STREAMS,
    ),
    all("streams-1000", Kind::ManyStreams, STREAMS),
    requests("request-64", 64, 1),
    requests("request-1k", 1024, 1),
    requests("request-64-x64", 64, 64),
    requests("request-1k-x64", 1024, 64),
    Workload {
        name: "request-64-shared",
        kind: Kind::Requests {
            size: 64,
            flight: 64,
            sessions: 8,
        },
        streams: STREAMS,
        who: Who::Sharing,
    },
    all(
        "uni-1k-x64",
        Kind::Uni {
            size: 1024,
            flight: 64,
        },
        STREAMS,
    ),
    all("datagram-64", Kind::Datagrams { size: 64 }, STREAMS),
    all("datagram-1200", Kind::Datagrams { size: 1200 }, STREAMS),
    all("datagram-echo", Kind::DatagramEcho, STREAMS),
    all("connect", Kind::Connect { flight: 1 }, FEW_STREAMS),
    all("connect-x16", Kind::Connect { flight: 16 }, FEW_STREAMS),
    all("first-answer", Kind::FirstAnswer, FEW_STREAMS),
    all("idle", Kind::Idle, FEW_STREAMS),
    Workload {
        name: "idle-shared",
        kind: Kind::IdleShared,
        streams: 256,
        who: Who::Sharing,
    },
    sessions("sessions-10", 10),
    sessions("sessions-100", 100),
    sessions("sessions-1000", 1000),
    sessions("sessions-5000", 5000),
    streams("streams-open-10", 10),
    streams("streams-open-100", 100),
    streams("streams-open-1000", 1000),
    streams("streams-open-10000", 10_000),
];

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    /// Rounds of the scaling workloads, which take longest.
    pub(crate) scaling_rounds: usize,
    /// After which a run of another workload hangs: several times what the slowest takes.
    pub(crate) limit: Duration,
    /// Before and while something is measured that goes on.
    warm_up: Duration,
    time: Duration,
    /// Bytes of a long stream.
    bulk: u64,
    /// Connections made, one by one or at once.
    connections: usize,
    /// Sessions held idle.
    idle: usize,
    /// The largest number that the scaling workloads go to.
    pub(crate) scale: usize,
    /// Requests of the scaling workloads, and a tenth of their echoes.
    samples: usize,
}

impl Effort {
    /// Shows that everything works.
    pub(crate) const SMOKE: Self = Self {
        rounds: 1,
        scaling_rounds: 1,
        limit: Duration::from_secs(10),
        warm_up: Duration::from_millis(10),
        time: Duration::from_millis(50),
        bulk: 1 << 20,
        connections: 4,
        idle: 4,
        scale: 10,
        samples: 200,
    };
    /// Under two minutes.
    pub(crate) const QUICK: Self = Self {
        rounds: 3,
        scaling_rounds: 1,
        limit: Duration::from_secs(5),
        warm_up: Duration::from_millis(30),
        time: Duration::from_millis(130),
        bulk: 64 << 20,
        connections: 60,
        idle: 120,
        scale: 1000,
        samples: 2000,
    };
    /// What goes into the documentation.
    pub(crate) const FULL: Self = Self {
        rounds: 7,
        scaling_rounds: 7,
        limit: Duration::from_secs(10),
        warm_up: Duration::from_millis(200),
        time: Duration::from_millis(1000),
        bulk: 512 << 20,
        connections: 400,
        idle: 1000,
        scale: 10_000,
        samples: 10_000,
    };
}

/// What a run gave, by name.
pub(crate) type Figures = BTreeMap<String, f64>;

/// Runs a workload against a server.
pub(crate) async fn run<S: Stack>(
    kind: Kind,
    server: &Address,
    settings: Settings,
    effort: Effort,
) -> Result<Figures> {
    let bind = || S::Client::bind(server.quic, &server.certificate, settings);
    let bench = Bench {
        server,
        effort,
        client: bind()?,
        figures: Figures::new(),
    };
    match kind {
        Kind::Bulk { up, down } => bench.bulk(up, down).await,
        Kind::ManyStreams => bench.many_streams().await,
        Kind::Requests {
            size,
            flight,
            sessions,
        } => bench.requests(size, flight, sessions).await,
        Kind::Uni { size, flight } => bench.uni(size, flight).await,
        Kind::Datagrams { size } => bench.datagrams(size).await,
        Kind::DatagramEcho => bench.datagram_echo().await,
        Kind::Connect { flight } => bench.connect(flight).await,
        Kind::FirstAnswer => bench.first_answer().await,
        Kind::Idle => bench.idle().await,
        Kind::IdleShared => bench.idle_shared(bind).await,
        Kind::ScaleSessions { count } => bench.scale_sessions(count).await,
        Kind::ScaleStreams { count } => bench.scale_streams(count).await,
    }
}

/// What both ends have taken at one moment.
struct Mark {
    at: Instant,
    client: Usage,
    server: Usage,
}

struct Bench<'a, C> {
    server: &'a Address,
    effort: Effort,
    client: C,
    figures: Figures,
}

impl<C: Client<Session: Session>> Bench<'_, C> {
    fn mark(&self) -> Result<Mark> {
        Ok(Mark {
            server: Usage::of(self.server.usage)?,
            client: Usage::here(),
            at: Instant::now(),
        })
    }

    fn figure(&mut self, name: &str, value: f64) {
        self.figures.insert(name.to_owned(), value);
    }

    /// Notes the CPU time of both ends since `mark`, in µs for each of `count`.
    fn cpu(&mut self, mark: &Mark, count: f64) -> Result<()> {
        let now = self.mark()?;
        let client = (now.client.cpu - mark.client.cpu).as_secs_f64() * 1e6;
        let server = (now.server.cpu - mark.server.cpu).as_secs_f64() * 1e6;
        self.figure("cpu", (client + server) / count);
        self.figure("client_cpu", client / count);
        self.figure("server_cpu", server / count);
        Ok(())
    }

    /// Notes the median and the 99th percentile of `times`, in µs.
    fn times(&mut self, mut times: Vec<Duration>) {
        times.sort_unstable();
        for (name, part) in [("p50", 0.5), ("p99", 0.99)] {
            let at = (times.len() as f64 * part) as usize;
            if let Some(time) = times.get(at) {
                self.figure(name, time.as_secs_f64() * 1e6);
            }
        }
    }

    async fn bulk(mut self, up: bool, down: bool) -> Result<Figures> {
        let session = self.client.connect().await?;
        // The congestion window and the path's MTU grow first.
        transfer(&session, up, down, self.effort.bulk / 8).await?;
        let mark = self.mark()?;
        let bytes = transfer(&session, up, down, self.effort.bulk).await? as f64;
        let seconds = mark.at.elapsed().as_secs_f64();
        // In seconds for each GiB.
        self.cpu(&mark, bytes / f64::from(1 << 30) * 1e6)?;
        self.figure("rate", bytes / f64::from(1 << 20) / seconds);
        Ok(self.figures)
    }

    async fn many_streams(mut self) -> Result<Figures> {
        const STREAMS: usize = 1000;
        let session = self.client.connect().await?;
        transfer(&session, true, false, self.effort.bulk / 16).await?;
        let mark = self.mark()?;
        let mut all = JoinSet::new();
        for _ in 0..STREAMS {
            let session = session.clone();
            all.spawn(async move { transfer(&session, true, false, BLOCK as u64).await });
        }
        while let Some(result) = all.join_next().await {
            result??;
        }
        let seconds = mark.at.elapsed().as_secs_f64();
        let mib = (STREAMS * BLOCK) as f64 / f64::from(1 << 20);
        self.cpu(&mark, mib / 1024.0 * 1e6)?;
        self.figure("rate", mib / seconds);
        Ok(self.figures)
    }

    /// Lets `work`, which counts what it does, go on, and notes rate and cost.
    async fn steady(
        &mut self,
        count: &AtomicU64,
        packets: impl Fn() -> u64,
        work: &mut JoinSet<Result<()>>,
    ) -> Result<()> {
        let (warm_up, time) = (self.effort.warm_up, self.effort.time);
        alive(warm_up, work).await?;
        let (before, packets_before) = (count.load(Relaxed), packets());
        let mark = self.mark()?;
        alive(time, work).await?;
        let done = (count.load(Relaxed) - before) as f64;
        let sent = (packets() - packets_before) as f64;
        let seconds = mark.at.elapsed().as_secs_f64();
        self.cpu(&mark, done)?;
        self.figure("rate", done / seconds);
        self.figure("packets", sent / done);
        Ok(())
    }

    async fn requests(mut self, size: usize, flight: usize, sessions: usize) -> Result<Figures> {
        let first = self.client.connect().await?;
        let mut all = vec![first.clone()];
        while all.len() < sessions {
            match self.client.share(&first).await {
                Ok(session) => all.push(session),
                // QUIC alone has no sessions: it shows what its connection can do.
                Err(_) => all.push(first.clone()),
            }
        }
        if flight == 1 {
            let mut times = Vec::new();
            let (start, end) = (Instant::now(), self.effort.warm_up + self.effort.time);
            let mut mark = None;
            while start.elapsed() < end {
                let before = Instant::now();
                request(&first, size).await?;
                if start.elapsed() > self.effort.warm_up {
                    times.push(before.elapsed());
                    if mark.is_none() {
                        mark = Some(self.mark()?);
                    }
                }
            }
            if let Some(mark) = mark {
                self.cpu(&mark, times.len() as f64 - 1.0)?;
            }
            self.times(times);
            return Ok(self.figures);
        }
        let count = Arc::new(AtomicU64::new(0));
        let mut work = JoinSet::new();
        for (_, session) in (0..flight).zip(all.iter().cycle()) {
            let (session, count) = (session.clone(), count.clone());
            work.spawn(async move {
                loop {
                    request(&session, size).await?;
                    count.fetch_add(1, Relaxed);
                }
            });
        }
        self.steady(&count, || first.packets_sent(), &mut work)
            .await?;
        Ok(self.figures)
    }

    async fn uni(mut self, size: usize, flight: usize) -> Result<Figures> {
        let session = self.client.connect().await?;
        let count = Arc::new(AtomicU64::new(0));
        let permits = Arc::new(Semaphore::new(flight));
        let mut work = JoinSet::new();
        for _ in 0..flight {
            let (session, permits) = (session.clone(), permits.clone());
            work.spawn(async move {
                let message = vec![ECHO; size];
                loop {
                    permits.acquire().await?.forget();
                    let mut send = session.open_uni().await?;
                    send.write_all(&message).await?;
                    send.finish()?;
                }
            });
        }
        let (incoming, counter) = (session.clone(), count.clone());
        work.spawn(async move {
            loop {
                let mut recv = incoming.accept_uni().await?;
                let (permits, count) = (permits.clone(), counter.clone());
                tokio::spawn(async move {
                    recv.drain().await?;
                    count.fetch_add(1, Relaxed);
                    permits.add_permits(1);
                    ok(())
                });
            }
        });
        self.steady(&count, || session.packets_sent(), &mut work)
            .await?;
        Ok(self.figures)
    }

    async fn datagrams(mut self, size: usize) -> Result<Figures> {
        let session = self.client.connect().await?;
        // Large ones fit only when the path's MTU is known.
        let wait = Instant::now();
        while session.max_datagram_size() < size {
            if wait.elapsed() > Duration::from_secs(5) {
                return Err(format!("datagrams of {size} bytes never fit").into());
            }
            request(&session, 64).await?;
        }
        let mut datagram = vec![SINK; size];
        let mark = self.mark()?;
        let mut sent = 0_u64;
        let mut refused = 0_u64;
        while mark.at.elapsed() < self.effort.time {
            // Each has other contents, as in life.
            datagram[1..9].copy_from_slice(&sent.to_be_bytes());
            if session.send_datagram(&datagram).await.is_ok() {
                sent += 1;
            } else if session.max_datagram_size() < size {
                // The path seems to have become narrow: QUIC will find out.
                refused += 1;
                sleep(Duration::from_millis(1)).await;
            } else {
                return Err("the connection is gone".into());
            }
        }
        let seconds = mark.at.elapsed().as_secs_f64();
        // All that has not been lost arrives soon.
        let mut arrived = Usage::of(self.server.usage)?.datagrams;
        loop {
            sleep(Duration::from_millis(20)).await;
            let now = Usage::of(self.server.usage)?.datagrams;
            if now == arrived {
                break;
            }
            arrived = now;
        }
        let arrived = (arrived - mark.server.datagrams) as f64;
        self.cpu(&mark, arrived)?;
        self.figure("rate", arrived / seconds);
        self.figure("loss", 100.0 * (1.0 - arrived / sent as f64));
        self.figure("refused", refused as f64);
        self.figure("packets", session.packets_sent() as f64 / sent as f64);
        Ok(self.figures)
    }

    async fn datagram_echo(mut self) -> Result<Figures> {
        /// After which a datagram counts as lost.
        const LOST: Duration = Duration::from_millis(200);
        let session = self.client.connect().await?;
        let datagram = [PING; 64];
        let mut times = Vec::new();
        let mut lost = 0;
        let start = Instant::now();
        while start.elapsed() < self.effort.warm_up + self.effort.time {
            let before = Instant::now();
            session.send_datagram(&datagram).await?;
            match tokio::time::timeout(LOST, session.recv_datagram()).await {
                Ok(echo) => {
                    echo?;
                    if start.elapsed() > self.effort.warm_up {
                        times.push(before.elapsed());
                    }
                }
                Err(_) => lost += 1,
            }
        }
        self.times(times);
        self.figure("lost", f64::from(lost));
        Ok(self.figures)
    }

    /// Makes sessions, `flight` at a time, and keeps them.
    async fn sessions(&self, count: usize, flight: usize) -> Result<Vec<C::Session>> {
        let left = Arc::new(AtomicUsize::new(count));
        let mut work = JoinSet::new();
        for _ in 0..flight.min(count) {
            let (client, left) = (self.client.clone(), left.clone());
            work.spawn(async move {
                let mut sessions = Vec::new();
                while left
                    .fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1))
                    .is_ok()
                {
                    sessions.push(client.connect().await?);
                }
                ok(sessions)
            });
        }
        let mut all = Vec::new();
        while let Some(sessions) = work.join_next().await {
            all.extend(sessions??);
        }
        Ok(all)
    }

    async fn connect(mut self, flight: usize) -> Result<Figures> {
        let _warm = self.sessions(self.effort.connections / 10, flight).await?;
        let mark = self.mark()?;
        let count = self.effort.connections;
        let sessions = self.sessions(count, flight).await?;
        let seconds = mark.at.elapsed().as_secs_f64();
        self.cpu(&mark, count as f64)?;
        self.figure("rate", count as f64 / seconds);
        drop(sessions);
        Ok(self.figures)
    }

    async fn first_answer(mut self) -> Result<Figures> {
        let _warm = self.sessions(self.effort.connections / 10, 1).await?;
        let mut sessions = Vec::new();
        let mut times = Vec::new();
        for _ in 0..self.effort.connections {
            let before = Instant::now();
            let session = self.client.connect_early().await?;
            request(&session, 64).await?;
            times.push(before.elapsed());
            // What follows a handshake is not part of the next one.
            sleep(Duration::from_millis(1)).await;
            sessions.push(session);
        }
        self.times(times);
        Ok(self.figures)
    }

    async fn idle(mut self) -> Result<Figures> {
        let count = self.effort.idle;
        // What the first ones take, later ones share.
        let first = self.sessions(count / 4, 8).await?;
        settle().await;
        let before = Usage::of(self.server.usage)?.resident;
        let sessions = self.sessions(count, 8).await?;
        settle().await;
        let after = Usage::of(self.server.usage)?.resident;
        self.figure("memory", kib(before, after) / count as f64);
        drop((first, sessions));
        Ok(self.figures)
    }

    async fn idle_shared(mut self, bind: impl Fn() -> Result<C>) -> Result<Figures> {
        const SESSIONS: usize = 100;
        const CONNECTIONS: usize = 20;
        let mut first = Vec::new();
        // A connection that has been through it shows what the process itself takes.
        let warm = bind()?.connect().await?;
        let mut sessions = Vec::new();
        for _ in 1..SESSIONS {
            sessions.push(self.client.share(&warm).await?);
        }
        for _ in 0..CONNECTIONS {
            first.push(self.client.connect().await?);
        }
        settle().await;
        let before = Usage::of(self.server.usage)?.resident;
        for session in &first {
            for _ in 1..SESSIONS {
                sessions.push(self.client.share(session).await?);
            }
        }
        settle().await;
        let after = Usage::of(self.server.usage)?.resident;
        let count = CONNECTIONS * (SESSIONS - 1);
        self.figure("memory", kib(before, after) / count as f64);
        drop(sessions);
        Ok(self.figures)
    }

    async fn scale_sessions(mut self, count: usize) -> Result<Figures> {
        /// Made or used for the figures, however many there are besides.
        const SAMPLE: usize = 200;
        let mut all = self.sessions(count, 8).await?;
        let mark = self.mark()?;
        let more = self.sessions(SAMPLE, 8).await?;
        self.cpu(&mark, SAMPLE as f64)?;
        let set_up = self.figures.get("cpu").copied().unwrap_or_default();
        self.figure("set_up", set_up);
        drop(more);
        settle().await;
        // A request on one session after the other.
        all.truncate(count);
        for session in all.iter().take(SAMPLE) {
            request(session, 64).await?;
        }
        let mark = self.mark()?;
        let requests = (2 * count).max(self.effort.samples);
        for session in all.iter().cycle().take(requests) {
            request(session, 64).await?;
        }
        self.cpu(&mark, requests as f64)?;
        Ok(self.figures)
    }

    async fn scale_streams(mut self, count: usize) -> Result<Figures> {
        /// At a time, however many are open.
        const FLIGHT: usize = 10;
        let session = self.client.connect().await?;
        transfer(&session, true, true, 1 << 20).await?;
        let mut work = JoinSet::new();
        let samples = self.effort.samples;
        let rounds = (10 * samples / count).max(2);
        for _ in 0..FLIGHT {
            let session = session.clone();
            work.spawn(async move {
                let mut streams = Vec::new();
                for _ in 0..count / FLIGHT {
                    let mut stream = session.open_bi().await?;
                    ping::<C::Session>(&mut stream).await?;
                    streams.push(stream);
                }
                ok(streams)
            });
        }
        let mut open = Vec::new();
        while let Some(streams) = work.join_next().await {
            open.push(streams??);
        }
        let mut work = JoinSet::new();
        let mark = self.mark()?;
        for _ in 0..FLIGHT {
            let session = session.clone();
            work.spawn(async move {
                for _ in 0..samples / FLIGHT {
                    request(&session, 64).await?;
                }
                ok(())
            });
        }
        while let Some(requested) = work.join_next().await {
            requested??;
        }
        self.cpu(&mark, samples as f64)?;
        let requested = self.figures.get("cpu").copied().unwrap_or_default();
        self.figure("request", requested);
        let mut work = JoinSet::new();
        let mark = self.mark()?;
        for mut streams in open {
            work.spawn(async move {
                for _ in 0..rounds {
                    for stream in &mut streams {
                        ping::<C::Session>(stream).await?;
                    }
                }
                ok(streams)
            });
        }
        let mut open = Vec::new();
        while let Some(streams) = work.join_next().await {
            open.push(streams??);
        }
        self.cpu(&mark, (count * rounds) as f64)?;
        drop(open);
        Ok(self.figures)
    }
}

fn kib(before: u64, after: u64) -> f64 {
    (after as f64 - before as f64) / 1024.0
}

/// Waits until what follows a handshake is over.
async fn settle() {
    sleep(Duration::from_millis(300)).await;
}

/// Waits for `time`, during which none of `work` may end.
async fn alive(time: Duration, work: &mut JoinSet<Result<()>>) -> Result<()> {
    tokio::select! {
        () = sleep(time) => Ok(()),
        Some(ended) = work.join_next() => ended?,
    }
}

/// Sends and receives `bytes`, on a stream for each direction; the number of bytes in all.
async fn transfer<S: Session>(session: &S, up: bool, down: bool, bytes: u64) -> Result<u64> {
    let sent = async {
        if !up {
            return Ok(0);
        }
        let (mut send, mut recv) = session.open_bi().await?;
        let block = [SINK; BLOCK];
        let mut left = bytes;
        while left > 0 {
            let part = &block[..usize::try_from(left).map_or(BLOCK, |left| left.min(BLOCK))];
            send.write_all(part).await?;
            left -= part.len() as u64;
        }
        send.finish()?;
        recv.drain().await?;
        ok(bytes)
    };
    let received = async {
        if !down {
            return Ok(0);
        }
        let (mut send, mut recv) = session.open_bi().await?;
        let mut wanted = [SOURCE; 9];
        wanted[1..].copy_from_slice(&bytes.to_be_bytes());
        send.write_all(&wanted).await?;
        send.finish()?;
        ok(recv.drain().await?)
    };
    let (sent, received) = both(sent, received).await;
    Ok(sent? + received?)
}

async fn both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    tokio::join!(a, b)
}

/// Sends a request of `size` bytes on a new stream and reads the answer.
async fn request<S: Session>(session: &S, size: usize) -> Result<()> {
    let message = [ECHO; REQUEST];
    let mut answer = [0; REQUEST];
    let (mut send, mut recv) = session.open_bi().await?;
    send.write_all(&message[..size]).await?;
    send.finish()?;
    let mut len = 0;
    while let Some(read) = recv.read(&mut answer[len..]).await? {
        len += read;
    }
    if len == size {
        Ok(())
    } else {
        Err(format!("{len} bytes answered {size}").into())
    }
}

/// Sends 64 bytes on an open stream and reads their echo.
async fn ping<S: Session>((send, recv): &mut (S::Send, S::Recv)) -> Result<()> {
    let mut buffer = [PING; 64];
    send.write_all(&buffer).await?;
    let mut len = 0;
    while len < buffer.len() {
        let read = recv.read(&mut buffer[len..]).await?;
        len += read.ok_or("the stream ended before the echo")?;
    }
    Ok(())
}

/// Says which kind of error a block may end with.
fn ok<T>(value: T) -> Result<T> {
    Ok(value)
}
