//! Datagrams of a session with queues, priorities, times to live and figures.

mod ahead;
pub mod heartbeat;
mod incoming;
mod lanes;
mod outgoing;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{runtime, task::AbortHandle, time};
use wt_core::{
    DatagramClaim, Session,
    events::Events,
    observe::{Observe, Snapshot, State},
};

use self::{
    incoming::{Incoming, Taken},
    outgoing::Outgoing,
};
use crate::{
    Datagram, DatagramConfig, DatagramEvent, DatagramStats, Diagnostics, OpenError, Payload,
    Priority, ReceiveError, SendError, SendManyError, SendOptions, counters::Counters, json,
    lock::lock,
};

/// The datagrams of a session, with queues, priorities, times to live and figures.
///
/// A cheap handle: clones speak of the same transport. It is closed when all its handles are dropped; the session
/// lives on. A session has one transport at a time, since what one received, another would not: a second one is
/// refused.
///
/// # Sending
///
/// A datagram goes straight to QUIC when there is room and nothing waits before it. Otherwise it waits in one of three
/// lanes, and the highest lane goes first. What QUIC has cannot be overtaken and does not expire, so from the first
/// priority or time to live on, QUIC gets only [`send_ahead`](DatagramConfig::send_ahead) bytes ahead of time.
///
/// `send` waits where [`DropPolicy::Wait`](crate::DropPolicy::Wait) is the policy and the queue is full, `try_send`
/// fails then. With the other policies neither waits. `Ok` says that the datagram was taken. It may still be dropped,
/// here or under way, as datagrams may; here each drop is counted by its reason.
///
/// # Receiving
///
/// Datagrams stay in QUIC's buffer until they are asked for, or are buffered here, see
/// [`buffer_incoming`](DatagramConfig::buffer_incoming). Any number of tasks may receive; each datagram goes to one.
///
/// # Examples
///
/// See the [crate](crate).
#[derive(Clone, Debug)]
#[doc(alias = "WebTransportDatagramTransport")]
#[doc(alias = "create_datagram_transport")]
pub struct DatagramTransport(Arc<Handle>);

/// What the clones share; the last one closes the transport.
#[derive(Debug)]
struct Handle {
    session: Session,
    outgoing: Arc<Outgoing>,
    incoming: Arc<Incoming>,
    counters: Arc<Counters>,
    runtime: runtime::Handle,
    heartbeat: Mutex<Option<AbortHandle>>,
    closed: AtomicBool,
    /// Given back when the transport is closed.
    claim: Mutex<Option<DatagramClaim>>,
}

impl Handle {
    fn close(&self) {
        let first = !self.closed.swap(true, SeqCst);
        if let Some(heartbeat) = lock(&self.heartbeat).take() {
            heartbeat.abort();
        }
        self.outgoing.end(SendError::Closed);
        self.incoming.close();
        drop(lock(&self.claim).take());
        if first {
            self.counters.events.emit(DatagramEvent::Closed);
            self.counters.events.close();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

impl DatagramTransport {
    /// Makes a transport for the datagrams of a session, as [`DatagramConfig`] has it by default.
    ///
    /// # Errors
    ///
    /// [`OpenError::NoRuntime`] outside of a tokio runtime, [`OpenError::Taken`] when the session has a
    /// transport already that is not closed.
    pub fn new(session: Session) -> Result<Self, OpenError> {
        Self::with_config(session, &DatagramConfig::default())
    }

    /// Makes a transport for the datagrams of a session.
    ///
    /// # Errors
    ///
    /// [`OpenError`] when the configuration cannot work, outside of a tokio runtime, or when the session
    /// has a transport already that is not closed.
    pub fn with_config(session: Session, config: &DatagramConfig) -> Result<Self, OpenError> {
        config.validate()?;
        let runtime = runtime::Handle::try_current().map_err(|_| OpenError::NoRuntime)?;
        let claim = session.claim_datagrams().ok_or(OpenError::Taken)?;
        let counters = Arc::<Counters>::default();
        Ok(Self(Arc::new(Handle {
            outgoing: Arc::new(Outgoing::new(
                session.clone(),
                counters.clone(),
                runtime.clone(),
                config,
            )),
            incoming: Incoming::new(session.clone(), counters.clone(), runtime.clone(), config),
            session,
            counters,
            runtime,
            heartbeat: Mutex::default(),
            closed: AtomicBool::new(false),
            claim: Mutex::new(Some(claim)),
        })))
    }

    // ---- what it is

    /// Returns the session.
    #[must_use]
    #[doc(alias = "session_id")]
    pub fn session(&self) -> &Session {
        &self.0.session
    }

    /// Returns whether two handles are of the same transport.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Returns the largest payload of a datagram now, in bytes.
    ///
    /// It is exact, and changes with the path. `None` when the peer takes no datagrams.
    #[must_use]
    pub fn max_datagram_size(&self) -> Option<usize> {
        self.0.session.max_datagram_size()
    }

    /// Returns whether the transport was closed, or the session has ended.
    #[must_use]
    #[doc(alias = "is_readable")]
    #[doc(alias = "is_writable")]
    pub fn is_closed(&self) -> bool {
        self.0.closed.load(SeqCst) || self.0.session.close_reason().is_some()
    }

    // ---- sending

    /// Sends a datagram of low priority, as long as it takes.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, the datagram was not taken.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub async fn send(&self, data: impl Payload) -> Result<(), SendError> {
        let options = SendOptions::new();
        match self.0.outgoing.send_now(data.as_ref(), options) {
            Some(sent) => sent,
            None => self.0.outgoing.send(data, options).await,
        }
    }

    /// Sends a datagram.
    ///
    /// Waits only for room in the queue, and only with [`DropPolicy::Wait`](crate::DropPolicy::Wait); the time to live
    /// runs meanwhile.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, the datagram was not taken.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub async fn send_with(
        &self,
        data: impl Payload,
        options: SendOptions,
    ) -> Result<(), SendError> {
        match self.0.outgoing.send_now(data.as_ref(), options) {
            Some(sent) => sent,
            None => self.0.outgoing.send(data, options).await,
        }
    }

    /// Sends a datagram of low priority without waiting.
    ///
    /// # Errors
    ///
    /// See [`SendError`]; [`SendError::QueueFull`] where [`Self::send`] would wait.
    pub fn try_send(&self, data: impl Payload) -> Result<(), SendError> {
        self.try_send_with(data, SendOptions::new())
    }

    /// Sends a datagram without waiting.
    ///
    /// # Errors
    ///
    /// See [`SendError`]; [`SendError::QueueFull`] where [`Self::send_with`] would wait.
    pub fn try_send_with(&self, data: impl Payload, options: SendOptions) -> Result<(), SendError> {
        self.0.outgoing.try_send(data, options, false)
    }

    /// Sends datagrams one after the other, up to the first error; returns how many.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, some datagrams may have been taken.
    ///
    /// # Errors
    ///
    /// [`SendManyError`], which says how many were taken before.
    #[doc(alias = "send_multiple")]
    pub async fn send_many<I>(
        &self,
        datagrams: I,
        options: SendOptions,
    ) -> Result<usize, SendManyError>
    where
        I: IntoIterator<Item: Payload>,
    {
        let mut sent = 0;
        for data in datagrams {
            let result = self.send_with(data, options).await;
            result.map_err(|error| SendManyError { sent, error })?;
            sent += 1;
        }
        Ok(sent)
    }

    /// Sends a value as JSON: compact, and nothing but ASCII, as PyWebTransport does.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, the datagram was not taken.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub async fn send_json<T: Serialize + ?Sized>(
        &self,
        value: &T,
        options: SendOptions,
    ) -> Result<(), SendError> {
        let data = json::encode(value).map_err(|error| SendError::Json(Arc::new(error)))?;
        self.send_with(data, options).await
    }

    /// Waits until QUIC has all datagrams that were queued.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// [`SendError`] when the transport or the session ends first.
    pub async fn flush(&self) -> Result<(), SendError> {
        self.0.outgoing.flush().await
    }

    // ---- receiving

    /// Waits for the next datagram.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, no datagram is lost.
    ///
    /// # Errors
    ///
    /// [`ReceiveError`] when the transport was closed or the session has ended.
    pub async fn receive(&self) -> Result<Bytes, ReceiveError> {
        // Under load there is mostly one, and nothing to wait for.
        let taken = match self.0.incoming.try_receive()? {
            Some(taken) => taken,
            None => self.0.incoming.receive().await?,
        };
        Ok(self.data(taken))
    }

    /// Waits for the next datagram, at most for `limit`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, no datagram is lost.
    ///
    /// # Errors
    ///
    /// [`ReceiveError`]; [`ReceiveError::TimedOut`] when none came in time.
    pub async fn receive_timeout(&self, limit: Duration) -> Result<Bytes, ReceiveError> {
        let received = time::timeout(limit, self.receive()).await;
        received.unwrap_or(Err(ReceiveError::TimedOut(limit)))
    }

    /// Returns the next datagram if it is there.
    ///
    /// # Errors
    ///
    /// [`ReceiveError`] when the transport was closed or the session has ended.
    pub fn try_receive(&self) -> Result<Option<Bytes>, ReceiveError> {
        let taken = self.0.incoming.try_receive()?;
        Ok(taken.map(|taken| self.data(taken)))
    }

    /// Waits for the next datagram, at most for `limit`, then takes what is there, up to `max` datagrams together.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, no datagram is lost.
    ///
    /// # Errors
    ///
    /// [`ReceiveError`] when not even one came.
    #[doc(alias = "receive_multiple")]
    pub async fn receive_many(
        &self,
        max: usize,
        limit: Duration,
    ) -> Result<Vec<Bytes>, ReceiveError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let mut datagrams = vec![self.receive_timeout(limit).await?];
        while datagrams.len() < max {
            // An end is told by the next call.
            let Ok(Some(datagram)) = self.try_receive() else {
                break;
            };
            datagrams.push(datagram);
        }
        Ok(datagrams)
    }

    /// Waits for the next datagram and reads it as JSON.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, no datagram is lost.
    ///
    /// # Errors
    ///
    /// [`ReceiveError`]; [`ReceiveError::Json`] when the datagram is not what was expected: it is gone then.
    pub async fn receive_json<T: DeserializeOwned>(&self) -> Result<T, ReceiveError> {
        let data = self.receive().await?;
        serde_json::from_slice(&data).map_err(|error| {
            self.0.counters.unreadable();
            ReceiveError::Json(Arc::new(error))
        })
    }

    /// Waits for the next datagram and says what is known of it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, no datagram is lost.
    ///
    /// # Errors
    ///
    /// See [`Self::receive`].
    pub async fn receive_with_metadata(&self) -> Result<Datagram, ReceiveError> {
        let taken = self.0.incoming.receive().await?;
        let datagram = match taken {
            Taken::Fresh(data, sequence) => Datagram {
                data: self.data(Taken::Fresh(data, sequence)),
                sequence,
                arrived: Instant::now(),
                max_age: None,
            },
            Taken::Buffered(datagram) => {
                self.data(Taken::Buffered(datagram.clone()));
                datagram
            }
        };
        Ok(datagram)
    }

    /// Counts a datagram that the application takes.
    #[inline]
    fn data(&self, taken: Taken) -> Bytes {
        // The clock is looked at only for those that were buffered.
        let (data, sequence, waited) = match taken {
            Taken::Fresh(data, sequence) => (data, sequence, None),
            Taken::Buffered(datagram) => {
                let age = datagram.age();
                (datagram.data, datagram.sequence, Some(age))
            }
        };
        self.0.counters.received(sequence, data.len(), waited);
        data
    }

    // ---- queues

    /// Returns how many datagrams wait to be sent.
    #[doc(alias = "get_send_buffer_size")]
    #[must_use]
    pub fn send_buffer_len(&self) -> usize {
        self.0.outgoing.queue().size
    }

    /// Returns how many received datagrams wait to be taken, where they are buffered.
    #[doc(alias = "get_receive_buffer_size")]
    #[must_use]
    pub fn receive_buffer_len(&self) -> usize {
        self.0.incoming.queue().size
    }

    /// Drops the datagrams that wait to be sent; returns how many.
    pub fn clear_send_buffer(&self) -> usize {
        self.0.outgoing.clear()
    }

    /// Drops the datagrams that were received and not taken; returns how many.
    pub fn clear_receive_buffer(&self) -> usize {
        self.0.incoming.clear()
    }

    /// Returns how many datagrams may wait to be sent.
    #[doc(alias = "outgoing_high_water_mark")]
    #[must_use]
    pub fn outgoing_limit(&self) -> usize {
        self.0.outgoing.limit()
    }

    /// Returns how long any datagram may wait to be sent.
    #[must_use]
    pub fn outgoing_max_age(&self) -> Option<Duration> {
        self.0.outgoing.max_age()
    }

    /// Sets how long any datagram may wait to be sent, of those that are sent from now on.
    pub fn set_outgoing_max_age(&self, max_age: Option<Duration>) {
        self.0.outgoing.set_max_age(max_age);
    }

    /// Returns how old a received datagram may be when it is taken.
    #[must_use]
    pub fn incoming_max_age(&self) -> Option<Duration> {
        self.0.incoming.max_age()
    }

    /// Sets how old a received datagram may be when it is taken.
    ///
    /// Received datagrams are buffered from then on, see
    /// [`buffer_incoming`](DatagramConfig::buffer_incoming).
    pub fn set_incoming_max_age(&self, max_age: Option<Duration>) {
        self.0.incoming.set_max_age(max_age);
    }

    // ---- heartbeat

    /// Sends a [heartbeat](heartbeat) now and then every `interval`; does nothing when that is so already.
    ///
    /// Heartbeats have [`Priority::Normal`]. One that cannot be sent is left out.
    pub fn enable_heartbeat(&self, interval: Duration) {
        let mut task = lock(&self.0.heartbeat);
        if task.is_some() || self.is_closed() {
            return;
        }
        let outgoing = self.0.outgoing.clone();
        let beat = async move {
            let options = SendOptions::new().priority(Priority::Normal);
            let mut ticks = time::interval(interval.max(Duration::from_millis(1)));
            ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let data = heartbeat::encode(SystemTime::now());
                match outgoing.try_send(data, options, true) {
                    Ok(()) => {}
                    Err(error) if error.is_fatal() => return,
                    Err(error) => tracing::debug!(%error, "no heartbeat"),
                }
            }
        };
        // It is aborted by `close`, which every transport ends with.
        *task = Some(self.0.runtime.spawn(beat).abort_handle());
    }

    /// Sends no more heartbeats.
    pub fn disable_heartbeat(&self) {
        if let Some(heartbeat) = lock(&self.0.heartbeat).take() {
            heartbeat.abort();
        }
    }

    // ---- figures

    /// Returns the number of the next datagram that is handed to QUIC, from 0 on.
    #[must_use]
    pub fn send_sequence(&self) -> u64 {
        self.0.counters.sent_count()
    }

    /// Returns the number of the next datagram that arrives, from 0 on.
    #[must_use]
    pub fn receive_sequence(&self) -> u64 {
        self.0.incoming.arrived()
    }

    /// Returns figures of the transport.
    #[must_use]
    pub fn stats(&self) -> DatagramStats {
        self.0.counters.stats()
    }

    /// Returns all there is to know about the transport now.
    #[must_use]
    pub fn diagnostics(&self) -> Diagnostics {
        Diagnostics {
            stats: self.stats(),
            outgoing: self.0.outgoing.queue(),
            incoming: self.0.incoming.queue(),
            is_closed: self.is_closed(),
        }
    }

    /// Listens to what happens to datagrams, up to the end of the transport.
    ///
    /// A listener that is more than [`CAPACITY`](wt_core::events::CAPACITY) events behind loses the oldest, and is
    /// told how many. Without listeners no events are made.
    pub fn events(&self) -> Events<DatagramEvent> {
        self.0.counters.events.subscribe()
    }

    // ---- the end

    /// Closes the transport: drops and counts what is queued, and wakes all who wait with an error.
    ///
    /// The session lives on. Does nothing the second time. [`Self::flush`] before it sends what is queued.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Observe for DatagramTransport {
    fn observe(&self) -> Snapshot {
        let diagnostics = self.diagnostics();
        let state = match diagnostics.is_closed {
            false => State::Active,
            true => State::Closed,
        };
        let id = self.0.session.id().to_string();
        diagnostics.snapshot(id, state)
    }
}
