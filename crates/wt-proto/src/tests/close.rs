//! The ends of sessions.

use http::{HeaderMap, StatusCode};

use super::{Conditions, Pair, pair::Setup};
use crate::{
    Dir, ErrorCode, Initiator, SessionEnd, SessionState, Side,
    capsule::{Capsule, CloseSession},
    coding::Encode,
    connection::Event,
    frame,
};

fn closed(by: Initiator, code: u32, reason: &str) -> SessionEnd {
    SessionEnd::Closed {
        by,
        code,
        reason: reason.to_owned(),
    }
}

fn close_frame(code: u32, reason: &str) -> Vec<u8> {
    let mut capsule = Vec::new();
    Capsule::Close(CloseSession::new(code, reason)).encode(&mut capsule);
    let mut out = Vec::new();
    frame::encode_data(&capsule, &mut out);
    out
}

#[test]
fn code_and_reason_reach_the_peer_and_streams_end() {
    for conditions in Conditions::all() {
        for side in [Side::Client, Side::Server] {
            let mut pair = Setup::new().on(conditions).ready();
            let id = pair.connect();
            let beside = pair.connect();
            let (mine, theirs) = (side, !side);
            let stream = pair
                .at(mine, |end, net| end.open_stream(net, id, Dir::Bi))
                .unwrap();
            let other = pair
                .at(theirs, |end, net| end.open_stream(net, id, Dir::Uni))
                .unwrap();
            pair.drive();
            pair.at(mine, |end, _| end.conn.close(id, 0xffff_ffff, "see you ✓"));
            pair.drive();
            let local = closed(Initiator::Local, 0xffff_ffff, "see you ✓");
            let remote = closed(Initiator::Peer, 0xffff_ffff, "see you ✓");
            assert_eq!(pair.end(mine).ending(id), Some(local));
            assert_eq!(pair.end(theirs).ending(id), Some(remote), "{conditions:?}");
            let gone = ErrorCode::WT_SESSION_GONE;
            for (at, id) in [(theirs, stream), (mine, other)] {
                assert_eq!(pair.end(at).reset_code(id), Some(gone));
            }
            for end in [&pair.client, &pair.server] {
                let over = |e: &Event| matches!(e, Event::Gone { id: i } if *i == id);
                assert_eq!(end.count(over), 1, "{}", end.side);
                assert_eq!(end.conn.session_state(id), None);
                assert_eq!(end.conn.session_count(), 1);
            }
            pair.assert_works(beside);
        }
    }
}

#[test]
fn a_long_reason_is_cut_between_characters() {
    let mut pair = Pair::new();
    let id = pair.connect();
    pair.at(Side::Client, |end, _| {
        end.conn.close(id, 1, &"é".repeat(600))
    });
    pair.drive();
    let expected = closed(Initiator::Peer, 1, &"é".repeat(512));
    assert_eq!(pair.server.ending(id), Some(expected));
}

#[test]
fn an_end_without_a_capsule_is_code_0() {
    for side in [Side::Client, Side::Server] {
        let mut pair = Pair::new();
        let id = pair.connect();
        pair.send_fin(side, id.stream_id());
        pair.drive();
        let end = pair.end(!side).ending(id);
        assert_eq!(end, Some(closed(Initiator::Peer, 0, "")));
        // The answer to it is an end as well.
        let end = pair.end(side).ending(id);
        assert_eq!(end, Some(closed(Initiator::Peer, 0, "")));
        pair.assert_alive();
    }
}

#[test]
fn both_may_close_at_once() {
    for conditions in Conditions::all() {
        let mut pair = Setup::new().on(conditions).ready();
        let id = pair.connect();
        pair.at(Side::Client, |end, _| end.conn.close(id, 1, "client"));
        pair.at(Side::Server, |end, _| end.conn.close(id, 2, "server"));
        assert_eq!(pair.states(id), [Some(SessionState::Closing); 2]);
        pair.drive();
        let client = closed(Initiator::Local, 1, "client");
        assert_eq!(pair.client.ending(id), Some(client));
        let server = closed(Initiator::Local, 2, "server");
        assert_eq!(pair.server.ending(id), Some(server));
        assert_eq!(pair.states(id), [None; 2]);
        pair.assert_alive();
    }
}

#[test]
fn closing_again_does_nothing() {
    let mut pair = Pair::new();
    let id = pair.connect();
    for code in [1, 2] {
        pair.at(Side::Client, |end, _| end.conn.close(id, code, ""));
    }
    pair.drive();
    let end = closed(Initiator::Peer, 1, "");
    assert_eq!(pair.server.ending(id), Some(end));
    pair.at(Side::Server, |end, _| end.conn.close(id, 3, ""));
    pair.drive();
    pair.assert_alive();
}

/// STOP_SENDING beside the capsule is allowed and often arrives first.
#[test]
fn a_stop_that_overtakes_the_capsule_does_not_hide_it() {
    let (mut pair, id) = stopped_before_the_capsule();
    assert_eq!(
        pair.client.conn.session_state(id),
        Some(SessionState::Established)
    );
    pair.net.release(Side::Client, id.stream_id());
    pair.drive();
    let end = closed(Initiator::Peer, 7, "bye");
    assert_eq!(pair.client.ending(id), Some(end));
    assert!(!pair.client.conn.has_requests());
}

fn stopped_before_the_capsule() -> (Pair, crate::SessionId) {
    let mut pair = Pair::new();
    let id = pair.connect();
    let stream = id.stream_id();
    pair.net.hold(Side::Client, stream);
    pair.at(Side::Server, |end, _| end.conn.close(id, 7, "bye"));
    let stop = super::Packet::Stop(stream, ErrorCode::WT_SESSION_GONE);
    pair.net.send(Side::Client, stop);
    pair.drive();
    (pair, id)
}

#[test]
fn a_session_whose_stream_is_stopped_can_still_be_closed() {
    let (mut pair, id) = stopped_before_the_capsule();
    pair.at(Side::Client, |end, _| {
        end.conn.drain(id);
        end.conn.close(id, 3, "");
    });
    assert_eq!(
        pair.client.ending(id),
        Some(closed(Initiator::Local, 3, ""))
    );
    pair.net.release(Side::Client, id.stream_id());
    pair.drive();
    assert!(!pair.client.conn.has_requests());
    pair.assert_alive();
}

#[test]
fn resets_and_stops_abort_the_session() {
    for conditions in Conditions::all() {
        for side in [Side::Client, Side::Server] {
            let code = ErrorCode::H3_INTERNAL_ERROR;
            for stop in [false, true] {
                let mut pair = Setup::new().on(conditions).ready();
                let id = pair.connect();
                let packet = if stop {
                    super::Packet::Stop(id.stream_id(), code)
                } else {
                    super::Packet::Reset(id.stream_id(), code)
                };
                pair.net.send(side, packet);
                pair.drive();
                let end = pair.end(side).ending(id);
                assert_eq!(end, Some(SessionEnd::Aborted(code)));
                assert_eq!(pair.end(side).conn.session_count(), 0);
                assert!(pair.end(!side).ending(id).is_some());
                pair.assert_alive();
            }
        }
    }
}

#[test]
fn capsules_sent_ahead_count_when_the_session_is_accepted() {
    let mut pair = Pair::new();
    pair.server.answer = None;
    let id = pair.request();
    pair.send(
        Side::Client,
        id.stream_id(),
        &close_frame(5, "changed my mind"),
    );
    pair.send_fin(Side::Client, id.stream_id());
    pair.drive();
    assert_eq!(
        pair.server.conn.session_state(id),
        Some(SessionState::Connecting)
    );
    pair.at(Side::Server, |end, net| {
        end.respond(net, id, StatusCode::OK, HeaderMap::new())
    });
    pair.drive();
    let end = closed(Initiator::Peer, 5, "changed my mind");
    assert_eq!(pair.server.ending(id), Some(end));
    assert!(!pair.server.conn.has_requests());
}

/// A caller that reads on before the answer brings the end as well.
#[test]
fn an_end_that_is_read_before_the_answer_counts_after_it() {
    for accept in [true, false] {
        let mut pair = Pair::new();
        pair.server.answer = None;
        let id = pair.request();
        pair.drive();
        pair.at(Side::Server, |end, net| {
            end.conn.handle_request_fin(id.stream_id()).unwrap();
            assert_eq!(end.conn.session_count(), 1);
            let status = if accept {
                StatusCode::OK
            } else {
                StatusCode::FORBIDDEN
            };
            end.respond(net, id, status, HeaderMap::new());
            assert_eq!(end.conn.session_count(), 0);
            assert!(!end.conn.has_requests());
        });
        let ended = pair.server.ending(id).is_some();
        assert_eq!(ended, accept);
    }
}

#[test]
fn streams_and_datagrams_of_a_closed_session_are_turned_away() {
    let mut pair = Pair::new();
    let id = pair.connect();
    pair.at(Side::Server, |end, _| end.conn.close(id, 0, ""));
    let stream = pair.at(Side::Client, |end, net| {
        end.send_datagram(net, id, b"late");
        end.open_stream(net, id, Dir::Uni).unwrap()
    });
    pair.drive();
    assert!(pair.server.datagrams.is_empty());
    assert!(pair.server.accepted.is_empty());
    assert!(
        pair.server
            .rejected
            .contains(&(stream, ErrorCode::WT_SESSION_GONE))
    );
}
