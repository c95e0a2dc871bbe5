//! A connection that several callers use, made by one of them at a time.

use std::{future::Future, sync::Mutex};

use tokio::sync::Semaphore;
use wt_core::Connection;

use crate::{connect::ConnectError, lock::lock};

/// Where a shared connection is kept.
#[derive(Debug)]
pub(crate) struct Slot {
    connection: Mutex<Option<Connection>>,
    /// Held by the one who dials. Never closed.
    dialing: Semaphore,
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            connection: Mutex::default(),
            dialing: Semaphore::new(1),
        }
    }
}

impl Slot {
    /// Returns the connection while it is alive.
    pub(crate) fn live(&self) -> Option<Connection> {
        let mut kept = lock(&self.connection);
        if kept.as_ref().is_some_and(|c| c.close_reason().is_some()) {
            *kept = None;
        }
        kept.clone()
    }

    /// Returns the connection if another session can be opened on it.
    fn usable(&self) -> Option<Connection> {
        self.live().filter(|c| c.can_open_session().is_ok())
    }

    /// Returns whether nobody dials and nothing is kept.
    pub(crate) fn is_vacant(&self) -> bool {
        self.dialing.available_permits() == 1 && self.live().is_none()
    }

    /// Keeps `connection` in place of what was there.
    pub(crate) fn keep(&self, connection: &Connection) {
        *lock(&self.connection) = Some(connection.clone());
    }

    /// Takes the connection out.
    pub(crate) fn take(&self) -> Option<Connection> {
        lock(&self.connection).take()
    }

    /// Returns the connection, or makes it by `dial` while other callers wait.
    ///
    /// Also says whether it is new. Cancel safe: the next caller dials then.
    pub(crate) async fn get_or_dial(
        &self,
        dial: impl Future<Output = Result<Connection, ConnectError>> + Send,
    ) -> Result<(Connection, bool), ConnectError> {
        if let Some(connection) = self.usable() {
            return Ok((connection, false));
        }
        let _permit = self.dialing.acquire().await;
        if let Some(connection) = self.usable() {
            return Ok((connection, false));
        }
        let connection = dial.await?;
        // Before the SETTINGS nobody could tell whether another session can be opened.
        connection
            .ready()
            .await
            .map_err(wt_core::ConnectError::from)?;
        self.keep(&connection);
        Ok((connection, true))
    }
}
