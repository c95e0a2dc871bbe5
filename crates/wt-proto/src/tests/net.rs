//! A network and the part of QUIC that matters here, on virtual time.
//!
//! Streams are reliable and ordered each for itself: a lost piece comes later, and what follows it on the
//! same stream waits, while other streams go on. RESET_STREAM and STOP_SENDING overtake data; datagrams
//! are really lost.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{ErrorCode, Side, StreamId};

/// A small generator of random numbers (splitmix64), the same on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// How the network treats packets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conditions {
    pub(crate) latency: Duration,
    /// Percent of the packets that are lost.
    pub(crate) loss: u64,
    /// By how much a packet may come later than another sent after it.
    pub(crate) reorder: Duration,
    pub(crate) seed: u64,
}

impl Conditions {
    pub(crate) const IDEAL: Self = Self {
        latency: Duration::from_millis(10),
        loss: 0,
        reorder: Duration::ZERO,
        seed: 0,
    };

    /// Conditions from good to bad, for tests whose outcome may not depend on them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let bad = (1..=12).map(|seed| Self {
            latency: Duration::from_millis(10 * (seed % 4)),
            loss: 5 * (seed % 5),
            reorder: Duration::from_millis(15 * (seed % 3)),
            seed,
        });
        std::iter::once(Self::IDEAL).chain(bad)
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Packet {
    Data(StreamId, Bytes),
    Fin(StreamId),
    Reset(StreamId, ErrorCode),
    Stop(StreamId, ErrorCode),
    Datagram(Bytes),
    Close(ErrorCode),
}

impl Packet {
    /// Returns the stream on which this comes in order.
    fn ordered_on(&self) -> Option<StreamId> {
        match self {
            Self::Data(id, _) | Self::Fin(id) => Some(*id),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) now: Instant,
    conditions: Conditions,
    rng: Rng,
    sent: u64,
    flying: BTreeMap<(Instant, u64), (Side, Packet)>,
    /// When the last piece of a stream arrives.
    last: HashMap<(Side, StreamId), Instant>,
    /// Streams towards a side of which nothing arrives for the time being.
    held: HashSet<(Side, StreamId)>,
    kept: Vec<(Side, Packet)>,
}

impl Net {
    pub(crate) fn new(conditions: Conditions) -> Self {
        Self {
            now: Instant::now(),
            conditions,
            rng: Rng::new(conditions.seed),
            sent: 0,
            flying: BTreeMap::new(),
            last: HashMap::new(),
            held: HashSet::new(),
            kept: Vec::new(),
        }
    }

    pub(crate) fn send(&mut self, to: Side, packet: Packet) {
        let stream = packet.ordered_on();
        if stream.is_some_and(|id| self.held.contains(&(to, id))) {
            self.kept.push((to, packet));
            return;
        }
        let Conditions {
            latency,
            loss,
            reorder,
            ..
        } = self.conditions;
        let jitter = match reorder.as_micros() as u64 {
            0 => Duration::ZERO,
            most => Duration::from_micros(self.rng.below(most)),
        };
        let mut arrival = self.now + latency + jitter;
        while self.rng.chance(loss) {
            if matches!(packet, Packet::Datagram(_)) {
                return;
            }
            // Retransmitted after about one and a half round trips.
            arrival += latency * 3 + Duration::from_millis(1);
        }
        if let Some(id) = stream {
            let last = self.last.entry((to, id)).or_insert(arrival);
            arrival = arrival.max(*last);
            *last = arrival;
        }
        self.sent += 1;
        self.flying.insert((arrival, self.sent), (to, packet));
    }

    /// Lets nothing of a stream arrive until [`Self::release`].
    pub(crate) fn hold(&mut self, to: Side, id: StreamId) {
        self.held.insert((to, id));
        let flying = std::mem::take(&mut self.flying);
        for (key, (side, packet)) in flying {
            if side == to && packet.ordered_on() == Some(id) {
                self.kept.push((side, packet));
            } else {
                self.flying.insert(key, (side, packet));
            }
        }
    }

    pub(crate) fn release(&mut self, to: Side, id: StreamId) {
        self.held.remove(&(to, id));
        let kept = std::mem::take(&mut self.kept);
        for (side, packet) in kept {
            self.send(side, packet);
        }
    }

    pub(crate) fn next_arrival(&self) -> Option<Instant> {
        self.flying.keys().next().map(|(at, _)| *at)
    }

    /// Takes out what has arrived by now.
    pub(crate) fn arrived(&mut self) -> Option<(Side, Packet)> {
        let entry = self.flying.first_entry()?;
        (entry.key().0 <= self.now).then(|| entry.remove())
    }
}
