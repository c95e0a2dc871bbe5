//! Flow control of sessions: data and stream credit in both directions (draft-16, 5).
//!
//! The counters are atomic, because every stream of a session spends and returns credit while the
//! state machine of its connection announces new limits: neither waits for the other. All methods
//! take `&self`; [`Flow`] is meant to be shared in an `Arc`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::{Dir, InitialLimits, ProtocolViolation};

/// The largest number of streams that a limit may name (draft-16, 5.6.2).
pub const MAX_STREAMS: u64 = 1 << 60;

/// The largest number of bytes that a limit may name: what a variable-length integer holds.
const MAX_DATA: u64 = (1 << 62) - 1;

/// Credit that the peer granted us and that we spend: bytes, or streams to open.
#[derive(Debug)]
pub struct SendCredit {
    limit: AtomicU64,
    used: AtomicU64,
    blocked: AtomicBool,
    /// The limit of which the peer was told last that somebody blocks there.
    told: AtomicU64,
}

impl SendCredit {
    /// No limit: none is as large.
    const NOWHERE: u64 = u64::MAX;

    fn new(limit: u64) -> Self {
        Self {
            limit: AtomicU64::new(limit),
            used: AtomicU64::new(0),
            blocked: AtomicBool::new(false),
            told: AtomicU64::new(Self::NOWHERE),
        }
    }

    /// Takes up to `want` units and returns how many it got; 0 means that the limit is reached.
    pub fn take(&self, want: u64) -> u64 {
        let mut used = self.used.load(Relaxed);
        loop {
            let got = want.min(self.limit.load(Relaxed).saturating_sub(used));
            if got == 0 {
                return 0;
            }
            match self
                .used
                .compare_exchange_weak(used, used + got, Relaxed, Relaxed)
            {
                Ok(_) => return got,
                Err(now) => used = now,
            }
        }
    }

    /// Gives back units that were taken and not spent.
    pub fn give_back(&self, units: u64) {
        self.used.fetch_sub(units, Relaxed);
    }

    /// Returns how many units may be taken now.
    #[must_use]
    pub fn available(&self) -> u64 {
        self.limit
            .load(Relaxed)
            .saturating_sub(self.used.load(Relaxed))
    }

    /// Returns the limit that the peer granted.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit.load(Relaxed)
    }

    /// Returns the units spent so far.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// Notes that somebody waits for more; `true` unless the peer knows, which is told once for each limit.
    ///
    /// However many wait: they would keep the peer busy with what it has heard.
    #[must_use]
    pub fn set_blocked(&self) -> bool {
        if self.told.load(Relaxed) == self.limit() {
            return false;
        }
        self.blocked.store(true, Relaxed);
        true
    }

    /// Returns the limit at which somebody blocks, once for each.
    pub(crate) fn take_blocked(&self) -> Option<u64> {
        if !self.blocked.swap(false, Relaxed) || self.available() > 0 {
            return None;
        }
        let limit = self.limit();
        (self.told.swap(limit, Relaxed) != limit).then_some(limit)
    }

    /// Raises the limit; `false` when `limit` is not above the present one.
    fn raise(&self, limit: u64) -> bool {
        self.limit.fetch_max(limit, Relaxed) < limit
    }
}

/// Credit for bytes that we granted the peer.
///
/// What arrives is checked against the limit; what the application reads moves the limit up, by a
/// new announcement each time that half a window has been read. A reader that keeps up therefore
/// never lets the peer run dry, and one that does not read holds the peer at one window.
#[derive(Debug)]
pub struct DataCredit {
    window: AtomicU64,
    limit: AtomicU64,
    arrived: AtomicU64,
    consumed: AtomicU64,
}

impl DataCredit {
    fn new(window: u64) -> Self {
        Self {
            window: AtomicU64::new(window),
            limit: AtomicU64::new(window),
            arrived: AtomicU64::new(0),
            consumed: AtomicU64::new(0),
        }
    }

    /// Notes that `bytes` of stream bodies arrived.
    ///
    /// # Errors
    ///
    /// [`ProtocolViolation::DataLimitExceeded`] when the peer went over its limit.
    pub fn arrive(&self, bytes: u64) -> Result<(), ProtocolViolation> {
        let arrived = self.arrived.fetch_add(bytes, Relaxed) + bytes;
        if arrived > self.limit.load(Relaxed) {
            return Err(ProtocolViolation::DataLimitExceeded);
        }
        Ok(())
    }

    /// Notes that the application took `bytes`; `true` when a new limit should be announced.
    #[must_use]
    pub fn consume(&self, bytes: u64) -> bool {
        let consumed = self.consumed.fetch_add(bytes, Relaxed) + bytes;
        self.is_due(consumed)
    }

    /// Notes that up to `bytes` may never be seen, since their stream was reset or stopped.
    ///
    /// The final size of such a stream is not known to us (see `docs/status.md`), so the limit moves
    /// by all that the stream could still have carried: the peer can never stall on lost bytes.
    #[must_use]
    pub fn forgive(&self, bytes: u64) -> bool {
        self.consume(bytes)
    }

    /// Returns the bytes read by the application so far.
    #[must_use]
    pub fn consumed(&self) -> u64 {
        self.consumed.load(Relaxed)
    }

    /// Returns the bytes seen so far.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.arrived.load(Relaxed)
    }

    /// Returns the limit as announced.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit.load(Relaxed)
    }

    /// Returns how many bytes the peer may send beyond what the application has read.
    #[must_use]
    pub fn window(&self) -> u64 {
        self.window.load(Relaxed)
    }

    /// Changes the window; a larger one takes effect with the next announcement.
    pub fn set_window(&self, bytes: u64) {
        self.window.store(bytes, Relaxed);
    }

    /// Returns whether a new limit should be announced.
    #[must_use]
    pub fn is_due_now(&self) -> bool {
        self.is_due(self.consumed())
    }

    fn is_due(&self, consumed: u64) -> bool {
        let ahead = self.limit.load(Relaxed).saturating_sub(consumed);
        ahead <= self.window.load(Relaxed) / 2
    }

    /// Moves the limit up and returns it when an announcement is due, or the peer asked for what there is.
    pub(crate) fn renew(&self, asked: bool) -> Option<u64> {
        let consumed = self.consumed.load(Relaxed);
        if !asked && !self.is_due(consumed) {
            return None;
        }
        let limit = consumed
            .saturating_add(self.window.load(Relaxed))
            .min(MAX_DATA);
        (self.limit.fetch_max(limit, Relaxed) < limit).then_some(limit)
    }
}

/// Credit for streams of one direction that we granted the peer.
///
/// The ends of streams are counted in halves, since the two halves of a bidirectional stream end
/// independently of each other and share nothing: a stream of which one half is over counts half.
#[derive(Debug)]
pub struct StreamCredit {
    window: u64,
    /// Halves of a stream of this direction.
    halves: u64,
    limit: AtomicU64,
    opened: AtomicU64,
    ended_halves: AtomicU64,
}

impl StreamCredit {
    fn new(dir: Dir, window: u64) -> Self {
        Self {
            window,
            halves: if dir == Dir::Bi { 2 } else { 1 },
            limit: AtomicU64::new(window),
            opened: AtomicU64::new(0),
            ended_halves: AtomicU64::new(0),
        }
    }

    /// Notes that the peer opened a stream.
    ///
    /// # Errors
    ///
    /// [`ProtocolViolation::StreamLimitExceeded`] when the peer went over its limit.
    pub fn open(&self) -> Result<(), ProtocolViolation> {
        let opened = self.opened.fetch_add(1, Relaxed) + 1;
        if opened > self.limit.load(Relaxed) {
            return Err(ProtocolViolation::StreamLimitExceeded);
        }
        Ok(())
    }

    /// Notes that a half of a stream of the peer ended; `true` when a new limit should be
    /// announced. A unidirectional stream has one half, a bidirectional one has two.
    #[must_use]
    pub fn end_half(&self) -> bool {
        let halves = self.ended_halves.fetch_add(1, Relaxed) + 1;
        self.is_due(halves / self.halves)
    }

    /// Makes up for a stream that the peer may have counted and that never arrived as one of this
    /// session, since it was reset before its header: the peer can never run dry for such streams.
    /// `true` when a new limit should be announced.
    #[must_use]
    pub fn forgive(&self) -> bool {
        let halves = self.ended_halves.fetch_add(self.halves, Relaxed) + self.halves;
        self.is_due(halves / self.halves)
    }

    /// Returns the streams that the peer opened so far.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened.load(Relaxed)
    }

    /// Returns the streams of the peer that ended so far, [forgiven](Self::forgive) ones among them.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.ended_halves.load(Relaxed) / self.halves
    }

    /// Returns the limit as announced.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit.load(Relaxed)
    }

    /// An announcement is due when it brings a sixteenth of the window, or when the peer comes near
    /// its limit: a browser that finds no credit fails at once, it does not wait.
    fn is_due(&self, ended: u64) -> bool {
        let limit = self.limit.load(Relaxed);
        let gain = (ended + self.window).saturating_sub(limit);
        let left = limit.saturating_sub(self.opened.load(Relaxed));
        gain > 0 && (gain >= self.window / 16 || left <= self.window / 8)
    }

    /// Returns whether the peer came near its limit while there are ended streams to make up for.
    pub(crate) fn is_short(&self) -> bool {
        self.is_due(self.ended())
    }

    /// Moves the limit up and returns it when an announcement is due, or the peer asked for what there is.
    pub(crate) fn renew(&self, asked: bool) -> Option<u64> {
        let ended = self.ended();
        if !asked && !self.is_due(ended) {
            return None;
        }
        let limit = (ended + self.window).min(MAX_STREAMS);
        (self.limit.fetch_max(limit, Relaxed) < limit).then_some(limit)
    }
}

/// All credit of one session.
#[derive(Debug)]
#[non_exhaustive]
pub struct Flow {
    /// Bytes that we may send.
    pub send_data: SendCredit,
    /// Bidirectional streams that we may open.
    pub open_bidi: SendCredit,
    /// Unidirectional streams that we may open.
    pub open_uni: SendCredit,
    /// Bytes that the peer may send.
    pub recv_data: DataCredit,
    /// Bidirectional streams that the peer may open.
    pub accept_bidi: StreamCredit,
    /// Unidirectional streams that the peer may open.
    pub accept_uni: StreamCredit,
}

impl Flow {
    /// Creates the credit of a session from what each side granted at its start.
    #[must_use]
    pub fn new(local: InitialLimits, peer: InitialLimits) -> Self {
        Self {
            send_data: SendCredit::new(peer.max_data),
            open_bidi: SendCredit::new(peer.max_streams_bidi),
            open_uni: SendCredit::new(peer.max_streams_uni),
            recv_data: DataCredit::new(local.max_data),
            accept_bidi: StreamCredit::new(Dir::Bi, local.max_streams_bidi),
            accept_uni: StreamCredit::new(Dir::Uni, local.max_streams_uni),
        }
    }

    /// Returns the credit for opening streams of `dir`.
    #[must_use]
    pub fn open(&self, dir: Dir) -> &SendCredit {
        match dir {
            Dir::Bi => &self.open_bidi,
            Dir::Uni => &self.open_uni,
        }
    }

    /// Returns the credit for streams of `dir` that the peer opens.
    #[must_use]
    pub fn accept(&self, dir: Dir) -> &StreamCredit {
        match dir {
            Dir::Bi => &self.accept_bidi,
            Dir::Uni => &self.accept_uni,
        }
    }

    /// Takes a new limit for bytes from the peer.
    pub(crate) fn handle_max_data(&self, limit: u64) -> Result<(), ProtocolViolation> {
        if self.send_data.raise(limit) {
            Ok(())
        } else {
            Err(ProtocolViolation::MaxDataNotIncreased)
        }
    }

    /// Takes a new limit for streams from the peer.
    pub(crate) fn handle_max_streams(&self, dir: Dir, limit: u64) -> Result<(), ProtocolViolation> {
        if self.open(dir).raise(limit) {
            Ok(())
        } else {
            Err(ProtocolViolation::MaxStreamsNotIncreased)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(data: u64, streams: u64) -> Flow {
        let limits = InitialLimits {
            max_data: data,
            max_streams_bidi: streams,
            max_streams_uni: streams,
        };
        Flow::new(limits, limits)
    }

    #[test]
    fn credit_is_taken_up_to_the_limit_and_given_back() {
        let flow = flow(10, 1);
        assert_eq!(flow.send_data.take(7), 7);
        assert_eq!(flow.send_data.take(7), 3);
        assert_eq!(flow.send_data.take(1), 0);
        flow.send_data.give_back(2);
        assert_eq!(flow.send_data.available(), 2);
        flow.handle_max_data(20).unwrap();
        assert_eq!(flow.send_data.available(), 12);
    }

    #[test]
    fn a_limit_that_does_not_grow_is_a_violation() {
        let flow = flow(10, 5);
        assert_eq!(
            flow.handle_max_data(10),
            Err(ProtocolViolation::MaxDataNotIncreased)
        );
        assert_eq!(
            flow.handle_max_data(9),
            Err(ProtocolViolation::MaxDataNotIncreased)
        );
        for dir in [Dir::Bi, Dir::Uni] {
            let shrunk = flow.handle_max_streams(dir, 4);
            assert_eq!(shrunk, Err(ProtocolViolation::MaxStreamsNotIncreased));
        }
    }

    #[test]
    fn a_reading_peer_never_stalls() {
        let flow = flow(1000, 1);
        let mut sent = 0;
        let mut limit = 1000;
        for _ in 0..1000 {
            let chunk = 100;
            assert!(sent + chunk <= limit, "stalled at {sent} of {limit}");
            sent += chunk;
            flow.recv_data.arrive(chunk).unwrap();
            if flow.recv_data.consume(chunk) {
                limit = flow.recv_data.renew(false).unwrap();
            }
        }
        assert_eq!(flow.recv_data.consumed(), 100_000);
    }

    #[test]
    fn data_beyond_the_limit_is_a_violation_even_unread() {
        let flow = flow(1000, 1);
        flow.recv_data.arrive(1000).unwrap();
        assert_eq!(
            flow.recv_data.arrive(1),
            Err(ProtocolViolation::DataLimitExceeded)
        );
    }

    #[test]
    fn limits_follow_the_window_when_it_grows() {
        let flow = flow(1000, 1);
        flow.recv_data.arrive(600).unwrap();
        flow.recv_data.set_window(4000);
        assert!(flow.recv_data.consume(600));
        assert_eq!(flow.recv_data.renew(false), Some(4600));
        assert_eq!(flow.recv_data.renew(false), None);
    }

    #[test]
    fn stream_credit_is_renewed_as_streams_end() {
        let flow = flow(1, 1000);
        let credit = &flow.accept_bidi;
        for _ in 0..1000 {
            credit.open().unwrap();
        }
        assert_eq!(credit.open(), Err(ProtocolViolation::StreamLimitExceeded));
        assert!(!credit.end_half(), "half a stream is no credit");
        assert!(credit.end_half(), "a peer at its limit is served at once");
        assert_eq!(credit.renew(false), Some(1001));
        assert_eq!(credit.renew(false), None);
    }

    #[test]
    fn streams_that_never_arrived_cost_the_peer_nothing() {
        let flow = flow(1, 32);
        let mut limit = 32;
        for used in 0..1000 {
            assert!(used < limit, "ran dry after {used} streams");
            if flow.accept_bidi.forgive() {
                limit = flow.accept_bidi.renew(false).unwrap();
            }
        }
    }

    #[test]
    fn stream_credit_is_announced_in_steps_while_there_is_plenty() {
        let flow = flow(1, 1600);
        for _ in 0..200 {
            flow.accept_uni.open().unwrap();
        }
        let due = (0..100).filter(|_| flow.accept_uni.end_half()).count();
        assert_eq!(due, 1);
        assert_eq!(flow.accept_uni.renew(false), Some(1700));
        assert!(!flow.accept_uni.end_half());
        assert_eq!(
            flow.accept_uni.renew(true),
            Some(1701),
            "a blocked peer gets what there is"
        );
    }

    #[test]
    fn blocked_is_told_once_and_only_while_it_is_true() {
        let flow = flow(10, 1);
        let credit = &flow.send_data;
        assert_eq!(credit.take(10), 10);
        assert!(credit.set_blocked());
        assert!(credit.set_blocked(), "the peer has not been told");
        assert_eq!(credit.take_blocked(), Some(10));
        assert_eq!(credit.take_blocked(), None);
        assert!(!credit.set_blocked(), "the peer knows");
        assert_eq!(credit.take_blocked(), None);
        flow.handle_max_data(11).unwrap();
        assert_eq!(credit.take(1), 1);
        assert!(credit.set_blocked());
        assert_eq!(credit.take_blocked(), Some(11), "another limit");
    }

    #[test]
    fn who_blocks_after_all_where_nobody_was_heard_is_told() {
        let flow = flow(10, 1);
        let credit = &flow.send_data;
        assert_eq!(credit.take(10), 10);
        assert!(credit.set_blocked());
        credit.give_back(1);
        assert_eq!(credit.take_blocked(), None, "it is no longer true");
        assert_eq!(credit.take(1), 1);
        assert!(credit.set_blocked());
        assert_eq!(credit.take_blocked(), Some(10));
    }
}
