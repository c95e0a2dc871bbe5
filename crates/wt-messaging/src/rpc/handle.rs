//! The handle of RPC, and calls.

use std::{
    collections::HashMap,
    fmt::{self, Write as _},
    future::{Future, IntoFuture},
    marker::PhantomData,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, oneshot, watch};
use uuid::Uuid;
use wt_core::{BiStream, Session, SessionError};

use super::{
    Answers, Batch, CallError, Methods, RpcConfig, RpcEnd, RpcError, RpcErrorCode,
    driver::Driver,
    message::{self, CANCEL, ENVELOPE},
    multiplex,
};

/// How many requests wait for the driver to take them.
const COMMANDS: usize = 64;

/// Room for parameters to begin with: most take less.
const PARAMS: usize = 128;

/// The JSON of a result, or the error that the peer answered with.
pub(super) type Answer = Result<Bytes, RpcError>;

/// RPC with one peer: calls its methods, and serves [`Methods`] to it.
///
/// A cheap handle: clones speak of the same. A task reads and writes for all of them. RPC ends when the
/// last one is dropped, by [`Self::close`], or with the stream or session.
#[derive(Clone)]
#[doc(alias = "RpcManager")]
pub struct Rpc(Arc<Handle>);

/// What the handles of the application hold together.
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.stop.send_replace(true);
    }
}

/// What handles, the driver and handlers share.
pub(super) struct Shared {
    pub(super) config: RpcConfig,
    pub(super) methods: Methods,
    carrier: Carrier,
    /// One for each call that may wait for its answer.
    permits: Semaphore,
    /// Bytes of answers that wait to be written.
    answers: Arc<AtomicUsize>,
    stop: watch::Sender<bool>,
    state: watch::Sender<State>,
    /// What messages of ours begin with, as those of PyWebTransport do.
    label: String,
    handle: OnceLock<Weak<Handle>>,
}

/// Where requests go.
enum Carrier {
    /// To the driver of one stream.
    Stream(Link),
    /// Into streams of their own.
    Session(Session),
}

/// The way to the driver of a stream and back.
pub(super) struct Link {
    commands: mpsc::Sender<BytesMut>,
    pending: Mutex<HashMap<Uuid, oneshot::Sender<Answer>>>,
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
enum State {
    Open,
    /// No more calls, but what was called may still answer.
    Ending(RpcEnd),
    Over(RpcEnd),
}

impl Shared {
    /// Begins: the handle, what the driver needs, and the sign to stop.
    fn start(
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
            permits: Semaphore::new(permits),
            stop,
            answers: Arc::default(),
            state: watch::Sender::new(State::Open),
            label,
            handle: OnceLock::new(),
            config,
        });
        let rpc = Rpc::of(&shared);
        let _ = shared.handle.set(Arc::downgrade(&rpc.0));
        (rpc, shared, stopped)
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
        if let Carrier::Stream(link) = &self.carrier {
            lock(&link.pending).clear();
        }
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

    pub(super) fn over(&self, end: RpcEnd) {
        self.state.send_replace(State::Over(end));
    }

    /// Hands an answer to the call that waits for it. The id is JSON.
    pub(super) fn answered(&self, id: &[u8], answer: Answer) {
        let Carrier::Stream(link) = &self.carrier else {
            return;
        };
        let id: Option<&str> = serde_json::from_slice(id).ok();
        let call = id
            .and_then(|id| Uuid::try_parse(id).ok())
            .and_then(|id| lock(&link.pending).remove(&id));
        match (call, answer) {
            // The call may have been given up this moment.
            (Some(call), answer) => drop(call.send(answer)),
            (None, Err(error)) => {
                tracing::warn!(%error, "the peer sent an error that answers no call")
            }
            (None, Ok(_)) => tracing::debug!("an answer came that nobody waits for"),
        }
    }

    fn ended(&self) -> Option<RpcEnd> {
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

    async fn reach(&self, end: impl Fn(&State) -> Option<RpcEnd>) -> RpcEnd {
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
    pub(super) async fn call(&self, id: Uuid, frame: BytesMut) -> Result<Answer, CallError> {
        let ids = [id];
        let Carrier::Stream(link) = &self.carrier else {
            // A future of its own: it is large, and calls on one stream need not carry it about.
            let answers = Box::pin(self.exchange(&ids, frame)).await?;
            return answers.into_iter().next().ok_or(CallError::NoAnswer);
        };
        let _permit = self.permits(1).await?;
        let mut waiting = Waiting::new(self, link, &ids);
        let answer = waiting.expect(id);
        waiting.send(frame).await?;
        let answer = answer.await.map_err(|_| self.why())?;
        waiting.answered();
        Ok(answer)
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
                let mut waiting = Waiting::new(self, link, ids);
                let answers: Vec<_> = ids.iter().map(|id| waiting.expect(*id)).collect();
                waiting.send(frame).await?;
                let mut results = Vec::with_capacity(answers.len());
                for answer in answers {
                    results.push(answer.await.map_err(|_| self.why())?);
                }
                waiting.answered();
                Ok(results)
            }
            Carrier::Session(session) => {
                let exchange = multiplex::exchange(self, session, ids, frame.freeze());
                tokio::select! {
                    biased;
                    answers = exchange => answers,
                    end = self.refused() => Err(end.into()),
                }
            }
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

/// Calls that wait for their answers on a stream. Those that are dropped meanwhile are taken back.
struct Waiting<'a> {
    shared: &'a Shared,
    link: &'a Link,
    ids: &'a [Uuid],
    sent: bool,
}

impl<'a> Waiting<'a> {
    const fn new(shared: &'a Shared, link: &'a Link, ids: &'a [Uuid]) -> Self {
        Self {
            shared,
            link,
            ids,
            sent: false,
        }
    }

    /// Has an answer come to here.
    fn expect(&self, id: Uuid) -> oneshot::Receiver<Answer> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.link.pending).insert(id, sender);
        receiver
    }

    async fn send(&mut self, frame: BytesMut) -> Result<(), CallError> {
        let sent = self.link.commands.send(frame).await;
        sent.map_err(|_| self.shared.why())?;
        self.sent = true;
        Ok(())
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
        let mut pending = lock(&self.link.pending);
        let given_up: Vec<_> = self
            .ids
            .iter()
            .filter(|id| pending.remove(id).is_some())
            .collect();
        drop(pending);
        if !self.sent {
            return;
        }
        for id in given_up {
            let mut frame = message::frame(ENVELOPE);
            let strict = self.shared.config.strict;
            let params = |out: &mut BytesMut| write!(out, "{{\"id\": \"{id}\"}}");
            // Writing to memory does not fail.
            let _ = message::request(&mut frame, strict, None, CANCEL, params);
            message::seal(&mut frame);
            // The peer does without the word when there is no room for it.
            let _ = self.link.commands.try_send(frame);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Rpc {
    fn of(shared: &Arc<Shared>) -> Self {
        let shared = shared.clone();
        Self(Arc::new(Handle { shared }))
    }

    /// Another handle; `None` when the last one is gone.
    pub(super) fn again(shared: &Shared) -> Option<Self> {
        shared.handle.get()?.upgrade().map(Self)
    }

    /// Opens a bidirectional stream for RPC. The peer [accepts](Self::accept) it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, there is no RPC.
    ///
    /// # Errors
    ///
    /// [`SessionError`] when the session is over.
    pub async fn open(
        session: &Session,
        methods: Methods,
        config: RpcConfig,
    ) -> Result<Self, SessionError> {
        let mut stream = session.open_bi().await?;
        // The peer may be the first to call. What goes wrong here shows again at once.
        let _ = stream.send.flush().await;
        Ok(Self::on_stream(session, stream, methods, config))
    }

    /// Waits for the next bidirectional stream of the peer, for RPC.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, no stream is lost.
    ///
    /// # Errors
    ///
    /// [`SessionError`] when the session is over.
    pub async fn accept(
        session: &Session,
        methods: Methods,
        config: RpcConfig,
    ) -> Result<Self, SessionError> {
        let stream = session.accept_bi().await?;
        Ok(Self::on_stream(session, stream, methods, config))
    }

    /// Speaks RPC on a stream of the session, as PyWebTransport 0.8 does.
    ///
    /// Has to be called within a tokio runtime.
    #[must_use]
    pub fn on_stream(
        session: &Session,
        stream: BiStream,
        methods: Methods,
        config: RpcConfig,
    ) -> Self {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let link = Link {
            commands,
            pending: Mutex::default(),
        };
        let carrier = Carrier::Stream(link);
        let (rpc, shared, stopped) = Shared::start(session, carrier, methods, config);
        tokio::spawn(Driver::new(shared, stream, receiver).run(stopped));
        rpc
    }

    /// Speaks RPC with a stream for each call, so that no call waits for another.
    ///
    /// Takes all bidirectional streams of the peer. Both ends have to do it this way. Has to be called
    /// within a tokio runtime.
    #[must_use]
    pub fn over_session(session: &Session, methods: Methods, config: RpcConfig) -> Self {
        let carrier = Carrier::Session(session.clone());
        let (rpc, shared, stopped) = Shared::start(session, carrier, methods, config);
        tokio::spawn(multiplex::run(shared, session.clone(), stopped));
        rpc
    }

    /// Returns the configuration.
    #[must_use]
    pub fn config(&self) -> &RpcConfig {
        &self.0.shared.config
    }

    /// Calls a method of the peer: `.await` the result.
    ///
    /// `params` are a tuple or a list for positional parameters, `()` for none, or a struct or a map for
    /// named ones, which PyWebTransport 0.8 does not take.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, the peer is told that the result is not wanted any more.
    /// The method may have run.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn call<R: DeserializeOwned>(
        &self,
        method: impl Into<String>,
        params: impl Serialize,
    ) -> Call<R> {
        let (id, method) = (new_id(), method.into());
        Call {
            rpc: self.clone(),
            timeout: self.config().call_timeout,
            id,
            frame: self.frame(Some(id), &method, &params),
            method,
            result: PhantomData,
        }
    }

    /// Has a method of the peer run, without an answer.
    ///
    /// Returns when the notification is on its way. Whether there is such a method, and what became of
    /// it, is not told.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, the notification was sent whole or not at all.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub async fn notify(
        &self,
        method: impl Into<String>,
        params: impl Serialize,
    ) -> Result<(), CallError> {
        let frame = self.frame(None, &method.into(), &params)?;
        self.0.shared.exchange(&[], frame).await.map(drop)
    }

    /// Makes several calls with one message; strict mode only.
    ///
    /// [`RpcConfig::call_timeout`] is the limit for all of them.
    ///
    /// # Cancel safety
    ///
    /// As [`Self::call`].
    ///
    /// # Errors
    ///
    /// See [`CallError`]. That single calls failed is told by [`Answers::get`].
    pub async fn batch(&self, batch: Batch) -> Result<Answers, CallError> {
        if !self.config().strict {
            return Err(CallError::NotStrict);
        }
        let (ids, mut frame) = batch.frame(self.config().batch)?;
        self.seal(&mut frame)?;
        let answers = pin!(self.0.shared.exchange(&ids, frame));
        let answers = limited(self.config().call_timeout, "a batch", answers).await?;
        Ok(Answers::new(answers))
    }

    fn frame(
        &self,
        id: Option<Uuid>,
        method: &str,
        params: &impl Serialize,
    ) -> Result<BytesMut, CallError> {
        let mut frame = message::frame(ENVELOPE + method.len() + PARAMS);
        put_request(&mut frame, self.config().strict, id, method, params)?;
        self.seal(&mut frame)?;
        Ok(frame)
    }

    fn seal(&self, frame: &mut BytesMut) -> Result<(), CallError> {
        let size = message::seal(frame);
        let max = self.config().max_message_size.min(u32::MAX as usize);
        if size > max {
            return Err(CallError::TooLarge { size, max });
        }
        Ok(())
    }

    /// Ends RPC: calls that wait fail here and at the peer, handlers are dropped where they are.
    ///
    /// Answers that are ready still reach the peer, within [`RpcConfig::close_timeout`]. Returns when
    /// all is over; doing it again changes nothing.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, RPC ends all the same.
    pub async fn close(&self) {
        self.0.shared.stop.send_replace(true);
        self.closed().await;
    }

    /// Waits until RPC is over and says why.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn closed(&self) -> RpcEnd {
        let over = |state: &State| match state {
            State::Over(end) => Some(end.clone()),
            _ => None,
        };
        self.0.shared.reach(over).await
    }

    /// Returns why no more calls can be made; `None` while they can.
    #[must_use]
    pub fn close_reason(&self) -> Option<RpcEnd> {
        self.0.shared.ended()
    }
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rpc")
            .field("methods", &self.0.shared.methods)
            .field("end", &self.close_reason())
            .finish_non_exhaustive()
    }
}

/// A call that is about to be made: `.await` it for the result.
#[must_use = "nothing happens until it is awaited"]
pub struct Call<R> {
    rpc: Rpc,
    method: String,
    id: Uuid,
    frame: Result<BytesMut, CallError>,
    timeout: Option<Duration>,
    result: PhantomData<fn() -> R>,
}

/// Makes the id of a call: it has to differ from others, and is no secret from the peer, who alone sees it.
pub(super) fn new_id() -> Uuid {
    let bytes = fastrand::u128(..).to_ne_bytes();
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

impl<R> Call<R> {
    /// Limits the time for the call, waiting for room included; `None` for no limit.
    /// [`RpcConfig::call_timeout`] by default.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }
}

impl<R: DeserializeOwned> Call<R> {
    async fn run(self) -> Result<R, CallError> {
        // Passed on by reference: to move it would cost more than to make it.
        let answer = pin!(self.rpc.0.shared.call(self.id, self.frame?));
        let answer = limited(self.timeout, &self.method, answer).await?;
        message::decode(&answer.map_err(CallError::Remote)?).map_err(CallError::Decode)
    }
}

impl<R: DeserializeOwned + 'static> IntoFuture for Call<R> {
    type Output = Result<R, CallError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<R> fmt::Debug for Call<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("method", &self.method)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Waits, but not longer than that.
async fn limited<T>(
    limit: Option<Duration>,
    method: &str,
    answers: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    let Some(after) = limit else {
        return answers.await;
    };
    match tokio::time::timeout(after, answers).await {
        Ok(answers) => answers,
        Err(_) => Err(CallError::TimedOut {
            method: method.to_owned(),
            after,
        }),
    }
}

/// Writes a request, or a notification when there is no id. Parameters are a list or an object.
pub(super) fn put_request(
    out: &mut BytesMut,
    strict: bool,
    id: Option<Uuid>,
    method: &str,
    params: &impl Serialize,
) -> Result<(), CallError> {
    if method.is_empty() {
        return Err(CallError::NoName);
    }
    let mut digits = Uuid::encode_buffer();
    let id = id.map(|id| &*id.hyphenated().encode_lower(&mut digits));
    message::request(out, strict, id, method, |out| {
        let start = out.len();
        message::encode_to(params, out).map_err(CallError::Encode)?;
        match &out[start..] {
            [b'[' | b'{', ..] => Ok(()),
            b"null" => {
                out.truncate(start);
                out.extend_from_slice(b"[]");
                Ok(())
            }
            _ => Err(CallError::SingleValue),
        }
    })
}
