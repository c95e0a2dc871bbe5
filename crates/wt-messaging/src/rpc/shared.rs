//! What the handles, the driver and the handlers of RPC share, and calls that wait for their answers.

use std::{
    fmt::Write as _,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst},
    },
    task::{Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use tokio::{
    sync::{
        Semaphore, SemaphorePermit, mpsc, mpsc::error::TrySendError, oneshot,
        oneshot::error::RecvError, watch,
    },
    time::{Instant, timeout_at},
};
use uuid::Uuid;
use wt_core::Session;

use super::{
    CallError, Methods, Rpc, RpcConfig, RpcEnd, RpcError, RpcErrorCode,
    handle::Handle,
    message::{self, CANCEL, ENVELOPE},
    multiplex,
    pending::{Limit, OutOfTime, Pending},
};

/// The JSON of a result, or the error that the peer answered with.
pub(super) type Answer = Result<Bytes, RpcError>;

/// What handles, the driver and handlers share.
pub(super) struct Shared {
    pub(super) config: RpcConfig,
    pub(super) methods: Methods,
    carrier: Carrier,
    pending: Mutex<Pending>,
    /// One for each call that may wait for its answer.
    permits: Semaphore,
    /// Bytes of answers that wait to be written.
    answers: Arc<AtomicUsize>,
    stop: watch::Sender<bool>,
    state: watch::Sender<State>,
    /// The handler that ran last was done at once.
    quick: AtomicBool,
    /// What messages of ours begin with, as those of PyWebTransport do.
    label: String,
    pub(super) handle: OnceLock<Weak<Handle>>,
}

/// Where requests go.
pub(super) enum Carrier {
    /// To the driver of one stream.
    Stream(Link),
    /// Into streams of their own.
    Session(Session),
}

/// The way to the driver of a stream.
pub(super) struct Link {
    pub(super) commands: mpsc::Sender<BytesMut>,
}

/// Room that an answer takes until this is dropped.
pub(super) struct Kept {
    answers: Arc<AtomicUsize>,
    bytes: usize,
}

impl Kept {
    fn release(&mut self) {
        self.answers
            .fetch_sub(std::mem::take(&mut self.bytes), SeqCst);
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.release();
    }
}

#[derive(Clone)]
pub(super) enum State {
    Open,
    /// No more calls, but what was called may still answer.
    Ending(RpcEnd),
    Over(RpcEnd),
}

impl Shared {
    /// Begins: the handle, what the driver needs, and the sign to stop.
    pub(super) fn start(
        session: &Session,
        carrier: Carrier,
        methods: Methods,
        config: RpcConfig,
    ) -> (Rpc, Arc<Self>, watch::Receiver<bool>) {
        let (stop, stopped) = watch::channel(false);
        let label = if config.strict {
            String::new()
        } else {
            format!("[Session:{}] ", session.id())
        };
        let permits = config.pending_calls.clamp(1, Semaphore::MAX_PERMITS);
        let shared = Arc::new(Self {
            methods,
            carrier,
            pending: Mutex::default(),
            permits: Semaphore::new(permits),
            stop,
            answers: Arc::default(),
            state: watch::Sender::new(State::Open),
            quick: AtomicBool::new(false),
            label,
            handle: OnceLock::new(),
            config,
        });
        let rpc = Rpc::of(&shared);
        let _ = shared.handle.set(Arc::downgrade(&rpc.0));
        (rpc, shared, stopped)
    }

    /// Ends RPC.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Returns whether the next handler is likely to be done at once, as far as one can tell without knowing which.
    pub(super) fn is_quick(&self) -> bool {
        self.quick.load(Relaxed)
    }

    pub(super) fn set_quick(&self, quick: bool) {
        set(&self.quick, quick);
    }

    /// Puts the session before messages of the library, as PyWebTransport does.
    pub(super) fn sign(&self, mut error: RpcError) -> RpcError {
        if (-32768..=-32000).contains(&error.code.0) {
            error.message.insert_str(0, &self.label);
        }
        error
    }

    /// The most that a batch may have, where there are batches.
    pub(super) fn strict(&self) -> Option<usize> {
        self.config.strict.then_some(self.config.batch)
    }

    /// Lets no more calls begin, and fails those that wait.
    pub(super) fn refuse(&self, end: &RpcEnd) {
        self.state.send_replace(State::Ending(end.clone()));
        self.permits.close();
        self.forget();
    }

    /// Gives up the calls that wait for answers.
    pub(super) fn forget(&self) {
        let calls = std::mem::take(&mut *lock(&self.pending));
        // Who waits is woken, without the lock.
        drop(calls);
    }

    /// Returns whether several calls are under way.
    pub(super) fn calls_at_a_time(&self) -> bool {
        self.permits.available_permits() + 1 < self.most_calls()
    }

    fn most_calls(&self) -> usize {
        self.config.pending_calls.clamp(1, Semaphore::MAX_PERMITS)
    }

    /// Returns whether there is room for answers.
    pub(super) fn has_room(&self) -> bool {
        self.answers.load(SeqCst) < self.answer_limit()
    }

    /// How many bytes of answers may wait: one as large as can be holds up no others.
    fn answer_limit(&self) -> usize {
        let config = &self.config;
        config.answer_bytes.saturating_add(config.max_message_size)
    }

    /// Keeps an answer that is going to wait for its turn to be written; one that is too much becomes an error.
    pub(super) fn keep(&self, answer: Answer) -> (Answer, Kept) {
        let bytes = answer.as_ref().map_or(0, Bytes::len);
        let before = self.answers.fetch_add(bytes, SeqCst);
        let mut kept = Kept {
            answers: self.answers.clone(),
            bytes,
        };
        // One that is too large for a message becomes an error when it is written.
        if before == 0 || bytes == 0 || before.saturating_add(bytes) <= self.answer_limit() {
            return (answer, kept);
        }
        kept.release();
        let busy = RpcError::new(RpcErrorCode::BUSY, "Too many answers wait to be read.");
        (Err(self.sign(busy)), kept)
    }

    /// Ends all, unless it has ended.
    pub(super) fn abandon(&self) {
        if !matches!(&*self.state.borrow(), State::Over(_)) {
            self.refuse(&RpcEnd::Closed);
            self.over(RpcEnd::Closed);
        }
    }

    pub(super) fn over(&self, end: RpcEnd) {
        self.state.send_replace(State::Over(end));
    }

    /// Hands an answer to the call that waits for it. The id is JSON.
    pub(super) fn answered(&self, id: &[u8], answer: Answer) {
        let call = message::call_id(id).and_then(|id| lock(&self.pending).take(&id));
        match (call, answer) {
            // The call may have been given up this moment.
            (Some(call), answer) => drop(call.send(Ok(answer))),
            (None, Err(error)) => {
                tracing::warn!(%error, "the peer sent an error that answers no call")
            }
            (None, Ok(_)) => tracing::debug!("an answer came that nobody waits for"),
        }
    }

    /// Returns when to look for calls that are [out of time](Self::expire), and has this task woken when that changes.
    pub(super) fn due(&self, task: &Waker) -> Option<Instant> {
        lock(&self.pending).due(task)
    }

    /// Ends the calls that are out of time, and tells the peer.
    pub(super) fn expire(&self) {
        let over = lock(&self.pending).expire(Instant::now());
        for (id, call) in over {
            let _ = call.send(Err(OutOfTime));
            // A call with a stream of its own stops that.
            if let Carrier::Stream(link) = &self.carrier {
                self.cancel(link, &id);
            }
        }
    }

    /// Tells the peer that the answer to a call is not wanted any more, behind the call itself.
    fn cancel(&self, link: &Link, id: &Uuid) {
        let mut frame = message::frame(ENVELOPE);
        let params = |out: &mut BytesMut| write!(out, "{{\"id\": \"{id}\"}}");
        // Writing to memory does not fail.
        let _ = message::request(&mut frame, self.config.strict, None, CANCEL, params);
        message::seal(&mut frame);
        // The peer does without the word when there is no room for it.
        let _ = link.commands.try_send(frame);
    }

    pub(super) fn ended(&self) -> Option<RpcEnd> {
        match &*self.state.borrow() {
            State::Open => None,
            State::Ending(end) | State::Over(end) => Some(end.clone()),
        }
    }

    /// Waits until no more calls may begin.
    async fn refused(&self) -> RpcEnd {
        self.reach(|state| match state {
            State::Open => None,
            State::Ending(end) | State::Over(end) => Some(end.clone()),
        })
        .await
    }

    pub(super) async fn reach(&self, end: impl Fn(&State) -> Option<RpcEnd>) -> RpcEnd {
        let mut state = self.state.subscribe();
        loop {
            if let Some(end) = end(&state.borrow_and_update()) {
                return end;
            }
            if state.changed().await.is_err() {
                return RpcEnd::Closed;
            }
        }
    }

    /// Sends the sealed frame of a call and waits for its answer.
    pub(super) async fn call(
        &self,
        id: Uuid,
        frame: BytesMut,
        limit: Limit<'_>,
    ) -> Result<Answer, CallError> {
        match &self.carrier {
            Carrier::Stream(link) => self.call_by(link, id, frame, limit).await,
            Carrier::Session(session) => self.call_over(session, id, frame, limit).await,
        }
    }

    /// Sends the sealed frame of a call to the driver and waits for its answer.
    async fn call_by(
        &self,
        link: &Link,
        id: Uuid,
        frame: BytesMut,
        limit: Limit<'_>,
    ) -> Result<Answer, CallError> {
        let deadline = limit.deadline();
        let _permit = self.permit(deadline, limit).await?;
        let ids = [id];
        let mut waiting = Waiting::new(self, &ids);
        let answer = waiting.expect(id, deadline);
        until(deadline, limit, waiting.send(link, frame)).await?;
        let answer = self.outcome(answer.await, limit)?;
        waiting.answered();
        Ok(answer)
    }

    /// Sends the sealed frame of a call on a stream of its own and waits for its answer.
    async fn call_over(
        &self,
        session: &Session,
        id: Uuid,
        frame: BytesMut,
        limit: Limit<'_>,
    ) -> Result<Answer, CallError> {
        let deadline = limit.deadline();
        let _permit = self.permit(deadline, limit).await?;
        let ids = [id];
        let waiting = Waiting::new(self, &ids);
        // By this comes only why there is no answer.
        let given_up = waiting.expect(id, deadline);
        // Those that wait are given up after the end is known: a call that came later sees it here.
        if let Some(end) = self.ended() {
            return Err(end.into());
        }
        tokio::select! {
            biased;
            answer = multiplex::call(self, session, id, frame) => answer,
            why = given_up => self.outcome(why, limit),
        }
    }

    /// Says what came of waiting for an answer.
    fn outcome(
        &self,
        received: Result<Result<Answer, OutOfTime>, RecvError>,
        limit: Limit<'_>,
    ) -> Result<Answer, CallError> {
        match received {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(OutOfTime)) => Err(limit.error()),
            Err(_) => Err(self.why().into()),
        }
    }

    /// Sends a sealed frame and waits for the answers to `ids`.
    pub(super) async fn exchange(
        &self,
        ids: &[Uuid],
        frame: BytesMut,
    ) -> Result<Vec<Answer>, CallError> {
        let _permits = self.permits(ids.len()).await?;
        match &self.carrier {
            Carrier::Stream(link) => {
                let mut waiting = Waiting::new(self, ids);
                let answers: Vec<_> = ids.iter().map(|id| waiting.expect(*id, None)).collect();
                waiting.send(link, frame).await?;
                let mut results = Vec::with_capacity(answers.len());
                for answer in answers {
                    match answer.await {
                        Ok(Ok(answer)) => results.push(answer),
                        // Who waits for several has a clock for all of them.
                        Ok(Err(OutOfTime)) | Err(_) => return Err(self.why().into()),
                    }
                }
                waiting.answered();
                Ok(results)
            }
            Carrier::Session(session) => {
                let exchange = multiplex::exchange(self, session, ids, frame);
                tokio::select! {
                    biased;
                    answers = exchange => answers,
                    end = self.refused() => Err(end.into()),
                }
            }
        }
    }

    /// Waits until one more call may be under way.
    async fn permit(
        &self,
        deadline: Option<Instant>,
        limit: Limit<'_>,
    ) -> Result<Option<SemaphorePermit<'_>>, CallError> {
        match self.permits.try_acquire() {
            Ok(permit) => Ok(Some(permit)),
            Err(_) => Box::pin(until(deadline, limit, self.permits(1))).await,
        }
    }

    /// Waits until so many calls may be under way.
    async fn permits(&self, calls: usize) -> Result<Option<SemaphorePermit<'_>>, CallError> {
        if let Some(end) = self.ended() {
            return Err(end.into());
        }
        let calls = u32::try_from(calls.min(self.most_calls())).unwrap_or(u32::MAX);
        // They are closed at the end, and then there is an error for what follows.
        Ok(self.permits.acquire_many(calls).await.ok())
    }

    /// Why there is no answer.
    fn why(&self) -> RpcEnd {
        self.ended().unwrap_or(RpcEnd::Closed)
    }
}

/// Calls that wait for their answers. Those that are dropped meanwhile are taken back.
struct Waiting<'a> {
    shared: &'a Shared,
    ids: &'a [Uuid],
    /// Where the calls went, and where is told that they are given up.
    sent: Option<&'a Link>,
}

impl<'a> Waiting<'a> {
    const fn new(shared: &'a Shared, ids: &'a [Uuid]) -> Self {
        Self {
            shared,
            ids,
            sent: None,
        }
    }

    /// Has an answer come to here.
    fn expect(
        &self,
        id: Uuid,
        deadline: Option<Instant>,
    ) -> oneshot::Receiver<Result<Answer, OutOfTime>> {
        let (receiver, clock) = lock(&self.shared.pending).expect(id, deadline);
        if let Some(clock) = clock {
            clock.wake();
        }
        receiver
    }

    async fn send(&mut self, link: &'a Link, frame: BytesMut) -> Result<(), CallError> {
        let sent = match link.commands.try_send(frame) {
            Ok(()) => true,
            Err(TrySendError::Full(frame)) => link.commands.send(frame).await.is_ok(),
            Err(TrySendError::Closed(_)) => false,
        };
        if sent {
            self.sent = Some(link);
            Ok(())
        } else {
            Err(self.shared.why().into())
        }
    }

    /// Has nothing taken back: all answers are there.
    fn answered(mut self) {
        self.ids = &[];
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.ids.is_empty() {
            return;
        }
        let mut pending = lock(&self.shared.pending);
        let Some(link) = self.sent else {
            for id in self.ids {
                pending.forget(id);
            }
            return;
        };
        let given_up: Vec<_> = self.ids.iter().filter(|id| pending.forget(id)).collect();
        drop(pending);
        for id in given_up {
            self.shared.cancel(link, id);
        }
    }
}

/// Waits for `work` until `deadline`.
async fn until<T>(
    deadline: Option<Instant>,
    limit: Limit<'_>,
    work: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    let mut work = pin!(work);
    // Mostly there is nothing to wait for, and then no need for a clock.
    if let Poll::Ready(done) = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await {
        return done;
    }
    match deadline {
        None => work.await,
        Some(deadline) => Box::pin(timeout_at(deadline, work))
            .await
            .unwrap_or_else(|_| Err(limit.error())),
    }
}

/// Sets a flag that mostly stays as it is, and that other threads look at.
pub(super) fn set(flag: &AtomicBool, to: bool) {
    if flag.load(Relaxed) != to {
        flag.store(to, Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
