//! Drain and GOAWAY.

use http::{HeaderMap, StatusCode};

use super::{Conditions, Pair, pair::Setup};
use crate::{
    Dir, ErrorCode, SessionId, SessionState, Side,
    connection::{CannotConnect, ConnectError, Event, Refusal},
    frame,
    head::{RequestHead, UpgradeToken},
};

fn draining(id: SessionId) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Draining { id: i } if *i == id)
}

#[test]
fn drain_is_told_once_and_everything_goes_on() {
    for conditions in Conditions::all() {
        for side in [Side::Client, Side::Server] {
            let mut pair = Setup::new().on(conditions).ready();
            let id = pair.connect();
            let beside = pair.connect();
            for _ in 0..2 {
                pair.at(side, |end, _| end.conn.drain(id));
            }
            pair.drive();
            pair.at(!side, |end, _| end.conn.drain(id));
            pair.drive();
            assert_eq!(pair.states(id), [Some(SessionState::Draining); 2]);
            for end in [&pair.client, &pair.server] {
                assert_eq!(end.count(draining(id)), 1);
                assert_eq!(end.count(draining(beside)), 0);
            }
            pair.assert_works(id);
            pair.at(side, |end, _| end.conn.close(id, 1, "done"));
            pair.drive();
            assert!(pair.end(!side).ending(id).is_some());
        }
    }
}

#[test]
fn goaway_of_a_server_drains_sessions_and_takes_no_new_ones() {
    let mut pair = Pair::new();
    let id = pair.connect();
    pair.at(Side::Server, |end, _| end.conn.goaway());
    // This request crosses it on the way.
    let late = pair.request();
    pair.drive();
    assert_eq!(pair.states(id), [Some(SessionState::Draining); 2]);
    assert_eq!(pair.server.refusals(), [Refusal::GoingAway]);
    let error = pair.client.failure(late);
    let code = ErrorCode::H3_REQUEST_REJECTED;
    assert!(
        matches!(error, Some(ConnectError::Rejected(c)) if c == code),
        "{error:?}"
    );
    assert_eq!(
        pair.client.conn.can_connect(),
        Err(CannotConnect::GoingAway)
    );
    assert_eq!(pair.client.count(|e| matches!(e, Event::GoAway)), 1);
    assert_eq!(pair.client.conn.session_count(), 1);
    pair.assert_works(id);
}

#[test]
fn goaway_of_a_client_drains_sessions() {
    let mut pair = Pair::new();
    let id = pair.connect();
    for _ in 0..2 {
        pair.at(Side::Client, |end, _| end.conn.goaway());
    }
    pair.drive();
    assert_eq!(pair.states(id), [Some(SessionState::Draining); 2]);
    assert_eq!(
        pair.client.conn.can_connect(),
        Err(CannotConnect::GoingAway)
    );
    pair.assert_works(id);
}

/// A session that is accepted after GOAWAY was not told to finish.
#[test]
fn a_session_that_begins_after_goaway_drains_too() {
    for side in [Side::Client, Side::Server] {
        let mut pair = Pair::new();
        pair.server.answer = None;
        let id = pair.request();
        pair.drive();
        pair.at(side, |end, _| end.conn.goaway());
        pair.drive();
        pair.at(Side::Server, |end, net| {
            end.respond(net, id, StatusCode::OK, HeaderMap::new())
        });
        pair.drive();
        assert_eq!(pair.states(id), [Some(SessionState::Draining); 2]);
        for end in [&pair.client, &pair.server] {
            assert_eq!(end.count(draining(id)), 1);
        }
        pair.assert_works(id);
    }
}

#[test]
fn pending_requests_above_the_id_of_goaway_fail() {
    let mut pair = Pair::new();
    pair.server.answer = None;
    let ids = [pair.request(), pair.request(), pair.request()];
    pair.drive();
    let control = pair.server.critical(crate::connection::Critical::Control);
    let mut bytes = Vec::new();
    frame::encode_goaway(ids[1].into(), &mut bytes);
    pair.send(Side::Server, control, &bytes);
    pair.drive();
    assert!(pair.client.failure(ids[0]).is_none());
    assert!(pair.client.failure(ids[1]).is_some());
    assert!(pair.client.failure(ids[2]).is_some());
    assert_eq!(pair.client.conn.session_count(), 1);
    // A smaller id later takes the rest along.
    let mut bytes = Vec::new();
    frame::encode_goaway(crate::VarInt::from_u32(0), &mut bytes);
    pair.send(Side::Server, control, &bytes);
    pair.drive();
    assert!(pair.client.failure(ids[0]).is_some());
    assert_eq!(pair.client.conn.session_count(), 0);
    pair.assert_alive();
}

#[test]
fn requests_below_the_id_of_goaway_are_still_answered() {
    let mut pair = Pair::new();
    let head = RequestHead::webtransport("a", "/", UpgradeToken::WebTransportH3, HeaderMap::new());
    let mut block = bytes::BytesMut::new();
    head.encode(&mut block);
    let mut bytes = Vec::new();
    frame::encode_headers(&block, &mut bytes);
    let id = pair.send_on_new(Side::Client, Dir::Bi, &bytes[..3]);
    pair.drive();
    pair.at(Side::Server, |end, _| end.conn.goaway());
    pair.send(Side::Client, id, &bytes[3..]);
    pair.drive();
    let id = SessionId::try_from(id).unwrap();
    assert_eq!(
        pair.server.conn.session_state(id),
        Some(SessionState::Draining)
    );
}
