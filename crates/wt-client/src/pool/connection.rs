//! Pools of connections.

use wt_core::Connection;

use super::{Manage, Pool, PoolConfig};
use crate::{
    connect::{Connect, ConnectError},
    setting::InvalidSetting,
};

/// A pool of connections to one authority, each for one borrower at a time, who opens sessions on it.
///
/// A connection that is disposed of closes when the sessions on it are over. To have sessions share
/// connections without borrowing, see [`Client::with_pooling`](crate::Client::with_pooling).
pub type ConnectionPool = Pool<Connections>;

/// Makes the connections of a [`ConnectionPool`].
#[derive(Debug)]
pub struct Connections(Connect);

impl Pool<Connections> {
    /// Makes a pool of connections to where `connect` leads, which waits for the server's SETTINGS.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] when a value of `config` cannot work.
    pub fn new(connect: Connect, config: PoolConfig) -> Result<Self, InvalidSetting> {
        Self::with_manager(Connections(connect), config)
    }
}

impl Manage for Connections {
    type Object = Connection;
    type Error = ConnectError;

    async fn create(&self) -> Result<Connection, ConnectError> {
        self.0.dial().await
    }

    fn is_healthy(&self, connection: &mut Connection) -> bool {
        connection.can_open_session().is_ok()
    }
}
