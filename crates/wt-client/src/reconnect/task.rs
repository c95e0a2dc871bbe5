//! The task that makes one session after the other.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};
use wt_core::{Session, SessionError, WeakSession, events::Emitter};

use super::{ConnectFailure, ReconnectError, RetryPolicy, State, stats::Counters};
use crate::connect::Connect;

/// What happens to a [`ReconnectingClient`](crate::ReconnectingClient).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ReconnectEvent {
    /// There is a session.
    #[doc(alias = "CONNECTION_ESTABLISHED")]
    Established {
        /// The session; an event that nobody has read does not keep it open.
        session: WeakSession,
        /// Which attempt in a row this was, from 1 on.
        attempt: u32,
    },
    /// The session is over, by whomever.
    #[doc(alias = "CONNECTION_LOST")]
    Lost {
        /// How it ended.
        error: SessionError,
        /// How long it lived.
        lived: Duration,
    },
    /// The next attempt comes after a pause.
    Waiting {
        /// How many failures in a row there were.
        failures: u32,
        /// The pause.
        delay: Duration,
        /// The last of the failures.
        last: ConnectFailure,
    },
    /// There will be no further attempt.
    #[doc(alias = "CONNECTION_FAILED")]
    Failed(ReconnectError),
}

/// What the task works with.
pub(super) struct Work {
    pub(super) connect: Connect,
    pub(super) policy: RetryPolicy,
    pub(super) state: Arc<watch::Sender<State>>,
    pub(super) events: Emitter<ReconnectEvent>,
    pub(super) counters: Arc<Counters>,
}

impl Work {
    /// Makes sessions until the policy says to stop, or the task is aborted.
    pub(super) async fn run(self) {
        let error = self.sessions().await;
        tracing::debug!(url = self.connect.url(), %error, "gave up");
        change(&self.state, State::Over(error.clone()));
        self.events.emit(ReconnectEvent::Failed(error));
        self.events.close();
    }

    async fn sessions(&self) -> ReconnectError {
        let mut failures = 0_u32;
        loop {
            let last = match self.connect.clone().await {
                Ok(session) => {
                    let (lived, error) = self.hold(session, failures.saturating_add(1)).await;
                    if lived >= self.policy.stable_after {
                        failures = 0;
                    }
                    ConnectFailure::Lost { lived, error }
                }
                Err(error) => {
                    self.counters.failed.fetch_add(1, Relaxed);
                    if error.is_permanent() {
                        return ReconnectError::Permanent(error);
                    }
                    error.into()
                }
            };
            failures = failures.saturating_add(1);
            tracing::debug!(url = self.connect.url(), failures, error = %last, "no session");
            if self.policy.is_over(failures) {
                return ReconnectError::RetriesExceeded { failures, last };
            }
            let delay = self.policy.pause(failures);
            self.events.emit_with(|| ReconnectEvent::Waiting {
                failures,
                delay,
                last,
            });
            tokio::time::sleep(delay).await;
        }
    }

    /// Lends a session to all who ask for it until it is over; says how long it lived.
    async fn hold(&self, session: Session, attempt: u32) -> (Duration, SessionError) {
        let start = Instant::now();
        self.counters.established.fetch_add(1, Relaxed);
        // Whoever has the session can count on its event.
        self.events.emit_with(|| ReconnectEvent::Established {
            session: session.downgrade(),
            attempt,
        });
        change(&self.state, State::Connected(session.clone()));
        let error = session.closed().await;
        let lived = start.elapsed();
        self.counters.lost.fetch_add(1, Relaxed);
        change(&self.state, State::Connecting);
        self.events.emit_with(|| ReconnectEvent::Lost {
            error: error.clone(),
            lived,
        });
        (lived, error)
    }
}

/// Changes the state unless it is final.
fn change(state: &watch::Sender<State>, new: State) {
    state.send_if_modified(|state| {
        let open = !matches!(state, State::Over(_));
        if open {
            *state = new;
        }
        open
    });
}
