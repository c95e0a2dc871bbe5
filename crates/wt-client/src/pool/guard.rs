//! An object that is lent.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use tokio::sync::OwnedSemaphorePermit;

use super::{Manage, inner::Inner};

/// An object of a [`Pool`](super::Pool), which goes back when this is dropped.
#[must_use = "dropped at once, the object goes back at once"]
pub struct Pooled<M: Manage> {
    /// `Some` until the object leaves.
    object: Option<M::Object>,
    inner: Arc<Inner<M>>,
    /// The object's place; free again after the object is back.
    _place: OwnedSemaphorePermit,
}

impl<M: Manage> Pooled<M> {
    pub(super) const fn new(
        object: M::Object,
        inner: Arc<Inner<M>>,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            object: Some(object),
            inner,
            _place: place,
        }
    }

    /// Takes the object out of the pool for good; its place is free for another one.
    #[must_use]
    pub fn detach(mut self) -> M::Object {
        self.object.take().expect("it leaves only here and in drop")
    }

    /// Disposes of an object that must not be lent again, whatever the pool thinks of it: one in the
    /// middle of an exchange, for instance.
    pub fn discard(mut self) {
        if let Some(object) = self.object.take() {
            self.inner.discard(object);
        }
    }
}

impl<M: Manage> Deref for Pooled<M> {
    type Target = M::Object;

    fn deref(&self) -> &M::Object {
        self.object.as_ref().expect("it leaves only with the guard")
    }
}

impl<M: Manage> DerefMut for Pooled<M> {
    fn deref_mut(&mut self) -> &mut M::Object {
        self.object.as_mut().expect("it leaves only with the guard")
    }
}

impl<M: Manage> Drop for Pooled<M> {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            self.inner.give_back(object);
        }
    }
}

impl<M: Manage<Object: fmt::Debug>> fmt::Debug for Pooled<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pooled").field(&**self).finish()
    }
}
