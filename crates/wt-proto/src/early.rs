//! Streams and datagrams that arrive before their session (draft-16, 4.6).
//!
//! They are kept until the session is there, within limits of count, bytes and age. The buffer does
//! not know what a stream is: the caller keeps its own handle in it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::SessionId;

/// How much may wait for sessions that are not there yet, in one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    clippy::exhaustive_structs,
    reason = "a plain list of limits; a new one is a decision"
)]
pub struct EarlyLimits {
    /// Streams.
    pub streams: usize,
    /// Datagrams.
    pub datagrams: usize,
    /// Streams, and datagrams, for one and the same session.
    pub per_session: usize,
    /// Bytes of both, as far as they have been read.
    pub bytes: usize,
    /// How long an item may wait.
    pub age: Duration,
}

impl Default for EarlyLimits {
    fn default() -> Self {
        Self {
            streams: 64,
            datagrams: 64,
            per_session: 32,
            bytes: 64 * 1024,
            age: Duration::from_secs(5),
        }
    }
}

#[derive(Debug)]
struct Waiting<T> {
    session: SessionId,
    since: Instant,
    bytes: usize,
    item: T,
}

/// The buffer of early streams (as handles of type `S`) and datagrams of one connection.
#[derive(Debug)]
pub struct Early<S> {
    limits: EarlyLimits,
    streams: VecDeque<Waiting<S>>,
    datagrams: VecDeque<Waiting<Bytes>>,
    bytes: usize,
}

impl<S> Early<S> {
    /// Creates an empty buffer.
    #[must_use]
    pub const fn new(limits: EarlyLimits) -> Self {
        Self {
            limits,
            streams: VecDeque::new(),
            datagrams: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Keeps a stream of which `bytes` have been read already.
    ///
    /// # Errors
    ///
    /// Gives the stream back when there is no room: reject it with WT_BUFFERED_STREAM_REJECTED.
    pub fn push_stream(
        &mut self,
        session: SessionId,
        stream: S,
        bytes: usize,
        now: Instant,
    ) -> Result<(), S> {
        if !self.has_room(&self.streams, self.limits.streams, session, bytes) {
            return Err(stream);
        }
        self.bytes += bytes;
        self.streams.push_back(Waiting {
            session,
            since: now,
            bytes,
            item: stream,
        });
        Ok(())
    }

    /// Keeps a datagram; `false` when there was no room and it was dropped.
    pub fn push_datagram(&mut self, session: SessionId, datagram: Bytes, now: Instant) -> bool {
        let bytes = datagram.len();
        if !self.has_room(&self.datagrams, self.limits.datagrams, session, bytes) {
            return false;
        }
        self.bytes += bytes;
        self.datagrams.push_back(Waiting {
            session,
            since: now,
            bytes,
            item: datagram,
        });
        true
    }

    fn has_room<T>(
        &self,
        queue: &VecDeque<Waiting<T>>,
        most: usize,
        session: SessionId,
        bytes: usize,
    ) -> bool {
        queue.len() < most
            && self.bytes + bytes <= self.limits.bytes
            && queue.iter().filter(|w| w.session == session).count() < self.limits.per_session
    }

    /// Takes out all that waits for `session`, each kind in the order of its arrival.
    pub fn take(&mut self, session: SessionId) -> (Vec<S>, Vec<Bytes>) {
        let streams = Self::split(&mut self.streams, &mut self.bytes, |w| w.session == session);
        let datagrams = Self::split(&mut self.datagrams, &mut self.bytes, |w| {
            w.session == session
        });
        (streams, datagrams)
    }

    /// Drops what waited too long and returns the streams among it, to be rejected.
    pub fn expire(&mut self, now: Instant) -> Vec<S> {
        let age = self.limits.age;
        let old = move |since: Instant| now.saturating_duration_since(since) >= age;
        Self::split(&mut self.datagrams, &mut self.bytes, |w| old(w.since));
        Self::split(&mut self.streams, &mut self.bytes, |w| old(w.since))
    }

    /// Returns when [`Self::expire`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let first = [
            self.streams.front().map(|w| w.since),
            self.datagrams.front().map(|w| w.since),
        ];
        first
            .into_iter()
            .flatten()
            .min()
            .map(|since| since + self.limits.age)
    }

    /// Returns how many streams wait.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Returns how many datagrams wait.
    #[must_use]
    pub fn datagrams(&self) -> usize {
        self.datagrams.len()
    }

    /// Returns the bytes that are kept.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.datagrams.is_empty()
    }

    fn split<T>(
        queue: &mut VecDeque<Waiting<T>>,
        bytes: &mut usize,
        pick: impl Fn(&Waiting<T>) -> bool,
    ) -> Vec<T> {
        if !queue.iter().any(&pick) {
            return Vec::new();
        }
        let (out, rest): (VecDeque<_>, VecDeque<_>) = queue.drain(..).partition(|w| pick(w));
        *queue = rest;
        *bytes -= out.iter().map(|w| w.bytes).sum::<usize>();
        out.into_iter().map(|w| w.item).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: EarlyLimits = EarlyLimits {
        streams: 2,
        datagrams: 2,
        per_session: 2,
        bytes: 100,
        age: Duration::from_secs(5),
    };

    fn id(n: u64) -> SessionId {
        SessionId::new(n * 4).unwrap()
    }

    #[test]
    fn items_come_out_in_order_and_only_for_their_session() {
        let now = Instant::now();
        let mut early = Early::new(EarlyLimits {
            streams: 9,
            per_session: 9,
            ..LIMITS
        });
        for n in 0..6u64 {
            early.push_stream(id(n % 2), n, 10, now).unwrap();
        }
        assert!(early.push_datagram(id(1), Bytes::from_static(b"one"), now));
        let (streams, datagrams) = early.take(id(1));
        assert_eq!(streams, [1, 3, 5]);
        assert_eq!(datagrams, [Bytes::from_static(b"one")]);
        assert_eq!(early.bytes(), 30);
        assert_eq!(early.take(id(0)).0, [0, 2, 4]);
        assert!(early.is_empty());
        assert_eq!(early.bytes(), 0);
    }

    #[test]
    fn early_stream_rejected_when_full() {
        let now = Instant::now();
        let mut early = Early::new(LIMITS);
        early.push_stream(id(0), 'a', 0, now).unwrap();
        early.push_stream(id(1), 'b', 0, now).unwrap();
        assert_eq!(early.push_stream(id(2), 'c', 0, now), Err('c'));
    }

    #[test]
    fn bytes_of_streams_and_datagrams_share_one_limit() {
        let now = Instant::now();
        let mut early = Early::new(LIMITS);
        early.push_stream(id(0), 'a', 60, now).unwrap();
        assert!(!early.push_datagram(id(0), Bytes::from(vec![0; 41]), now));
        assert!(early.push_datagram(id(0), Bytes::from(vec![0; 40]), now));
        assert_eq!(early.push_stream(id(0), 'b', 1, now), Err('b'));
    }

    #[test]
    fn one_session_does_not_take_the_room_of_others() {
        let now = Instant::now();
        let limits = EarlyLimits {
            streams: 9,
            per_session: 2,
            ..LIMITS
        };
        let mut early = Early::new(limits);
        early.push_stream(id(0), 'a', 0, now).unwrap();
        early.push_stream(id(0), 'b', 0, now).unwrap();
        assert_eq!(early.push_stream(id(0), 'c', 0, now), Err('c'));
        early.push_stream(id(1), 'd', 0, now).unwrap();
        assert!(early.push_datagram(id(0), Bytes::new(), now));
    }

    #[test]
    fn items_expire_by_age() {
        let start = Instant::now();
        let mut early = Early::new(LIMITS);
        assert_eq!(early.deadline(), None);
        early.push_stream(id(0), 'a', 1, start).unwrap();
        early
            .push_stream(id(0), 'b', 1, start + Duration::from_secs(1))
            .unwrap();
        assert_eq!(early.deadline(), Some(start + LIMITS.age));
        assert!(early.expire(start + Duration::from_secs(4)).is_empty());
        assert_eq!(early.expire(start + LIMITS.age), ['a']);
        assert_eq!(early.deadline(), Some(start + Duration::from_secs(6)));
        assert_eq!(early.bytes(), 1);
    }
}
