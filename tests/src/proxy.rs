//! A network between two peers that loses, repeats, reorders, delays and cuts, the same way for the same seed.

#![allow(clippy::unwrap_used, reason = "a test network fails by panicking")]

use std::{
    collections::{HashMap, hash_map::Entry},
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    net::UdpSocket,
    sync::mpsc,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, sleep_until},
};

/// The most packets that are on their way in one direction.
const UNDER_WAY: usize = 65_536;

/// What happens to packets on their way.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "of use in tests only")]
pub struct Faults {
    /// Packets in 1000 that are lost.
    pub lost: u32,
    /// Packets in 1000 that arrive twice.
    pub doubled: u32,
    /// Packets in 1000 that arrive after some that were sent later.
    pub late: u32,
    /// Time that a packet takes in one direction; it does not change their order.
    pub delay: Duration,
}

/// A proxy in front of a server.
#[derive(Debug)]
pub struct Proxy {
    /// The port to connect to instead of the server's.
    pub port: u16,
    counters: Arc<Counters>,
    cut: Arc<AtomicBool>,
    task: JoinHandle<()>,
    seed: u64,
}

#[derive(Debug, Default)]
struct Counters {
    seen: AtomicU64,
    lost: AtomicU64,
}

/// SplitMix64: small, and good enough to draw lots.
#[derive(Debug)]
struct Lots(u64);

impl Lots {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn hits(&mut self, per_mille: u32) -> bool {
        self.draw() % 1000 < u64::from(per_mille)
    }
}

/// A packet under way.
#[derive(Debug)]
struct Packet {
    bytes: Vec<u8>,
    from: Arc<UdpSocket>,
    to: SocketAddr,
}

impl Packet {
    async fn arrive(self) {
        // An error is that of an earlier packet.
        let _ = self.from.send_to(&self.bytes, self.to).await;
    }
}

/// One direction of the network.
#[derive(Debug)]
struct Way {
    faults: Faults,
    lots: Lots,
    counters: Arc<Counters>,
    /// Packets that take their time, and arrive in order.
    line: mpsc::Sender<(Instant, Packet)>,
}

impl Way {
    fn new(faults: Faults, seed: u64, counters: Arc<Counters>) -> Self {
        let (line, packets) = mpsc::channel(UNDER_WAY);
        if !faults.delay.is_zero() {
            tokio::spawn(deliver(packets));
        }
        Self {
            faults,
            lots: Lots(seed),
            counters,
            line,
        }
    }

    /// Carries a packet.
    async fn carry(&mut self, socket: &Arc<UdpSocket>, to: SocketAddr, packet: &[u8]) {
        self.counters.seen.fetch_add(1, SeqCst);
        // All lots are drawn for each packet, so that one fault does not change the fate of others.
        let (lost, doubled, late) = (
            self.lots.hits(self.faults.lost),
            self.lots.hits(self.faults.doubled),
            self.lots.hits(self.faults.late),
        );
        if lost {
            self.counters.lost.fetch_add(1, SeqCst);
            return;
        }
        for _ in 0..=u32::from(doubled) {
            let packet = Packet {
                bytes: packet.to_vec(),
                from: socket.clone(),
                to,
            };
            let delay = self.faults.delay;
            if late {
                tokio::spawn(async move {
                    sleep(delay + Duration::from_millis(5)).await;
                    packet.arrive().await;
                });
            } else if delay.is_zero() {
                packet.arrive().await;
            } else if self
                .line
                .try_send((Instant::now() + delay, packet))
                .is_err()
            {
                // As in any network, what does not fit is lost.
                self.counters.lost.fetch_add(1, SeqCst);
            }
        }
    }
}

/// Lets packets arrive in order when their time has come; ends with the sender.
async fn deliver(mut line: mpsc::Receiver<(Instant, Packet)>) {
    while let Some((at, packet)) = line.recv().await {
        sleep_until(at).await;
        packet.arrive().await;
    }
}

impl Proxy {
    /// Starts a proxy in front of a port of 127.0.0.1.
    ///
    /// # Panics
    ///
    /// When there is no socket for it.
    pub async fn start(server: u16, faults: Faults, seed: u64) -> Self {
        let front = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
        let port = front.local_addr().unwrap().port();
        let counters = Arc::<Counters>::default();
        let cut = Arc::<AtomicBool>::default();
        let task = tokio::spawn(run(
            front,
            (Ipv4Addr::LOCALHOST, server).into(),
            (faults, seed),
            (counters.clone(), cut.clone()),
        ));
        Self {
            port,
            counters,
            cut,
            task,
            seed,
        }
    }

    /// Lets nothing through any more, or everything again.
    pub fn cut(&self, cut: bool) {
        self.cut.store(cut, SeqCst);
    }

    /// Returns how many packets came to the proxy, and how many of them it lost.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (
            self.counters.seen.load(SeqCst),
            self.counters.lost.load(SeqCst),
        )
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        if std::thread::panicking() {
            let (seen, lost) = self.counts();
            eprintln!(
                "the network had seed {:#x}; it lost {lost} of {seen} packets",
                self.seed
            );
        }
    }
}

/// Carries packets between any number of clients and the server.
async fn run(
    front: Arc<UdpSocket>,
    server: SocketAddr,
    (faults, seed): (Faults, u64),
    (counters, cut): (Arc<Counters>, Arc<AtomicBool>),
) {
    let mut backs = HashMap::<SocketAddr, Arc<UdpSocket>>::new();
    // They end with this task.
    let mut ways_back = JoinSet::new();
    let mut there = Way::new(faults, seed, counters.clone());
    let mut buffer = vec![0; 65_536];
    loop {
        // An error is that of an earlier packet to a client that has gone.
        let Ok((len, client)) = front.recv_from(&mut buffer).await else {
            continue;
        };
        if cut.load(SeqCst) {
            continue;
        }
        let number = backs.len() as u64 + 1;
        if let Entry::Vacant(entry) = backs.entry(client) {
            let back = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
            let way = Way::new(faults, seed ^ number << 32, counters.clone());
            let answers = answers(back.clone(), front.clone(), client, way, cut.clone());
            ways_back.spawn(answers);
            entry.insert(back);
        }
        there.carry(&backs[&client], server, &buffer[..len]).await;
    }
}

/// Carries the server's packets to one client.
async fn answers(
    back: Arc<UdpSocket>,
    front: Arc<UdpSocket>,
    client: SocketAddr,
    mut way: Way,
    cut: Arc<AtomicBool>,
) {
    let mut buffer = vec![0; 65_536];
    loop {
        let Ok((len, _)) = back.recv_from(&mut buffer).await else {
            continue;
        };
        if !cut.load(SeqCst) {
            way.carry(&front, client, &buffer[..len]).await;
        }
    }
}
