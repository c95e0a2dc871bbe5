//! The task that makes one session after the other.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};
use wt_core::{Session, SessionError, WeakSession, events::Emitter};

use super::{ConnectFailure, ReconnectError, RetryPolicy, State};
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

/// Makes sessions until the policy says to stop, or the task is aborted.
pub(super) async fn run(
    connect: Connect,
    policy: RetryPolicy,
    state: Arc<watch::Sender<State>>,
    events: Emitter<ReconnectEvent>,
) {
    let url = connect.url().to_owned();
    let mut failures = 0;
    let error = loop {
        let last = match connect.clone().await {
            Ok(session) => {
                let attempt = failures + 1;
                let lost = hold(session, attempt, &state, &events).await;
                if matches!(&lost, ConnectFailure::Lost { lived, .. } if *lived >= policy.stable_after)
                {
                    failures = 0;
                }
                lost
            }
            Err(error) if error.is_permanent() => break ReconnectError::Permanent(error),
            Err(error) => error.into(),
        };
        failures = failures.saturating_add(1);
        tracing::debug!(url, failures, error = %last, "no session");
        if policy.is_over(failures) {
            break ReconnectError::RetriesExceeded { failures, last };
        }
        let delay = policy.pause(failures);
        events.emit_with(|| ReconnectEvent::Waiting {
            failures,
            delay,
            last,
        });
        tokio::time::sleep(delay).await;
    };
    tracing::debug!(url, %error, "gave up");
    change(&state, State::Over(error.clone()));
    events.emit(ReconnectEvent::Failed(error));
    events.close();
}

/// Lends a session to all who ask for it until it is over.
async fn hold(
    session: Session,
    attempt: u32,
    state: &watch::Sender<State>,
    events: &Emitter<ReconnectEvent>,
) -> ConnectFailure {
    let start = Instant::now();
    change(state, State::Connected(session.clone()));
    events.emit_with(|| ReconnectEvent::Established {
        session: session.downgrade(),
        attempt,
    });
    let error = session.closed().await;
    let lived = start.elapsed();
    change(state, State::Connecting);
    events.emit_with(|| ReconnectEvent::Lost {
        error: error.clone(),
        lived,
    });
    ConnectFailure::Lost { lived, error }
}

/// Changes the state unless it is final.
pub(super) fn change(state: &watch::Sender<State>, new: State) {
    state.send_if_modified(|state| {
        let open = !matches!(state, State::Over(_));
        if open {
            *state = new;
        }
        open
    });
}
