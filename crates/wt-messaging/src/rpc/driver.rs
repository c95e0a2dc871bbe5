//! The task behind RPC on one stream.

use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    sync::Arc,
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
    handle::{Answer, Shared},
    message::{self, HEAD, Incoming, Item, RawRequest},
    methods,
    wire::{self, BatchReply},
};
use crate::frame::{self, Decoder};

/// From how many unwritten bytes on no more answers and requests of our own are added.
const HIGH_WATER: usize = 64 * 1024;

/// Reads requests and answers, has handlers run, and writes.
pub(super) struct Driver {
    shared: Arc<Shared>,
    send: SendStream,
    recv: RecvStream,
    decoder: Decoder<HEAD>,
    out: BytesMut,
    /// Frames of our calls.
    commands: mpsc::Receiver<Bytes>,
    stop: watch::Receiver<bool>,
    running: JoinSet<Answer>,
    jobs: HashMap<Id, Job>,
    /// Requests that wait for a handler to end, and what batch they are of.
    queue: VecDeque<(RawRequest, Option<u64>)>,
    queued_bytes: usize,
    batches: HashMap<u64, BatchReply>,
    next_batch: u64,
}

/// A request whose handler runs.
struct Job {
    /// `None` for a notification.
    id: Option<Bytes>,
    batch: Option<u64>,
    abort: AbortHandle,
}

/// What happened next.
enum Event {
    Written,
    Payload(Bytes),
    Done(Result<(Id, Answer), JoinError>),
    Command(Bytes),
}

impl Driver {
    pub(super) fn new(
        shared: Arc<Shared>,
        stream: BiStream,
        commands: mpsc::Receiver<Bytes>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let (send, recv) = stream.split();
        Self {
            shared,
            send,
            recv,
            decoder: Decoder::default(),
            out: BytesMut::new(),
            commands,
            stop,
            running: JoinSet::new(),
            jobs: HashMap::new(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            batches: HashMap::new(),
            next_batch: 0,
        }
    }

    /// Runs to the end.
    pub(super) async fn run(mut self) {
        let end = loop {
            if let Err(end) = self.turn(true).await {
                break end;
            }
        };
        tracing::debug!(%end, "RPC ends");
        // Nobody sends any more who is not told that it was in vain.
        self.commands.close();
        self.shared.refuse(&end);
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

    /// Waits for the next thing to happen and deals with it.
    async fn turn(&mut self, open: bool) -> Result<(), RpcEnd> {
        self.start_queued();
        let Self {
            shared,
            send,
            recv,
            decoder,
            out,
            commands,
            stop,
            running,
            ..
        } = self;
        let max = shared.config.max_message_size;
        let (empty, room) = (out.is_empty(), out.len() < HIGH_WATER);
        let event = tokio::select! {
            _ = stop.changed(), if open => return Err(RpcEnd::Closed),
            written = poll_fn(|cx| frame::poll_write(send, out, cx)), if !empty => {
                written?;
                Event::Written
            }
            payload = poll_fn(|cx| wire::poll_payload(recv, decoder, max, cx)), if open => {
                Event::Payload(payload?)
            }
            Some(done) = running.join_next_with_id(), if room => Event::Done(done),
            Some(frame) = commands.recv(), if open && room => Event::Command(frame),
            else => return Ok(()),
        };
        match event {
            Event::Written => Ok(()),
            Event::Command(frame) => {
                self.out.extend_from_slice(&frame);
                Ok(())
            }
            Event::Payload(payload) => self.incoming(&payload),
            Event::Done(done) => {
                self.done(done);
                Ok(())
            }
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
        if self.queue.is_empty() && self.running.len() < config.concurrency.max(1) {
            self.spawn(request, batch);
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

    fn start_queued(&mut self) {
        while self.running.len() < self.shared.config.concurrency.max(1) {
            let Some((request, batch)) = self.queue.pop_front() else {
                return;
            };
            self.queued_bytes -= request.size();
            self.spawn(request, batch);
        }
    }

    fn spawn(&mut self, request: RawRequest, batch: Option<u64>) {
        let id = request.id.clone();
        let shared = self.shared.clone();
        let abort = self
            .running
            .spawn(async move { methods::serve(&shared, request).await });
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

    fn done(&mut self, done: Result<(Id, Answer), JoinError>) {
        let (task, answer) = match done {
            Ok((task, answer)) => (task, Some(answer)),
            Err(error) => (error.id(), None),
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

    fn reply(&mut self, id: &[u8], outcome: &Answer, batch: Option<u64>) {
        let config = &self.shared.config;
        let (strict, max) = (config.strict, config.max_message_size);
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
        let mut frame = self.out.split_off(start);
        message::seal(&mut frame);
        self.out.unsplit(frame);
    }
}
