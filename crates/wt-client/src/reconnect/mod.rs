//! A session that is made again whenever it is lost.

mod error;
mod policy;
mod stats;
mod task;

use std::{fmt, sync::Arc};

use tokio::{sync::watch, task::JoinHandle};
use wt_core::{
    Session,
    events::{Emitter, Events},
};

use self::stats::Counters;
pub use self::{
    error::{ConnectFailure, ReconnectError},
    policy::RetryPolicy,
    stats::ReconnectStats,
    task::ReconnectEvent,
};
use crate::{connect::Connect, lock::lock, setting::InvalidSetting};

/// Keeps a session to one URL: whenever it is lost, another one is made.
///
/// A cheap handle: clones speak of the same session. One task does the work; it ends with
/// [`Self::close`], when the last handle is dropped, or when it gives up as its [`RetryPolicy`] says.
///
/// A session that was lost is gone with its streams and datagrams. What has to survive is sent again
/// on the next one, by the application, which knows what that is: loop over [`Self::session`]. A
/// session that the application closes counts as lost too; [`Self::close`] is how to end.
///
/// # Examples
///
/// ```no_run
/// use wt_client::{Client, ReconnectError, RetryPolicy};
///
/// # async fn run(client: Client) -> Result<(), Box<dyn std::error::Error>> {
/// let connect = client.connect("https://example.com/feed");
/// let feed = connect.reconnecting(RetryPolicy::new())?;
/// loop {
///     let session = feed.session().await?;
///     while let Ok(datagram) = session.recv_datagram().await {
///         println!("{} bytes", datagram.len());
///     }
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct ReconnectingClient(Arc<Inner>);

struct Inner {
    url: String,
    policy: RetryPolicy,
    state: Arc<watch::Sender<State>>,
    events: Emitter<ReconnectEvent>,
    counters: Arc<Counters>,
    task: std::sync::Mutex<Option<JoinHandle<()>>>,
}

/// Where things stand.
#[derive(Debug)]
enum State {
    /// No session yet, or the last one was lost.
    Connecting,
    Connected(Session),
    /// No session ever again.
    Over(ReconnectError),
}

impl Inner {
    fn stop(&self) -> Option<JoinHandle<()>> {
        let task = lock(&self.task).take();
        if let Some(task) = &task {
            task.abort();
        }
        task
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for ReconnectingClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReconnectingClient")
            .field("url", &self.0.url)
            .field("state", &*self.0.state.borrow())
            .finish_non_exhaustive()
    }
}

impl ReconnectingClient {
    /// Begins to keep a session as `connect` describes it: URL, header fields, subprotocols, time
    /// limit of each attempt.
    ///
    /// Returns at once. Its sessions are those that the server has accepted: [`Connect::early`] means nothing here. An
    /// attempt that gets no answer takes its whole
    /// [time limit](Connect::timeout), so one of a few seconds is worth setting.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] when a value of `policy` cannot work. All that is wrong with `connect` is
    /// told by [`Self::session`].
    pub fn new(connect: Connect, policy: RetryPolicy) -> Result<Self, InvalidSetting> {
        Ok(Self::with_events(connect, policy)?.0)
    }

    /// Like [`Self::new`], with all [events](Self::events) from the first one on.
    ///
    /// # Errors
    ///
    /// See [`Self::new`].
    pub fn with_events(
        connect: Connect,
        policy: RetryPolicy,
    ) -> Result<(Self, Events<ReconnectEvent>), InvalidSetting> {
        policy.validate()?;
        let state = Arc::new(watch::Sender::new(State::Connecting));
        let events = Emitter::new();
        let first = events.subscribe();
        let url = connect.url().to_owned();
        let runtime = connect.runtime();
        let counters = Arc::<Counters>::default();
        let work = task::Work {
            connect: connect.answered(),
            policy: policy.clone(),
            state: state.clone(),
            events: events.clone(),
            counters: counters.clone(),
        };
        let task = std::sync::Mutex::new(Some(runtime.spawn(work.run())));
        let inner = Inner {
            url,
            policy,
            state,
            events,
            counters,
            task,
        };
        Ok((Self(Arc::new(inner)), first))
    }

    /// Waits for a session that is open.
    ///
    /// Returns at once when there is one.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// [`ReconnectError`] when there will be no session any more: it says why.
    #[doc(alias = "get_session")]
    pub async fn session(&self) -> Result<Session, ReconnectError> {
        let mut state = self.0.state.subscribe();
        loop {
            match &*state.borrow_and_update() {
                State::Connected(session) if session.close_reason().is_none() => {
                    return Ok(session.clone());
                }
                State::Over(error) => return Err(error.clone()),
                // The task knows of the end of a session a moment after the session itself.
                State::Connecting | State::Connected(_) => {}
            }
            if state.changed().await.is_err() {
                return Err(ReconnectError::Closed);
            }
        }
    }

    /// Returns the session if there is one that is open.
    #[must_use]
    pub fn current(&self) -> Option<Session> {
        match &*self.0.state.borrow() {
            State::Connected(session) if session.close_reason().is_none() => Some(session.clone()),
            _ => None,
        }
    }

    /// Returns whether there is a session that is open.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.current().is_some()
    }

    /// Returns why there will be no session any more; `None` while there may be.
    #[must_use]
    pub fn end(&self) -> Option<ReconnectError> {
        match &*self.0.state.borrow() {
            State::Over(error) => Some(error.clone()),
            _ => None,
        }
    }

    /// Returns what happens from now on: sessions made and lost, pauses, and the end.
    ///
    /// The stream ends when there will be no session any more. One that is not read falls behind, and is
    /// told how much it lost.
    pub fn events(&self) -> Events<ReconnectEvent> {
        self.0.events.subscribe()
    }

    /// Returns how often a session came to be, was lost, or did not come to be.
    #[must_use]
    pub fn stats(&self) -> ReconnectStats {
        self.0.counters.stats()
    }

    /// Returns the URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// Returns how attempts are repeated.
    #[must_use]
    pub fn policy(&self) -> &RetryPolicy {
        &self.0.policy
    }

    /// Makes no further sessions, and closes the one there is with code 0.
    ///
    /// Whoever waits for a session gets [`ReconnectError::Closed`]. May be called again. The client
    /// that the sessions were made with stays open.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn close(&self) {
        let mut last = None;
        self.0.state.send_if_modified(|state| {
            match std::mem::replace(state, State::Over(ReconnectError::Closed)) {
                State::Connected(session) => last = Some(session),
                State::Connecting => {}
                over @ State::Over(_) => {
                    *state = over;
                    return false;
                }
            }
            true
        });
        if let Some(task) = self.0.stop() {
            // It was aborted, or it ended by itself before.
            let _ = task.await;
        }
        if let Some(session) = last {
            session.close(0, "");
        }
        self.0.events.close();
    }
}
