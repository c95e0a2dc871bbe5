//! What the layers above streams cost: structured messages beside plain frames, and RPC beside raw requests, in one run.
//!
//! ```console
//! $ cargo run --release -p wt-benches --bin messages
//! ```
//!
//! Client and servers are processes of their own, each on a runtime with one thread, over loopback. Rounds of all ways
//! take turns, so that whatever else the machine does meets them all; each figure is the median.

#[path = "../pair.rs"]
mod pair;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use clap::{Parser, ValueEnum};
use futures_util::SinkExt;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Notify, oneshot},
    task::JoinSet,
};
use wt::{
    RecvStream, SendStream, Session,
    messaging::{
        rpc::{Methods, Rpc, RpcConfig},
        serializer::{MessagePack, Serializer},
        structured::{StructuredRecv, StructuredSend},
    },
};

use crate::pair::{COUNT, Peer, Result, Usage, accept_session, median};

/// Measures what messages and RPC cost.
#[derive(Debug, Parser)]
struct Args {
    /// Rounds for each way.
    #[arg(long, default_value_t = 21)]
    rounds: usize,
    /// Milliseconds that a round takes.
    #[arg(long, default_value_t = 200)]
    time: u64,
    /// Measures only these ways.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Way>,
    /// Shows only that it works.
    #[arg(long)]
    smoke: bool,
    #[arg(long, hide = true)]
    serve: Option<Way>,
}

/// What a client does and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Way {
    Frames,
    Messages,
    FramesTogether,
    MessagesTogether,
    ListsTogether,
    RawCallers,
    RawPipelined,
    RawEchoed,
    RpcStream,
    RawStreams,
    RpcStreams,
}

/// The ways, their names for people, what each is compared with, and the least ratio to that.
const WAYS: [(Way, &str, Way, f64); 11] = [
    (Way::Frames, "256 B frames, a write each", Way::Frames, 0.0),
    (Way::Messages, "256 B MessagePack, `send`", Way::Frames, 0.8),
    (
        Way::FramesTogether,
        "256 B frames, 64 KiB a write",
        Way::FramesTogether,
        0.0,
    ),
    (
        Way::MessagesTogether,
        "256 B MessagePack, `feed`",
        Way::FramesTogether,
        0.8,
    ),
    (
        Way::ListsTogether,
        "256 B MessagePack lists, `feed`",
        Way::FramesTogether,
        0.8,
    ),
    (
        Way::RawCallers,
        "one stream, 64 B requests",
        Way::RawCallers,
        0.0,
    ),
    (
        Way::RawPipelined,
        "one stream, 64 B requests, no callers",
        Way::RawCallers,
        0.0,
    ),
    (
        Way::RawEchoed,
        "one stream, 64 B requests, echoed unseen",
        Way::RawCallers,
        0.0,
    ),
    (Way::RpcStream, "one stream, RPC", Way::RawCallers, 0.7),
    (
        Way::RawStreams,
        "a stream per call, 64 B requests",
        Way::RawStreams,
        0.0,
    ),
    (
        Way::RpcStreams,
        "a stream per call, RPC",
        Way::RawStreams,
        0.7,
    ),
];

/// Calls at a time.
const CALLERS: usize = 64;
/// Bytes in a request and in its answer.
const REQUEST: usize = 64;
/// Bytes in a message.
const MESSAGE: usize = 256;
/// Bytes that are written at a time where messages leave together.
const TOGETHER: usize = 64 * 1024;

/// What an application might send: 256 bytes of MessagePack.
#[derive(Debug, Serialize, Deserialize)]
struct Update {
    id: u64,
    room: String,
    x: f64,
    y: f64,
    text: String,
}

impl Update {
    /// Makes one that has as many bytes whether it is written with the names of its fields or as a list.
    fn new(id: u64, lists: bool) -> Self {
        let names = "idroomxytext".len() + 5;
        Self {
            id: u64::MAX - id,
            room: "the second floor".to_owned(),
            x: 1.5,
            y: -1.5,
            text: "x".repeat(if lists { 192 + names } else { 192 }),
        }
    }
}

wt::messaging::messages! {
    enum Message {
        Update(Update) = 1,
    }
}

fn encode(update: &Update, lists: bool) -> Result<BytesMut> {
    let mut out = BytesMut::new();
    MessagePack::new()
        .lists(lists)
        .encode_to(update, &mut out)?;
    Ok(out)
}

/// A frame: a number for what it is, its length, its bytes; as many as a structured message has.
fn put_frame(out: &mut BytesMut, payload: &[u8]) {
    out.put_u16(1);
    out.put_u32(payload.len() as u32);
    out.put_slice(payload);
}

/// Takes frames out of the bytes of a stream.
#[derive(Default)]
struct Frames {
    rest: BytesMut,
    input: Bytes,
}

impl Frames {
    fn push(&mut self, chunk: Bytes) {
        if self.rest.is_empty() {
            self.input = chunk;
        } else {
            self.rest.extend_from_slice(&chunk);
            self.input = self.rest.split().freeze();
        }
    }

    fn next(&mut self) -> Option<Bytes> {
        let frame = self.input.get(2..6).and_then(|len| {
            let len = len.iter().fold(0, |n, &b| n << 8 | usize::from(b));
            (self.input.len() >= 6 + len).then_some(len)
        });
        match frame {
            Some(len) => {
                self.input.advance(6);
                Some(self.input.split_to(len))
            }
            None => {
                self.rest
                    .extend_from_slice(&std::mem::take(&mut self.input));
                None
            }
        }
    }
}

// ---- the server

/// Serves one session until the process ends.
async fn serve(way: Way) -> Result {
    let (_server, session) = accept_session().await?;
    match way {
        Way::Frames | Way::FramesTogether => {
            let mut recv = session.accept_uni().await?;
            let mut frames = Frames::default();
            while let Some(chunk) = recv.read_chunk(TOGETHER).await? {
                frames.push(chunk);
                while frames.next().is_some() {
                    COUNT.fetch_add(1, Relaxed);
                }
            }
        }
        Way::Messages | Way::MessagesTogether | Way::ListsTogether => {
            let recv = session.accept_uni().await?;
            let mut recv = StructuredRecv::<Message, _>::new(recv, MessagePack::new());
            while let Some(Message::Update(update)) = recv.recv().await? {
                std::hint::black_box(&update);
                COUNT.fetch_add(1, Relaxed);
            }
        }
        Way::RawPipelined | Way::RawEchoed => {
            let (mut send, mut recv) = session.accept_bi().await?.split();
            // No server of requests, but what the stream could do.
            while let Some(chunk) = recv.read_chunk(TOGETHER).await? {
                send.write_chunk(chunk).await?;
            }
        }
        Way::RawCallers => {
            let (mut send, mut recv) = session.accept_bi().await?.split();
            // The least that a server does which takes requests one by one.
            let mut frame = [0; 6 + REQUEST];
            loop {
                recv.read_exact(&mut frame).await?;
                send.write_all(&frame).await?;
            }
        }
        Way::RawStreams => loop {
            let (mut send, mut recv) = session.accept_bi().await?.split();
            tokio::spawn(async move {
                let mut request = BytesMut::new();
                while let Some(chunk) = recv.read_chunk(TOGETHER).await? {
                    request.extend_from_slice(&chunk);
                }
                send.write_chunk(request.freeze()).await?;
                send.finish()?;
                Result::Ok(())
            });
        },
        Way::RpcStream => {
            let rpc = Rpc::accept(&session, methods(), RpcConfig::new()).await?;
            rpc.closed().await;
        }
        Way::RpcStreams => {
            let rpc = Rpc::over_session(&session, methods(), RpcConfig::new());
            rpc.closed().await;
        }
    }
    Ok(())
}

fn methods() -> Methods {
    Methods::new().method("echo", |text: String| async move { Ok(text) })
}

// ---- the client

/// What stays for all rounds.
enum Doing {
    Frames(SendStream, bool),
    Messages {
        send: StructuredSend<Message, MessagePack>,
        together: bool,
        lists: bool,
    },
    Pipelined(SendStream, RecvStream),
    Callers(Arc<Callers>),
    Rpc(Rpc),
    Streams(Session),
}

impl Doing {
    async fn start(way: Way, session: &Session) -> Result<Self> {
        Ok(match way {
            Way::Frames => Self::Frames(session.open_uni().await?, false),
            Way::FramesTogether => Self::Frames(session.open_uni().await?, true),
            Way::Messages | Way::MessagesTogether | Way::ListsTogether => {
                let lists = way == Way::ListsTogether;
                let format = MessagePack::new().lists(lists);
                Self::Messages {
                    send: StructuredSend::new(session.open_uni().await?, format),
                    together: way != Way::Messages,
                    lists,
                }
            }
            Way::RawPipelined => {
                let (send, recv) = session.open_bi().await?.split();
                Self::Pipelined(send, recv)
            }
            Way::RawCallers | Way::RawEchoed => {
                let (send, recv) = session.open_bi().await?.split();
                let callers = Arc::<Callers>::default();
                tokio::spawn(callers.clone().write(send));
                tokio::spawn(callers.clone().read(recv));
                Self::Callers(callers)
            }
            Way::RpcStream => {
                Self::Rpc(Rpc::open(session, Methods::new(), RpcConfig::new()).await?)
            }
            Way::RawStreams => Self::Streams(session.clone()),
            Way::RpcStreams => {
                Self::Rpc(Rpc::over_session(session, Methods::new(), RpcConfig::new()))
            }
        })
    }

    /// Does it for a while; returns how often, where the answers tell.
    async fn run(&mut self, time: Duration) -> Result<u64> {
        let start = Instant::now();
        let mut sent = 0_u64;
        match self {
            Self::Frames(send, together) => {
                let mut payload = encode(&Update::new(0, false), false)?;
                let mut out = BytesMut::new();
                while !sent.is_multiple_of(16) || start.elapsed() < time {
                    // Each has other contents, as in life.
                    payload[10..18].copy_from_slice(&sent.to_be_bytes());
                    put_frame(&mut out, &payload);
                    if !*together || out.len() >= TOGETHER {
                        send.write_all(&out).await?;
                        out.clear();
                    }
                    sent += 1;
                }
                send.write_all(&out).await?;
            }
            Self::Messages {
                send,
                together,
                lists,
            } => {
                while !sent.is_multiple_of(16) || start.elapsed() < time {
                    let message = Update::new(sent, *lists);
                    if *together {
                        send.feed(message.into()).await?;
                    } else {
                        send.send(message).await?;
                    }
                    sent += 1;
                }
                send.flush().await?;
            }
            Self::Pipelined(send, recv) => {
                let mut frames = Frames::default();
                let mut out = BytesMut::new();
                let (mut asked, mut answered) = (0, 0);
                while answered < asked || start.elapsed() < time {
                    let more = start.elapsed() < time;
                    while more && asked < answered + CALLERS as u64 {
                        put_frame(&mut out, &[asked as u8; REQUEST]);
                        asked += 1;
                    }
                    send.write_all(&out).await?;
                    out.clear();
                    frames.push(recv.read_chunk(TOGETHER).await?.ok_or("ended")?);
                    while frames.next().is_some() {
                        answered += 1;
                    }
                }
                sent = answered;
            }
            Self::Callers(callers) => {
                let callers = callers.clone();
                sent = calls(start, time, move || {
                    let callers = callers.clone();
                    async move {
                        let answer = callers.call(&[7; REQUEST]).await?;
                        check(answer.len())
                    }
                })
                .await?;
            }
            Self::Streams(session) => {
                let session = session.clone();
                sent = calls(start, time, move || {
                    let session = session.clone();
                    async move {
                        let (mut send, mut recv) = session.open_bi().await?.split();
                        send.write_all(&[7; REQUEST]).await?;
                        send.finish()?;
                        let mut answer = 0;
                        while let Some(chunk) = recv.read_chunk(TOGETHER).await? {
                            answer += chunk.len();
                        }
                        check(answer)
                    }
                })
                .await?;
            }
            Self::Rpc(rpc) => {
                let rpc = rpc.clone();
                let text = "x".repeat(REQUEST);
                sent = calls(start, time, move || {
                    let call = rpc.call::<String>("echo", (&text,));
                    async move { check(call.await?.len()) }
                })
                .await?;
            }
        }
        Ok(sent)
    }
}

fn check(len: usize) -> Result {
    if len == REQUEST {
        Ok(())
    } else {
        Err(format!("an answer has {len} bytes").into())
    }
}

/// Has as many tasks as there are callers call again and again; returns how often they did.
async fn calls<F>(
    start: Instant,
    time: Duration,
    call: impl Fn() -> F + Clone + Send + 'static,
) -> Result<u64>
where
    F: Future<Output = Result> + Send,
{
    let mut tasks = JoinSet::new();
    let count = Arc::new(AtomicU64::new(0));
    for _ in 0..CALLERS {
        let (call, count) = (call.clone(), count.clone());
        tasks.spawn(async move {
            while start.elapsed() < time {
                call().await?;
                count.fetch_add(1, Relaxed);
            }
            Result::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(count.load(Relaxed))
}

/// Callers who share a stream: the least that they can have, with answers in order.
#[derive(Default)]
struct Callers {
    state: Mutex<Waiting>,
    written: Notify,
}

#[derive(Default)]
struct Waiting {
    out: BytesMut,
    callers: VecDeque<oneshot::Sender<Bytes>>,
}

impl Callers {
    fn state(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call(&self, request: &[u8]) -> Result<Bytes> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.state();
            put_frame(&mut state.out, request);
            state.callers.push_back(sender);
        }
        self.written.notify_one();
        Ok(receiver.await?)
    }

    async fn write(self: Arc<Self>, mut send: SendStream) -> Result {
        loop {
            self.written.notified().await;
            let out = std::mem::take(&mut self.state().out);
            send.write_all(&out).await?;
        }
    }

    async fn read(self: Arc<Self>, mut recv: RecvStream) -> Result {
        let mut frames = Frames::default();
        while let Some(chunk) = recv.read_chunk(TOGETHER).await? {
            frames.push(chunk);
            let mut state = self.state();
            while let Some(answer) = frames.next() {
                let caller = state.callers.pop_front().ok_or("nobody asked")?;
                // Who asked may be gone.
                let _ = caller.send(answer);
            }
        }
        Ok(())
    }
}

// ---- the rounds

struct Pair {
    way: Way,
    name: &'static str,
    other: Way,
    bar: f64,
    peer: Peer,
    doing: Doing,
    figures: Vec<Figures>,
}

/// What a round found.
#[derive(Clone, Copy)]
struct Figures {
    /// Messages or calls per second.
    rate: f64,
    /// Nanoseconds of CPU time for each, of client and server.
    cpu: [f64; 2],
}

impl Pair {
    async fn start(
        (way, name, other, bar): (Way, &'static str, Way, f64),
    ) -> Result<(Self, Session)> {
        let word = way.to_possible_value().ok_or("a way without a name")?;
        let peer = Peer::start(word.get_name())?;
        let session = peer.session().await?;
        let doing = Doing::start(way, &session).await?;
        let pair = Self {
            way,
            name,
            other,
            bar,
            peer,
            doing,
            figures: Vec::new(),
        };
        Ok((pair, session))
    }

    async fn round(&mut self, time: Duration) -> Result<Figures> {
        let (here, before) = (Usage::here(), self.peer.usage()?);
        let start = Instant::now();
        let count = self.doing.run(time).await?;
        let counts = matches!(self.doing, Doing::Frames(..) | Doing::Messages { .. });
        while counts && self.peer.usage()?.count < before.count + count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let (seconds, count) = (start.elapsed().as_secs_f64(), count as f64);
        let each = |from: Usage, to: Usage| (to.cpu - from.cpu).as_nanos() as f64 / count;
        Ok(Figures {
            rate: count / seconds,
            cpu: [each(here, Usage::here()), each(before, self.peer.usage()?)],
        })
    }

    fn median(&self, of: impl FnMut(&Figures) -> f64) -> f64 {
        median(self.figures.iter().map(of).collect())
    }
}

async fn run(args: Args) -> Result {
    let (rounds, time) = match args.smoke {
        true => (1, Duration::from_millis(20)),
        false => (args.rounds.max(1), Duration::from_millis(args.time.max(1))),
    };
    for lists in [false, true] {
        let size = encode(&Update::new(0, lists), lists)?.len();
        if size != MESSAGE {
            return Err(format!("a message has {size} bytes").into());
        }
    }
    let (mut pairs, mut sessions) = (Vec::new(), Vec::new());
    for way in WAYS {
        if args.only.is_empty() || args.only.contains(&way.0) {
            let (pair, session) = Pair::start(way).await?;
            pairs.push(pair);
            sessions.push(session);
        }
    }
    // The first round warms up.
    for n in 0..=rounds {
        for turn in 0..pairs.len() {
            // Each is first now and then.
            let at = (n + turn) % pairs.len();
            let figures = pairs[at].round(time).await?;
            if n > 0 {
                pairs[at].figures.push(figures);
            }
        }
    }
    println!("median of {rounds} rounds of {time:?}");
    for pair in &pairs {
        let ratio = pairs
            .iter()
            .find(|other| other.way == pair.other)
            .map(|other| {
                let both = pair.figures.iter().zip(&other.figures);
                median(both.map(|(a, b)| a.rate / b.rate).collect())
            });
        let verdict = match ratio {
            _ if pair.bar == 0.0 => String::new(),
            None => String::new(),
            Some(ratio) if ratio >= pair.bar => format!("at least {}: yes", pair.bar),
            Some(_) => format!("at least {}: NO", pair.bar),
        };
        println!(
            "{:<38} {:>8.0}/s  {:>5.2} x, CPU {:>6.0} + {:>6.0} ns  {verdict}",
            pair.name,
            pair.median(|f| f.rate),
            ratio.unwrap_or(1.0),
            pair.median(|f| f.cpu[0]),
            pair.median(|f| f.cpu[1]),
        );
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
