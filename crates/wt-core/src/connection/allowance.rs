//! How many streams QUIC lets the peer open.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

use quinn::VarInt;
use wt_proto::Dir;

use crate::config::{StreamCredit, TransportConfig};

/// How many streams at a time a browser gets: it fails at its limit instead of waiting.
///
/// QUIC announces streams that ended only when they are an eighth of this, so a page that holds
/// many may find so many fewer: at least 1000 are left.
const BROWSER_STREAMS: u64 = 1152;

/// How many times as many streams a peer gets that uses more than half of what it has.
const GROWTH: u64 = 4;

/// A peer that has opened so many streams in all, over or not, opens more.
const USED: u64 = 8;

/// How many streams at a time such a peer gets at least: QUIC announces every ninth that ended then, not every third.
const USED_STREAMS: u64 = 64;

/// The streams that the peer may have open at a time, as QUIC counts them.
///
/// Each allowed stream takes memory from the start, so a connection begins with few and gets more
/// while they are in use.
#[derive(Debug)]
pub(super) struct Allowance {
    bidi: Kind,
    uni: Kind,
}

#[derive(Debug)]
struct Kind {
    max: u64,
    /// What the peer may have open now.
    now: AtomicU64,
    /// Streams that the peer has opened, those that are over too.
    opened: AtomicU64,
    /// Halves of streams of the peer that are in use; each bidirectional stream has two.
    halves: AtomicUsize,
}

impl Kind {
    const fn new(credit: StreamCredit) -> Self {
        Self {
            max: credit.max,
            now: AtomicU64::new(credit.initial),
            opened: AtomicU64::new(0),
            halves: AtomicUsize::new(0),
        }
    }
}

const fn halves(dir: Dir) -> usize {
    match dir {
        Dir::Bi => 2,
        Dir::Uni => 1,
    }
}

impl Allowance {
    pub(super) const fn new(config: &TransportConfig) -> Self {
        Self {
            bidi: Kind::new(config.streams_bidi),
            uni: Kind::new(config.streams_uni),
        }
    }

    fn kind(&self, dir: Dir) -> &Kind {
        match dir {
            Dir::Bi => &self.bidi,
            Dir::Uni => &self.uni,
        }
    }

    /// Takes note of a new stream of the peer, and allows more before the peer runs dry, or once it has opened several.
    pub(super) fn opened(&self, quic: &quinn::Connection, dir: Dir) {
        let kind = self.kind(dir);
        let opened = kind.opened.fetch_add(1, SeqCst) + 1;
        let in_use = (kind.halves.fetch_add(halves(dir), SeqCst) + halves(dir)) / halves(dir);
        let now = kind.now.load(SeqCst);
        let mut wanted = now;
        if in_use as u64 * 2 > now {
            wanted = now.saturating_mul(GROWTH);
        }
        if opened == USED {
            wanted = wanted.max(USED_STREAMS);
        }
        if wanted > now {
            self.raise(quic, dir, wanted);
        }
    }

    /// Returns a number of streams that the peer cannot have opened more of until now.
    ///
    /// QUIC allows as many as are over and as many as may be open; none is over that was not taken note of.
    pub(super) fn granted(&self, dir: Dir) -> u64 {
        let kind = self.kind(dir);
        kind.opened.load(SeqCst) + kind.now.load(SeqCst)
    }

    /// Takes note that one half of a stream of the peer is over.
    pub(super) fn half_ended(&self, dir: Dir) {
        self.kind(dir).halves.fetch_sub(1, SeqCst);
    }

    /// Takes note that a whole stream of the peer is over.
    pub(super) fn ended(&self, dir: Dir) {
        self.kind(dir).halves.fetch_sub(halves(dir), SeqCst);
    }

    /// Allows as many streams as a page may want at once.
    pub(super) fn allow_browser(&self, quic: &quinn::Connection) {
        for dir in [Dir::Bi, Dir::Uni] {
            self.raise(quic, dir, BROWSER_STREAMS);
        }
    }

    fn raise(&self, quic: &quinn::Connection, dir: Dir, streams: u64) {
        let kind = self.kind(dir);
        let streams = streams.min(kind.max);
        if kind.now.fetch_max(streams, SeqCst) < streams {
            let streams = VarInt::from_u64(streams).unwrap_or(VarInt::MAX);
            match dir {
                Dir::Bi => quic.set_max_concurrent_bi_streams(streams),
                Dir::Uni => quic.set_max_concurrent_uni_streams(streams),
            }
        }
    }
}
