//! How many sessions a client may ask for in a time.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use wt_core::http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{
    PeerKey,
    guard::{Guard, layer},
    peer,
};
use crate::{
    message::{Request, Response},
    response::IntoResponse,
};

type KeyOf = dyn Fn(&Request) -> Option<String> + Send + Sync;

/// Limits how many requests come from one address, or with one key, in a time; further ones get
/// status 429 with Retry-After.
///
/// Up to `max` requests may come at once; after that one more for each `window / max` that passes.
/// Requests that are refused do not count. Clones and the layers made of them count together.
///
/// ```
/// use std::time::Duration;
/// use wt_server::{Router, Session, middleware::RateLimit};
///
/// let per_address = RateLimit::new(100, Duration::from_secs(60));
/// let per_token = RateLimit::new(10, Duration::from_secs(1)).by_key(|request| {
///     let token = request.headers().get("authorization")?;
///     Some(token.to_str().ok()?.to_owned())
/// });
/// let router: Router = Router::new()
///     .route("/", async |_: Session| {})
///     .layer(per_token)
///     .layer(per_address);
/// ```
#[derive(Clone)]
#[doc(alias = "create_rate_limit_middleware", alias = "RateLimiter")]
pub struct RateLimit {
    max: u32,
    window: Duration,
    max_keys: usize,
    key_of: Option<Arc<KeyOf>>,
    known: Arc<Mutex<Known>>,
}

/// What is counted by: an address, or a text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Peer(PeerKey),
    Text(String),
}

/// Until when each key has used up its requests, if they had come evenly (the generic cell rate
/// algorithm). A key whose time has come is as good as unknown.
#[derive(Debug, Default)]
struct Known {
    used_until: HashMap<Key, Instant>,
    swept: Option<Instant>,
}

impl RateLimit {
    /// The longest key that is told apart, in bytes; longer ones count as what they begin with.
    pub const MAX_KEY: usize = 256;

    /// How many addresses or keys are known at a time, unless [`Self::max_keys`] says otherwise.
    pub const DEFAULT_MAX_KEYS: usize = 65_536;

    /// Allows each address (see [`PeerKey`]) `max` requests in `window`.
    #[must_use]
    pub fn new(max: u32, window: Duration) -> Self {
        Self {
            max,
            window,
            max_keys: Self::DEFAULT_MAX_KEYS,
            key_of: None,
            known: Arc::default(),
        }
    }

    /// Counts by a key of the request instead of by address; requests without one pass.
    #[must_use]
    pub fn by_key<F>(mut self, key_of: F) -> Self
    where
        F: Fn(&Request) -> Option<String> + Send + Sync + 'static,
    {
        self.key_of = Some(Arc::new(key_of));
        self
    }

    /// Sets how many addresses or keys are known at a time. When all of them have used up requests,
    /// further ones get 429 until one has not.
    #[must_use]
    pub const fn max_keys(mut self, max: usize) -> Self {
        self.max_keys = max;
        self
    }

    /// Returns how many addresses or keys are known now.
    #[must_use]
    pub fn known_keys(&self) -> usize {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .used_until
            .len()
    }

    /// Counts a request, or says how long to wait.
    fn take(&self, key: Key, now: Instant) -> Result<(), Duration> {
        if self.max == 0 {
            return Err(self.window);
        }
        let each = self.window / self.max;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let until = match known.used_until.get(&key) {
            Some(until) => (*until).max(now),
            None => {
                known.make_room(self.max_keys, each, now)?;
                now
            }
        };
        let next = until + each;
        // What was used may reach one window ahead.
        match next.checked_duration_since(now + each * self.max) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                known.used_until.insert(key, next);
                Ok(())
            }
        }
    }

    fn key(&self, request: &Request) -> Option<Key> {
        let Some(key_of) = &self.key_of else {
            return Some(Key::Peer(peer(request)));
        };
        let mut key = key_of(request)?;
        let fits = (0..=Self::MAX_KEY.min(key.len())).rev();
        let end = fits.into_iter().find(|end| key.is_char_boundary(*end));
        key.truncate(end.unwrap_or_default());
        Some(Key::Text(key))
    }
}

impl Known {
    /// Makes room for one more key: forgets those that have used up nothing, at most once in `pause`
    /// so that clients cannot keep the server busy with it.
    fn make_room(&mut self, max: usize, pause: Duration, now: Instant) -> Result<(), Duration> {
        if self.used_until.len() < max {
            return Ok(());
        }
        let waited = self
            .swept
            .map_or(pause, |swept| now.saturating_duration_since(swept));
        if waited >= pause {
            self.swept = Some(now);
            self.used_until.retain(|_, until| *until > now);
        }
        if self.used_until.len() < max {
            Ok(())
        } else {
            Err(pause.saturating_sub(waited).max(Duration::from_secs(1)))
        }
    }
}

impl Guard for RateLimit {
    async fn check(&self, request: &mut Request) -> Result<(), Response> {
        let Some(key) = self.key(request) else {
            return Ok(());
        };
        self.take(key, Instant::now()).map_err(|wait| {
            // Whole seconds, rounded up: after them there is room.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            (StatusCode::TOO_MANY_REQUESTS, headers).into_response()
        })
    }
}

layer!(RateLimit);

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("max", &self.max)
            .field("window", &self.window)
            .field("max_keys", &self.max_keys)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::Text(text.to_owned())
    }

    #[test]
    fn requests_come_back_one_by_one() {
        let limit = RateLimit::new(3, Duration::from_secs(30));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for _ in 0..3 {
            assert_eq!(limit.take(key("a"), start), Ok(()));
        }
        assert_eq!(limit.take(key("a"), at(4)), Err(Duration::from_secs(6)));
        assert_eq!(limit.take(key("b"), at(4)), Ok(()));
        assert_eq!(limit.take(key("a"), at(10)), Ok(()));
        assert_eq!(limit.take(key("a"), at(10)), Err(Duration::from_secs(10)));
        for _ in 0..3 {
            assert_eq!(limit.take(key("a"), at(100)), Ok(()));
        }
        assert!(limit.take(key("a"), at(100)).is_err());
    }

    #[test]
    fn keys_are_bounded_and_forgotten() {
        let limit = RateLimit::new(1, Duration::from_secs(10)).max_keys(3);
        let start = Instant::now();
        for name in ["a", "b", "c"] {
            assert_eq!(limit.take(key(name), start), Ok(()));
        }
        let wait = limit.take(key("d"), start).unwrap_err();
        assert!(wait > Duration::ZERO);
        assert_eq!(limit.known_keys(), 3);
        let later = start + Duration::from_secs(11);
        assert_eq!(limit.take(key("d"), later), Ok(()));
        assert_eq!(limit.known_keys(), 1);
    }

    #[test]
    fn nothing_is_allowed_where_the_limit_is_zero() {
        let limit = RateLimit::new(0, Duration::from_secs(10));
        assert!(limit.take(key("a"), Instant::now()).is_err());
    }
}
