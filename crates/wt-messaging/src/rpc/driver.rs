//! The task behind RPC on one stream.

use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, Id, JoinError, JoinSet},
    time::{Instant, timeout_at},
};
use wt_core::{BiStream, RecvStream, SendStream};

use super::{
    RpcEnd, RpcError, RpcErrorCode,
    message::{self, HEAD, Incoming, Item, RawRequest},
    pending::Clock,
    serving::Serving,
    shared::{Answer, Kept, Shared},
    wire::{self, BatchReply},
};
use crate::frame::{self, Decoder};

/// From how many unwritten bytes on no more answers and requests of our own are added.
const HIGH_WATER: usize = 64 * 1024;

/// Messages that are taken at a time, and handlers that run here for them. Fewer, and each costs more to write; more, and
/// the peer has nothing to do meanwhile.
const BATCH: usize = 32;

/// Reads requests and answers, has handlers run, and writes.
pub(super) struct Driver {
    shared: Arc<Shared>,
    send: SendStream,
    recv: RecvStream,
    decoder: Decoder<HEAD>,
    out: BytesMut,
    /// What was written last, in bytes: the next time it may be as much.
    last: usize,
    /// Frames of our calls.
    commands: mpsc::Receiver<BytesMut>,
    running: JoinSet<(Answer, Kept)>,
    jobs: HashMap<Id, Job>,
    /// Requests that wait for a handler to end, and what batch they are of.
    queue: VecDeque<(RawRequest, Option<u64>)>,
    queued_bytes: usize,
    batches: HashMap<u64, BatchReply>,
    next_batch: u64,
    /// How many handlers have begun here in this turn.
    here: usize,
    /// Others have had their turn before what is in `out` is written.
    stepped_back: bool,
    clock: Clock,
}

impl Drop for Driver {
    fn drop(&mut self) {
        // The runtime went away before the stream: nobody must wait for it forever.
        self.shared.abandon();
    }
}

/// A request whose handler runs.
struct Job {
    /// `None` for a notification.
    id: Option<Bytes>,
    batch: Option<u64>,
    abort: AbortHandle,
}

impl Driver {
    pub(super) fn new(
        shared: Arc<Shared>,
        stream: BiStream,
        commands: mpsc::Receiver<BytesMut>,
    ) -> Self {
        let (send, recv) = stream.split();
        Self {
            shared,
            send,
            recv,
            decoder: Decoder::default(),
            out: BytesMut::new(),
            last: 0,
            commands,
            running: JoinSet::new(),
            jobs: HashMap::new(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            batches: HashMap::new(),
            next_batch: 0,
            here: 0,
            stepped_back: false,
            clock: Clock::new(),
        }
    }

    /// Runs to the end, which comes at the latest with the sign to stop.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let end = tokio::select! {
            biased;
            _ = stop.changed() => RpcEnd::Closed,
            end = self.turns() => end,
        };
        tracing::debug!(%end, "RPC ends");
        self.shared.refuse(&end);
        // Nobody sends any more who is not told that it was in vain.
        self.commands.close();
        self.shared.forget();
        let deadline = Instant::now() + self.shared.config.close_timeout;
        let in_order = match &end {
            RpcEnd::Closed => {
                self.running.shutdown().await;
                self.queue.clear();
                self.finish(deadline).await
            }
            // The peer may have finished its side behind its last call, and still read.
            RpcEnd::Finished => self.finish(deadline).await,
            _ => false,
        };
        if !in_order {
            self.send.reset(0);
        }
        self.recv.stop(0);
        self.running.shutdown().await;
        self.shared.over(end);
    }

    /// Writes what is there and what still comes of handlers, and ends the stream.
    async fn finish(&mut self, deadline: Instant) -> bool {
        while !(self.out.is_empty() && self.running.is_empty() && self.queue.is_empty()) {
            match timeout_at(deadline, self.turn(false)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return false,
            }
        }
        if self.send.finish().is_err() {
            return false;
        }
        // A stream that is finished delivers also when nobody waits for it.
        let _ = timeout_at(deadline, self.send.closed()).await;
        true
    }

    /// Deals with what happens until the end.
    async fn turns(&mut self) -> RpcEnd {
        loop {
            if let Err(end) = self.turn(true).await {
                return end;
            }
            // A peer that never pauses must not keep the thread, nor the sign to stop from being seen.
            for _ in 0..=std::mem::take(&mut self.here) {
                tokio::task::consume_budget().await;
            }
        }
    }

    /// Waits until something happens and deals with it.
    async fn turn(&mut self, open: bool) -> Result<(), RpcEnd> {
        poll_fn(|cx| self.poll_turn(open, cx)).await
    }

    /// Takes what is there, then writes what comes of it in one go.
    fn poll_turn(&mut self, open: bool, cx: &mut Context<'_>) -> Poll<Result<(), RpcEnd>> {
        let mut progress = self.stepped_back;
        let max = self.shared.config.max_message_size;
        if open && !self.stepped_back {
            for _ in 0..BATCH {
                let payload = wire::poll_payload(&mut self.recv, &mut self.decoder, max, cx);
                let Poll::Ready(payload) = payload else { break };
                self.incoming(&payload?)?;
                progress = true;
            }
        }
        while self.out.len() < HIGH_WATER {
            let done = self.running.poll_join_next_with_id(cx);
            let Poll::Ready(Some(done)) = done else { break };
            self.done(done);
            progress = true;
        }
        self.start_queued();
        while open && self.out.len() < HIGH_WATER {
            let Poll::Ready(Some(frame)) = self.commands.poll_recv(cx) else {
                break;
            };
            self.make_room();
            self.out.extend_from_slice(&frame);
            progress = true;
        }
        // Calls are there before their frames.
        self.clock.poll(&self.shared, cx);
        // Where many call or are called, more is about to follow: it leaves together.
        let more = !self.running.is_empty() || self.shared.calls_at_a_time();
        if progress && more && !self.stepped_back {
            self.stepped_back = true;
            // Woken while it runs, a task goes to the end of the queue.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.stepped_back = false;
        if !self.out.is_empty() {
            self.last = self.out.len();
            let written = frame::poll_write(&mut self.send, &mut self.out, cx);
            if let Poll::Ready(written) = written {
                written?;
                progress = true;
            }
        }
        if progress {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }

    fn incoming(&mut self, payload: &Bytes) -> Result<(), RpcEnd> {
        match message::parse(payload, self.shared.strict()) {
            Incoming::One(item) => self.item(item, None),
            Incoming::Batch(items) => self.batch(items),
        }
        // What was written at once, errors, cannot wait for room like answers of handlers. Who sends so
        // much that these alone pile up does not read.
        let most = HIGH_WATER.saturating_add(self.shared.config.max_message_size.saturating_mul(2));
        if self.out.len() > most {
            return Err(RpcEnd::Overloaded);
        }
        Ok(())
    }

    fn batch(&mut self, items: Vec<Item>) {
        let left = items.iter().filter(|item| item.is_answered()).count();
        let batch = self.next_batch;
        self.next_batch += 1;
        if left > 0 {
            let config = &self.shared.config;
            let reply = BatchReply::new(left, config.strict, config.max_message_size);
            self.batches.insert(batch, reply);
        }
        for item in items {
            self.item(item, Some(batch));
        }
    }

    fn item(&mut self, item: Item, batch: Option<u64>) {
        match item {
            Item::Request(request) if request.id.is_none() => match request.cancels() {
                Some(id) => self.cancel(&id),
                None => self.request(request, batch),
            },
            Item::Request(request) => self.request(request, batch),
            Item::Response { id, outcome } => self.shared.answered(&id, outcome),
            Item::Invalid { id, error } => {
                let error = Err(self.shared.sign(error));
                self.reply(id.as_deref().unwrap_or(b"null"), &error, batch);
            }
            Item::Ignored => tracing::debug!("the peer sent neither a request nor an answer"),
        }
    }

    fn request(&mut self, request: RawRequest, batch: Option<u64>) {
        let config = &self.shared.config;
        if self.queue.is_empty() && self.may_start() {
            self.start(request, batch);
            return;
        }
        let bytes = self.queued_bytes.saturating_add(request.size());
        if self.queue.len() < config.queue && bytes <= config.queue_bytes {
            self.queued_bytes = bytes;
            self.queue.push_back((request, batch));
            return;
        }
        let Some(id) = request.id else {
            let method = &request.method;
            tracing::warn!(method, "a notification is dropped: too many requests wait");
            return;
        };
        let busy = RpcError::new(RpcErrorCode::BUSY, "Too many requests wait.");
        let busy = Err(self.shared.sign(busy));
        self.reply(&id, &busy, batch);
    }

    /// Returns whether another handler may run.
    fn may_start(&self) -> bool {
        self.running.len() < self.shared.config.concurrency.max(1) && self.shared.has_room()
    }

    fn start_queued(&mut self) {
        while self.may_start() {
            let Some((request, batch)) = self.queue.pop_front() else {
                return;
            };
            self.queued_bytes -= request.size();
            self.start(request, batch);
        }
    }

    fn start(&mut self, request: RawRequest, batch: Option<u64>) {
        let id = request.id.clone();
        let mut serving = Serving::new(&self.shared, request);
        // Without a task where it makes none wait, and where what it answers has room.
        if serving.is_quick() && self.here < BATCH && self.out.len() < HIGH_WATER {
            self.here += 1;
            if let Some(answer) = serving.begin() {
                if let Some(id) = id {
                    self.reply(&id, &answer, batch);
                }
                return;
            }
        }
        let shared = self.shared.clone();
        let work = async move { shared.keep(serving.await) };
        let abort = self.running.spawn(work);
        self.jobs.insert(abort.id(), Job { id, batch, abort });
    }

    /// Drops the handler of a request that is not wanted any more. Its answer says so.
    fn cancel(&mut self, id: &Bytes) {
        let running = self.jobs.values().find(|job| job.id.as_ref() == Some(id));
        if let Some(job) = running {
            job.abort.abort();
            return;
        }
        let waits = |(request, _): &(RawRequest, _)| request.id.as_ref() == Some(id);
        if let Some(at) = self.queue.iter().position(waits)
            && let Some((request, batch)) = self.queue.remove(at)
        {
            self.queued_bytes -= request.size();
            self.cancelled(id, batch);
        }
    }

    fn cancelled(&mut self, id: &[u8], batch: Option<u64>) {
        let error = RpcError::new(RpcErrorCode::CANCELLED, "The call was cancelled.");
        self.reply(id, &Err(self.shared.sign(error)), batch);
    }

    fn done(&mut self, done: Result<(Id, (Answer, Kept)), JoinError>) {
        let (task, answer, _kept) = match done {
            Ok((task, (answer, kept))) => (task, Some(answer), Some(kept)),
            Err(error) => (error.id(), None, None),
        };
        let Some(Job { id, batch, .. }) = self.jobs.remove(&task) else {
            return;
        };
        match (id, answer) {
            (None, _) => {}
            (Some(id), Some(answer)) => self.reply(&id, &answer, batch),
            (Some(id), None) => self.cancelled(&id, batch),
        }
    }

    /// Reserves at once what is likely to be written next.
    fn make_room(&mut self) {
        if self.out.is_empty() {
            self.out.reserve(self.last.min(HIGH_WATER));
        }
    }

    fn reply(&mut self, id: &[u8], outcome: &Answer, batch: Option<u64>) {
        let config = &self.shared.config;
        let (strict, max) = (config.strict, config.max_message_size);
        self.make_room();
        let start = self.out.len();
        self.out.extend_from_slice(&[0; HEAD]);
        match batch {
            None => wire::reply(&mut self.out, strict, max, id, outcome),
            Some(batch) => {
                let reply = self.batches.get_mut(&batch);
                let Some(all) = reply.and_then(|reply| reply.add(id, outcome)) else {
                    self.out.truncate(start);
                    return;
                };
                self.batches.remove(&batch);
                self.out.extend_from_slice(&all);
            }
        }
        message::seal_at(&mut self.out, start);
    }
}
