//! Pools: objects that are lent, given back, and lent again.
//!
//! [`Pool`] does the work for anything that a [`Manage`] makes; [`ConnectionPool`], [`SessionPool`]
//! and [`StreamPool`] are pools of what their names say.

mod config;
mod connection;
mod error;
mod guard;
mod inner;
mod session;
mod stats;
mod stream;

use std::{future::Future, sync::Arc};

use self::inner::Inner;
pub use self::{
    config::PoolConfig,
    connection::{ConnectionPool, Connections},
    error::PoolError,
    guard::Pooled,
    session::{SessionPool, Sessions},
    stats::PoolStats,
    stream::{StreamPool, Streams},
};
use crate::setting::InvalidSetting;

/// Makes the objects of a [`Pool`] and knows whether they are still good.
pub trait Manage: Send + Sync + 'static {
    /// What is lent.
    type Object: Send + 'static;
    /// Why none could be made.
    type Error: Send + 'static;

    /// Makes an object. Has to be cancel safe.
    fn create(&self) -> impl Future<Output = Result<Self::Object, Self::Error>> + Send;

    /// Returns whether an object may be lent, or lent again. Called with a lock held: it does not
    /// wait, and does not touch the pool.
    fn is_healthy(&self, object: &mut Self::Object) -> bool;

    /// Disposes of an object that will not be lent any more. Does not wait.
    fn dispose(&self, object: Self::Object) {
        drop(object);
    }
}

/// Lends objects, at most so many at a time, and keeps those that come back for the next borrower.
///
/// A cheap handle: clones speak of the same pool. Objects are checked when they are lent and when they
/// come back; one that is no good is disposed of and another one made in its place. Whoever waits is
/// served in order. With the last handle the pool is closed; objects that are lent out stay good, and
/// are disposed of when they come back.
pub struct Pool<M: Manage>(Arc<Owner<M>>);

/// What all handles hold; the last one closes the pool.
struct Owner<M: Manage>(Arc<Inner<M>>);

impl<M: Manage> Drop for Owner<M> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<M: Manage> Clone for Pool<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M: Manage> std::fmt::Debug for Pool<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl<M: Manage> Pool<M> {
    /// Makes a pool of what `manager` makes. It is empty at first.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] when a value of `config` cannot work.
    pub fn with_manager(manager: M, config: PoolConfig) -> Result<Self, InvalidSetting> {
        config.validate()?;
        Ok(Self(Arc::new(Owner(Arc::new(Inner::new(manager, config))))))
    }

    /// Borrows an object: the one that has been idle the longest, or a new one.
    ///
    /// It comes back when the guard is dropped, whatever the reason. While
    /// [`max_size`](PoolConfig::max_size) objects are lent this waits, at most for
    /// [`acquire_timeout`](PoolConfig::acquire_timeout).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, its place is free for others.
    ///
    /// # Errors
    ///
    /// See [`PoolError`]. When an object could not be made, its place is free for others.
    #[doc(alias = "get")]
    pub async fn acquire(&self) -> Result<Pooled<M>, PoolError<M::Error>> {
        Inner::acquire(&self.0.0).await
    }

    /// Borrows an idle object without waiting; `None` when there is none that is good.
    #[must_use]
    pub fn try_acquire(&self) -> Option<Pooled<M>> {
        Inner::try_acquire(&self.0.0)
    }

    /// Returns figures of the pool.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        self.0.0.stats()
    }

    /// Returns the configuration.
    #[must_use]
    pub fn config(&self) -> &PoolConfig {
        self.0.0.config()
    }

    /// Returns whether the pool was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.0.is_closed()
    }

    /// Closes the pool: idle objects are disposed of, and whoever waits for one gets
    /// [`PoolError::Closed`] at once. Objects that are lent out stay good, and are disposed of when
    /// they come back. May be called again.
    pub fn close(&self) {
        self.0.0.close();
    }
}
