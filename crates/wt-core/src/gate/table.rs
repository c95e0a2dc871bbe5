//! Who holds how much.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{PeerKey, bucket::Bucket};
use crate::{
    config::{Limits, Rate},
    refusal::RefusalCause,
};

/// What a connection has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// In its handshake; the address may be forged.
    Claimed,
    /// In its handshake; the client has shown that it receives what is sent to its address.
    Shown,
    /// Through its handshake.
    Established,
}

/// What clients hold of a server, all of them or those of one address.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Held {
    /// Handshakes of clients whose address may be forged.
    claimed: usize,
    /// Handshakes of the others.
    shown: usize,
    established: usize,
    pub(super) sessions: usize,
}

impl Held {
    pub(super) const fn handshakes(self) -> usize {
        self.claimed + self.shown
    }

    const fn connections(self) -> usize {
        self.claimed + self.shown + self.established
    }

    const fn is_nothing(self) -> bool {
        self.connections() == 0 && self.sessions == 0
    }

    const fn of(&mut self, stage: Stage) -> &mut usize {
        match stage {
            Stage::Claimed => &mut self.claimed,
            Stage::Shown => &mut self.shown,
            Stage::Established => &mut self.established,
        }
    }

    /// Whether clients whose address may be forged hold so much of what the others leave that the next one would not
    /// leave half of it.
    const fn is_pressed(self, max: usize, others: usize) -> bool {
        self.claimed + 1 > max.saturating_sub(others) / 2
    }
}

/// What is held, and what was used up of the rates.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    held: Held,
    connection_rate: Bucket,
    session_rate: Bucket,
}

/// The share of an address.
#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    share: Share,
    /// It holds nothing, and is remembered for its rates alone.
    resting: bool,
}

impl Peer {
    fn owes_nothing(&self, now: Instant) -> bool {
        self.share.connection_rate.is_unused(now) && self.share.session_rate.is_unused(now)
    }
}

/// All that is known of clients. An address stays as long as it holds something, or has used up something of a rate; of
/// those that hold nothing, no more than `limits.addresses` stay.
#[derive(Debug, Default)]
pub(super) struct Table {
    total: Share,
    peers: HashMap<PeerKey, Peer>,
    resting: usize,
}

/// Whether there is room for one more.
fn full(held: usize, max: Option<usize>) -> bool {
    max.is_some_and(|max| held >= max)
}

fn wait(bucket: Bucket, rate: Option<Rate>, now: Instant) -> Option<Duration> {
    rate.and_then(|rate| bucket.wait(rate, now))
}

fn is_half_used(bucket: Bucket, rate: Option<Rate>, now: Instant) -> bool {
    rate.is_some_and(|rate| bucket.is_half_used(rate, now))
}

impl Table {
    pub(super) const fn total(&self) -> Held {
        self.total.held
    }

    pub(super) fn addresses(&self) -> usize {
        self.peers.len()
    }

    fn share(&self, key: PeerKey) -> Share {
        self.peers
            .get(&key)
            .map_or_else(Share::default, |peer| peer.share)
    }

    /// Returns whether clients that may have forged their addresses, this one among them, would use more than half of
    /// what is left to new clients by some limit.
    pub(super) fn is_pressed(&self, key: PeerKey, limits: &Limits, now: Instant) -> bool {
        let (own, all) = (self.share(key), self.total);
        let pressed = |held: Held, connections: Option<usize>, handshakes: usize| {
            let established = held.shown + held.established;
            held.is_pressed(handshakes, held.shown)
                || connections.is_some_and(|max| held.is_pressed(max, established))
        };
        pressed(all.held, limits.connections, limits.handshakes)
            || pressed(
                own.held,
                limits.connections_per_address,
                limits.handshakes_of_address(),
            )
            || is_half_used(all.connection_rate, limits.connection_rate, now)
            || is_half_used(own.connection_rate, limits.connection_rate_per_address, now)
    }

    /// Says which limit on new connections is reached, if any.
    pub(super) fn refuses_connection(
        &self,
        key: PeerKey,
        limits: &Limits,
        now: Instant,
    ) -> Option<RefusalCause> {
        let (own, all) = (self.share(key), self.total);
        if full(all.held.connections(), limits.connections) {
            Some(RefusalCause::TooManyConnections)
        } else if full(own.held.connections(), limits.connections_per_address) {
            Some(RefusalCause::ConnectionsPerAddress)
        } else if own.held.handshakes() >= limits.handshakes_of_address() {
            Some(RefusalCause::HandshakesPerAddress)
        } else if wait(own.connection_rate, limits.connection_rate_per_address, now).is_some() {
            Some(RefusalCause::ConnectionRatePerAddress)
        } else if wait(all.connection_rate, limits.connection_rate, now).is_some() {
            Some(RefusalCause::ConnectionRate)
        } else {
            None
        }
    }

    /// Says which limit on sessions is reached, if any, and how long to wait where time helps.
    pub(super) fn refuses_session(
        &self,
        key: PeerKey,
        limits: &Limits,
        now: Instant,
    ) -> Option<(RefusalCause, Option<Duration>)> {
        let (own, all) = (self.share(key), self.total);
        if full(own.held.sessions, limits.sessions_per_address) {
            return Some((RefusalCause::SessionsPerAddress, None));
        }
        if full(all.held.sessions, limits.sessions) {
            return Some((RefusalCause::Sessions, None));
        }
        let own_wait = wait(own.session_rate, limits.session_rate_per_address, now);
        if own_wait.is_some() {
            return Some((RefusalCause::SessionRatePerAddress, own_wait));
        }
        let wait = wait(all.session_rate, limits.session_rate, now);
        wait.map(|wait| (RefusalCause::SessionRate, Some(wait)))
    }

    /// Counts a new connection.
    pub(super) fn connect(&mut self, key: PeerKey, stage: Stage, limits: &Limits, now: Instant) {
        self.change(key, limits, now, |share, rate, _| {
            *share.held.of(stage) += 1;
            if let Some(rate) = rate {
                share.connection_rate.take(rate, now);
            }
        });
    }

    /// Counts a new session.
    pub(super) fn open_session(&mut self, key: PeerKey, limits: &Limits, now: Instant) {
        self.change(key, limits, now, |share, _, rate| {
            share.held.sessions += 1;
            if let Some(rate) = rate {
                share.session_rate.take(rate, now);
            }
        });
    }

    /// Takes note that sessions are over.
    pub(super) fn close_sessions(
        &mut self,
        key: PeerKey,
        count: usize,
        limits: &Limits,
        now: Instant,
    ) {
        self.change(key, limits, now, |share, _, _| share.held.sessions -= count);
    }

    /// Takes note of what became of a connection; `None` when it is over.
    pub(super) fn advance(
        &mut self,
        key: PeerKey,
        from: Stage,
        to: Option<Stage>,
        limits: &Limits,
        now: Instant,
    ) {
        self.change(key, limits, now, |share, _, _| {
            *share.held.of(from) -= 1;
            if let Some(to) = to {
                *share.held.of(to) += 1;
            }
        });
    }

    /// Changes what all hold and what an address holds; `change` is told the rates that are in force for the share.
    fn change(
        &mut self,
        key: PeerKey,
        limits: &Limits,
        now: Instant,
        change: impl Fn(&mut Share, Option<Rate>, Option<Rate>),
    ) {
        change(&mut self.total, limits.connection_rate, limits.session_rate);
        let peer = self.peers.entry(key).or_default();
        change(
            &mut peer.share,
            limits.connection_rate_per_address,
            limits.session_rate_per_address,
        );
        let was = peer.resting;
        peer.resting = peer.share.held.is_nothing();
        let forget = peer.resting && peer.owes_nothing(now);
        match (was, peer.resting && !forget) {
            (false, true) => self.resting += 1,
            (true, false) => self.resting -= 1,
            _ => {}
        }
        if forget {
            self.peers.remove(&key);
        } else if self.resting > limits.addresses {
            self.sweep(limits.addresses, now);
        }
    }

    /// Forgets addresses that hold nothing: those whose time is over, and if that is not enough, some of the others.
    ///
    /// Where some have to go, a quarter of the places is free then, so that it happens seldom.
    fn sweep(&mut self, max: usize, now: Instant) {
        self.peers
            .retain(|_, peer| !peer.resting || !peer.owes_nothing(now));
        let resting = self.peers.values().filter(|peer| peer.resting).count();
        let keep = if resting > max {
            max - max.div_ceil(4)
        } else {
            resting
        };
        // The order of a map is as good as none.
        let mut surplus = resting - keep;
        self.peers.retain(|_, peer| {
            let goes = peer.resting && surplus > 0;
            surplus -= usize::from(goes);
            !goes
        });
        self.resting = keep;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> PeerKey {
        PeerKey::new(std::net::Ipv4Addr::from_bits(number).into())
    }

    #[test]
    fn addresses_that_hold_nothing_are_forgotten_in_time_or_for_want_of_room() {
        let limits = Limits {
            connection_rate_per_address: Some(Rate::new(1, Duration::from_secs(10))),
            addresses: 8,
            ..Limits::default()
        };
        let mut table = Table::default();
        let start = Instant::now();
        let visit = |table: &mut Table, number, now| {
            table.connect(key(number), Stage::Shown, &limits, now);
            table.advance(key(number), Stage::Shown, None, &limits, now);
        };
        // One that holds a connection is never forgotten.
        table.connect(key(1000), Stage::Shown, &limits, start);
        for number in 0..100 {
            visit(&mut table, number, start);
            assert!(table.resting <= 8);
            assert!(table.addresses() <= 9);
        }
        assert!(table.resting >= 6);
        assert!(table.refuses_connection(key(99), &limits, start).is_some());
        // When their time is over, all of them go at the next lack of room.
        let later = start + Duration::from_secs(11);
        for number in 100..109 {
            visit(&mut table, number, later);
        }
        assert!((1..=8).contains(&table.resting));
        for number in 0..100 {
            assert!(!table.peers.contains_key(&key(number)));
        }
        table.advance(key(1000), Stage::Shown, None, &limits, later);
        assert!(!table.peers.contains_key(&key(1000)));
        assert_eq!(table.total().connections(), 0);
    }

    #[test]
    fn forged_addresses_never_take_more_than_half() {
        let limits = Limits {
            connections_per_address: Some(10),
            ..Limits::default()
        };
        let now = Instant::now();
        let mut table = Table::default();
        let mut forged = 0;
        while !table.is_pressed(key(1), &limits, now) {
            table.connect(key(1), Stage::Claimed, &limits, now);
            forged += 1;
        }
        assert_eq!(forged, 5);
        // Who is there has the other half, and others have theirs.
        for _ in 0..5 {
            assert_eq!(table.refuses_connection(key(1), &limits, now), None);
            table.connect(key(1), Stage::Shown, &limits, now);
        }
        let refused = table.refuses_connection(key(1), &limits, now);
        assert_eq!(refused, Some(RefusalCause::ConnectionsPerAddress));
        assert!(!table.is_pressed(key(2), &limits, now));
    }

    #[test]
    fn no_address_takes_all_handshakes() {
        for (handshakes, own) in [(1, 1), (2, 1), (8, 7), (1024, 896)] {
            let limits = Limits {
                handshakes,
                ..Limits::default()
            };
            assert_eq!(limits.handshakes_of_address(), own);
        }
    }
}
