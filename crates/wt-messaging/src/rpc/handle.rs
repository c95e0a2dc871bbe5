//! The handle of RPC.

use std::{fmt, sync::Arc};

use bytes::BytesMut;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::mpsc;
use uuid::Uuid;
use wt_core::{BiStream, Session, SessionError};

use super::{
    Answers, Batch, Call, CallError, Methods, RpcConfig, RpcEnd,
    call::put_request,
    driver::Driver,
    message::{self, ENVELOPE},
    multiplex,
    pending::Limit,
    shared::{Carrier, Link, Shared, State},
};

/// How many requests wait for the driver to take them.
const COMMANDS: usize = 64;

/// Room for parameters to begin with: most take less.
const PARAMS: usize = 128;

/// RPC with one peer: calls its methods, and serves [`Methods`] to it.
///
/// A cheap handle: clones speak of the same. A task reads and writes for all of them. RPC ends when the
/// last one is dropped, by [`Self::close`], or with the stream or session.
#[derive(Clone)]
#[doc(alias = "RpcManager")]
pub struct Rpc(pub(super) Arc<Handle>);

/// What the handles of the application hold together.
pub(super) struct Handle {
    pub(super) shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Rpc {
    pub(super) fn of(shared: &Arc<Shared>) -> Self {
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
        let carrier = Carrier::Stream(Link { commands });
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
        Call::new(self.clone(), method.into(), &params)
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
        let limit = Limit {
            what: "a batch",
            after: self.config().call_timeout,
        };
        let answers = limit.keep(self.0.shared.exchange(&ids, frame)).await?;
        Ok(Answers::new(answers))
    }

    pub(super) fn frame(
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
        self.0.shared.stop();
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
