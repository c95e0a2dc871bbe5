//! Flow control of sessions.

use super::{Conditions, Pair, pair::Setup};
use crate::{
    Dialect, Dir, SessionId, SessionState, Side, StreamId, VarInt,
    capsule::{Capsule, CapsuleType},
    coding::Encode,
    connection::Event,
    frame,
};

const SIDES: [Side; 2] = [Side::Client, Side::Server];

fn is_raised(event: &Event) -> bool {
    matches!(event, Event::CreditRaised { .. })
}

fn capsules(list: &[Capsule]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for capsule in list {
        capsule.encode(&mut bytes);
    }
    let mut out = Vec::new();
    frame::encode_data(&bytes, &mut out);
    out
}

/// Writes `total` bytes to a stream, going on whenever there is credit again.
fn write_all(pair: &mut Pair, side: Side, stream: StreamId, total: usize) {
    let mut left = total;
    while left > 0 {
        let wrote = pair.at(side, |end, net| end.write(net, stream, &vec![7; left]));
        left -= wrote;
        if left > 0 {
            pair.drive();
        }
        assert!(
            wrote > 0 || pair.end(side).count(is_raised) > 0,
            "stalled, {left} bytes left"
        );
    }
    pair.drive();
}

#[test]
fn much_more_than_a_window_flows_both_ways() {
    for conditions in Conditions::all() {
        let mut pair = Setup::new().limits(1000, 10).on(conditions).ready();
        let id = pair.connect();
        for side in SIDES {
            let stream = pair
                .at(side, |end, net| end.open_stream(net, id, Dir::Uni))
                .unwrap();
            write_all(&mut pair, side, stream, 50_000);
            assert_eq!(pair.end(!side).streams[&stream].body.len(), 50_000);
            let info = pair.end(side).conn.session_info(id).unwrap();
            assert_eq!(info.flow.unwrap().data.local_used, 50_000);
        }
        pair.assert_alive();
    }
}

#[test]
fn a_peer_that_does_not_read_is_sent_one_window() {
    for side in SIDES {
        let mut pair = Setup::new().limits(1000, 10).ready();
        let id = pair.connect();
        pair.end(!side).reading = false;
        let stream = pair
            .at(side, |end, net| end.open_stream(net, id, Dir::Bi))
            .unwrap();
        let wrote = pair.at(side, |end, net| end.write(net, stream, &[0; 5000]));
        assert_eq!(wrote, 1000);
        pair.drive();
        // The peer heard that we are blocked and has nothing to give.
        assert_eq!(
            pair.end(!side)
                .count(|e| matches!(e, Event::CreditDue { .. })),
            1
        );
        let flow = pair.end(side).conn.flow(id).unwrap();
        assert_eq!(
            (flow.send_data.available(), flow.send_data.limit()),
            (0, 1000)
        );
        // Reading on, it gives credit by itself.
        pair.at(!side, |end, _| {
            assert!(end.conn.flow(id).unwrap().recv_data.consume(1000));
            end.conn.refresh_credit(id);
        });
        pair.drive();
        assert_eq!(flow.send_data.available(), 1000);
        assert_eq!(pair.end(side).count(is_raised), 1);
    }
}

#[test]
fn many_more_streams_than_a_limit_come_and_go() {
    for conditions in Conditions::all() {
        let mut pair = Setup::new().limits(1000, 4).on(conditions).ready();
        let id = pair.connect();
        for side in SIDES {
            for dir in [Dir::Bi, Dir::Uni] {
                for n in 0..50 {
                    let stream = pair.at(side, |end, net| end.open_stream(net, id, dir));
                    let stream = stream.unwrap_or_else(|| panic!("{side} stalled at {n} {dir}"));
                    pair.at(side, |end, net| end.finish(net, stream));
                    pair.drive();
                    if dir == Dir::Bi {
                        pair.at(!side, |end, net| end.finish(net, stream));
                        pair.drive();
                    }
                }
            }
        }
        pair.assert_works(id);
    }
}

#[test]
fn a_blocked_opener_gets_what_has_ended() {
    let mut pair = Setup::new().limits(1000, 160).ready();
    let id = pair.connect();
    let open =
        |pair: &mut Pair| pair.at(Side::Client, |end, net| end.open_stream(net, id, Dir::Uni));
    // Few streams end, too few to be announced at once.
    for _ in 0..5 {
        let stream = open(&mut pair).unwrap();
        pair.at(Side::Client, |end, net| end.finish(net, stream));
        pair.drive();
    }
    let flow = pair.client.conn.flow(id).unwrap();
    assert_eq!(flow.open_uni.limit(), 160);
    // Long before the limit is reached, what they gained is announced without being asked for.
    let mut opened = 5;
    while flow.open_uni.available() > 0 {
        open(&mut pair).unwrap();
        opened += 1;
        pair.drive();
    }
    assert_eq!((opened, flow.open_uni.limit()), (165, 165));
    assert!(open(&mut pair).is_none());
    pair.drive();
    pair.assert_alive();
}

#[test]
fn blocked_capsules_do_not_pile_up_answers() {
    let mut pair = Setup::new().limits(1000, 10).ready();
    let id = pair.connect();
    let blocked = [
        Capsule::DataBlocked(VarInt::from_u32(1000)),
        Capsule::StreamsBlocked {
            dir: Dir::Bi,
            limit: VarInt::from_u32(10),
        },
        Capsule::StreamsBlocked {
            dir: Dir::Uni,
            limit: VarInt::from_u32(10),
        },
    ];
    let flow = pair.server.conn.flow(id).unwrap();
    let stream = id.stream_id();
    for _ in 0..100 {
        let bytes = capsules(&blocked).into();
        pair.server.conn.handle_request_data(stream, bytes).unwrap();
        flow.recv_data.arrive(1).unwrap();
        let _ = flow.recv_data.consume(1);
    }
    let events = std::iter::from_fn(|| pair.server.conn.poll_event());
    assert_eq!(
        events
            .filter(|e| matches!(e, Event::CreditDue { .. }))
            .count(),
        1
    );
    assert!(pair.server.conn.poll_transmit().is_none());
    pair.server.conn.refresh_credit(id);
    assert!(pair.server.conn.poll_transmit().is_some());
    assert!(pair.server.conn.poll_transmit().is_none());
    assert_eq!(flow.recv_data.limit(), 1100);
}

#[test]
fn limits_of_capsules_are_taken() {
    for from in SIDES {
        let mut pair = Pair::new();
        let id = pair.connect();
        let most = VarInt::new(1 << 60).unwrap();
        let bytes = capsules(&[
            Capsule::MaxData(VarInt::MAX),
            Capsule::MaxStreams {
                dir: Dir::Bi,
                limit: most,
            },
            Capsule::MaxStreams {
                dir: Dir::Uni,
                limit: most,
            },
        ]);
        pair.send(from, id.stream_id(), &bytes);
        pair.drive();
        let flow = pair.end(!from).conn.flow(id).unwrap();
        assert_eq!(flow.send_data.limit(), VarInt::MAX.get());
        assert_eq!(flow.open_bidi.limit(), 1 << 60);
        assert_eq!(flow.open_uni.limit(), 1 << 60);
        assert_eq!(pair.end(!from).count(is_raised), 3);
        pair.assert_works(id);
    }
}

#[test]
fn streams_may_come_to_exactly_the_limit() {
    let mut pair = Setup::new().limits(10, 3).ready();
    let id = pair.connect();
    let streams: Vec<_> =
        std::iter::from_fn(|| pair.at(Side::Client, |end, net| end.open_stream(net, id, Dir::Bi)))
            .collect();
    assert_eq!(streams.len(), 3);
    pair.drive();
    assert_eq!(pair.server.accepted.len(), 3);
    pair.assert_alive();
    assert_eq!(pair.states(id), [Some(SessionState::Established); 2]);
}

#[test]
fn flow_capsules_mean_nothing_where_it_was_not_negotiated() {
    let too_many = (1_u64 << 60) + 1;
    let mut bytes = Vec::new();
    for kind in [
        CapsuleType::WT_MAX_DATA,
        CapsuleType::WT_MAX_STREAMS_BIDI,
        CapsuleType::WT_MAX_STREAMS_UNI,
        CapsuleType::WT_DATA_BLOCKED,
        CapsuleType::WT_STREAMS_BLOCKED_BIDI,
        CapsuleType::WT_STREAMS_BLOCKED_UNI,
    ] {
        for limit in [0, too_many] {
            let limit = VarInt::new(limit).unwrap();
            VarInt::new(kind.get()).unwrap().encode(&mut bytes);
            VarInt::from_u32(limit.size() as u32).encode(&mut bytes);
            limit.encode(&mut bytes);
        }
    }
    let mut framed = Vec::new();
    frame::encode_data(&bytes, &mut framed);
    for from in SIDES {
        for dialect in Dialect::ALL {
            let mut setup = Setup::new().dialect(dialect);
            setup.client.initial = Default::default();
            let mut pair = setup.ready();
            let id: SessionId = pair.connect();
            pair.send(from, id.stream_id(), &framed);
            pair.drive();
            assert_eq!(pair.states(id), [Some(SessionState::Established); 2]);
            pair.assert_works(id);
        }
    }
}

#[test]
fn sessions_have_their_own_credit() {
    let mut pair = Setup::new().limits(100, 2).ready();
    let (first, second) = (pair.connect(), pair.connect());
    pair.server.reading = false;
    let stream = pair
        .at(Side::Client, |end, net| {
            end.open_stream(net, first, Dir::Uni)
        })
        .unwrap();
    let wrote = pair.at(Side::Client, |end, net| end.write(net, stream, &[0; 200]));
    assert_eq!(wrote, 100);
    pair.drive();
    pair.assert_works(second);
}
