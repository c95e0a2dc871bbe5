//! How many sessions a client may have at a time.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
};

use futures_util::future::BoxFuture;
use tower_layer::Layer;
use tower_service::Service;
use wt_core::http::StatusCode;

use super::{PeerKey, peer};
use crate::message::{Request, Response, refuse};

/// Limits how many sessions one address (see [`PeerKey`]) has at a time, those that are being
/// decided on among them; further ones get status 429.
///
/// Clones and the layers made of them count together. It remembers no more addresses than have
/// sessions.
#[derive(Clone, Debug)]
pub struct SessionsPerPeer {
    max: usize,
    counts: Arc<Counts>,
}

type Counts = Mutex<HashMap<PeerKey, usize>>;

impl SessionsPerPeer {
    /// Allows each address `max` sessions.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            max,
            counts: Arc::default(),
        }
    }

    fn enter(&self, key: PeerKey) -> Option<Place> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&key).copied().unwrap_or(0);
        if count >= self.max {
            return None;
        }
        counts.insert(key, count + 1);
        Some(Place {
            key,
            counts: self.counts.clone(),
        })
    }
}

/// One session's place in the count of its address.
#[derive(Debug)]
struct Place {
    key: PeerKey,
    counts: Arc<Counts>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get_mut(&self.key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(counts.remove(&self.key)),
        }
    }
}

impl<I> Layer<I> for SessionsPerPeer {
    type Service = SessionsPerPeerService<I>;

    fn layer(&self, inner: I) -> Self::Service {
        SessionsPerPeerService {
            limit: self.clone(),
            inner,
        }
    }
}

/// A service behind [`SessionsPerPeer`].
#[derive(Clone, Debug)]
pub struct SessionsPerPeerService<I> {
    limit: SessionsPerPeer,
    inner: I,
}

impl<I> Service<Request> for SessionsPerPeerService<I>
where
    I: Service<Request, Response = Response> + Clone + Send + 'static,
    I::Future: Send,
{
    type Response = Response;
    type Error = I::Error;
    type Future = BoxFuture<'static, Result<Response, I::Error>>;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Result<(), I::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Some(place) = self.limit.enter(peer(&request)) else {
            return Box::pin(async { Ok(refuse(StatusCode::TOO_MANY_REQUESTS)) });
        };
        let fresh = self.inner.clone();
        let answer = mem::replace(&mut self.inner, fresh).call(request);
        Box::pin(async move {
            let answer = answer.await?;
            Ok(answer.map(|outcome| {
                outcome.wrap(|session, serving| async move {
                    let ending = serving.await;
                    drop((place, session));
                    ending
                })
            }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back_and_nothing_is_remembered() {
        let limit = SessionsPerPeer::new(2);
        let (a, b) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let first = limit.enter(PeerKey::new(a)).unwrap();
        let second = limit.enter(PeerKey::new(a)).unwrap();
        assert!(limit.enter(PeerKey::new(a)).is_none());
        let other = limit.enter(PeerKey::new(b)).unwrap();
        drop(first);
        let third = limit.enter(PeerKey::new(a)).unwrap();
        drop((second, third, other));
        assert!(limit.counts.lock().unwrap().is_empty());
    }
}
