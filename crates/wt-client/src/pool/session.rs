//! Pools of sessions.

use wt_core::Session;

use super::{Manage, Pool, PoolConfig};
use crate::{
    connect::{Connect, ConnectError},
    setting::InvalidSetting,
};

/// A pool of sessions to one URL, each for one borrower at a time.
///
/// Sessions that are over, or that somebody asked to finish, are not lent again. Those that are disposed
/// of are closed with code 0.
pub type SessionPool = Pool<Sessions>;

/// Makes the sessions of a [`SessionPool`].
#[derive(Debug)]
pub struct Sessions(Connect);

impl Pool<Sessions> {
    /// Makes a pool of sessions, each made as `connect` says.
    ///
    /// With [`Connect::pooling`] they share connections as far as the server allows. [`Connect::early`] means nothing
    /// here: a pool lends sessions that the server has accepted.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] when a value of `config` cannot work.
    pub fn new(connect: Connect, config: PoolConfig) -> Result<Self, InvalidSetting> {
        Self::with_manager(Sessions(connect.answered()), config)
    }
}

impl Manage for Sessions {
    type Object = Session;
    type Error = ConnectError;

    async fn create(&self) -> Result<Session, ConnectError> {
        self.0.clone().await
    }

    fn is_healthy(&self, session: &mut Session) -> bool {
        session.close_reason().is_none() && !session.is_draining()
    }

    fn dispose(&self, session: Session) {
        session.close(0, "");
    }
}
