//! Streams and datagrams that arrive before their session.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::{Conditions, Pair, pair::Setup};
use crate::{
    Dir, ErrorCode, SessionId, Side,
    connection::{Critical, Route},
    early::EarlyLimits,
};

/// Opens a stream, writes to it and sends a datagram, all for a session that is not there yet.
fn send_early(pair: &mut Pair, side: Side, id: SessionId, dir: Dir) -> crate::StreamId {
    pair.at(side, |end, net| {
        let stream = end.open_stream(net, id, dir).unwrap();
        end.write(net, stream, b"early");
        end.finish(net, stream);
        end.send_datagram(net, id, b"datagram");
        stream
    })
}

#[test]
fn what_overtakes_the_request_waits_for_it() {
    for dir in [Dir::Bi, Dir::Uni] {
        let mut pair = Pair::new();
        let id = SessionId::new(0).unwrap();
        pair.net.hold(Side::Server, id.stream_id());
        assert_eq!(pair.request(), id);
        let stream = send_early(&mut pair, Side::Client, id, dir);
        pair.drive();
        assert!(!pair.server.early.is_empty());
        assert!(pair.server.accepted.is_empty());
        assert_eq!(pair.server.conn.route(id), Route::Early);
        pair.net.release(Side::Server, id.stream_id());
        pair.drive();
        assert_eq!(pair.server.accepted, [(id, stream)]);
        assert_eq!(pair.server.streams[&stream].body, b"early");
        assert_eq!(pair.server.datagrams, [(id, "datagram".into())]);
        assert!(pair.server.early.is_empty());
        pair.assert_works(id);
    }
}

/// A later stream was once taken as proof that all earlier ones were known.
#[test]
fn a_later_stream_does_not_make_a_late_request_impossible() {
    let mut pair = Pair::new();
    let first = pair.connect();
    let id = SessionId::new(4).unwrap();
    pair.net.hold(Side::Server, id.stream_id());
    assert_eq!(pair.request(), id);
    let third = pair.request();
    let streams = [Dir::Bi, Dir::Bi].map(|dir| send_early(&mut pair, Side::Client, id, dir));
    pair.drive();
    pair.assert_works(third);
    pair.net.release(Side::Server, id.stream_id());
    pair.drive();
    let accepted = pair.server.accepted.iter().filter(|(s, _)| *s == id);
    assert!(accepted.map(|(_, stream)| *stream).eq(streams));
    pair.assert_works(first);
}

#[test]
fn ids_that_never_were_requests_are_gone() {
    let mut pair = Pair::new();
    let id = pair.connect();
    let stream = pair
        .at(Side::Client, |end, net| end.open_stream(net, id, Dir::Bi))
        .unwrap();
    pair.drive();
    let not_a_session = SessionId::try_from(stream).unwrap();
    let gone = Route::Reject(ErrorCode::WT_SESSION_GONE);
    assert_eq!(pair.server.conn.route(not_a_session), gone);
    assert_eq!(pair.client.conn.route(SessionId::new(400).unwrap()), gone);
    // A stream that is reset before its first bytes is none either.
    let reset = pair.client.open(Dir::Bi);
    let after = pair.connect();
    assert_eq!(
        pair.server.conn.route(SessionId::try_from(reset).unwrap()),
        Route::Early
    );
    pair.net.send(
        Side::Server,
        super::Packet::Reset(reset, ErrorCode::H3_NO_ERROR),
    );
    pair.drive();
    assert_eq!(
        pair.server.conn.route(SessionId::try_from(reset).unwrap()),
        gone
    );
    pair.assert_works(after);
}

#[test]
fn what_overtakes_the_settings_waits_for_them() {
    let mut pair = Setup::new().start();
    let control = pair.client.critical(Critical::Control);
    pair.net.hold(Side::Server, control);
    pair.drive();
    let id = pair.request();
    let stream = send_early(&mut pair, Side::Client, id, Dir::Uni);
    pair.drive();
    assert!(pair.server.accepted.is_empty());
    pair.net.release(Side::Server, control);
    pair.drive();
    assert_eq!(pair.server.streams[&stream].body, b"early");
    pair.assert_works(id);
}

#[test]
fn what_overtakes_the_answer_waits_for_it() {
    let mut pair = Pair::new();
    let id = SessionId::new(0).unwrap();
    pair.net.hold(Side::Client, id.stream_id());
    pair.request();
    pair.drive();
    let stream = send_early(&mut pair, Side::Server, id, Dir::Bi);
    pair.drive();
    assert!(pair.client.accepted.is_empty());
    pair.net.release(Side::Client, id.stream_id());
    pair.drive();
    assert_eq!(pair.client.streams[&stream].body, b"early");
    assert_eq!(pair.client.datagrams.len(), 1);
    pair.assert_works(id);
}

#[test]
fn what_came_early_for_a_refused_session_is_turned_away() {
    let mut pair = Pair::new();
    pair.server.answer = None;
    let id = pair.request();
    let stream = send_early(&mut pair, Side::Client, id, Dir::Bi);
    pair.drive();
    pair.at(Side::Server, |end, net| {
        end.respond(net, id, StatusCode::FORBIDDEN, HeaderMap::new())
    });
    pair.drive();
    assert!(
        pair.server
            .rejected
            .contains(&(stream, ErrorCode::WT_SESSION_GONE))
    );
    assert!(pair.server.early.is_empty());
    assert!(pair.server.datagrams.is_empty());
}

#[test]
fn early_streams_are_rejected_when_full_and_datagrams_dropped() {
    let mut setup = Setup::new();
    setup.early = EarlyLimits {
        streams: 2,
        datagrams: 1,
        ..EarlyLimits::default()
    };
    let mut pair = setup.ready();
    pair.server.answer = None;
    let id = pair.request();
    let streams = [(); 3].map(|()| send_early(&mut pair, Side::Client, id, Dir::Uni));
    pair.drive();
    let code = ErrorCode::WT_BUFFERED_STREAM_REJECTED;
    assert_eq!(pair.server.rejected, [(streams[2], code)]);
    assert_eq!(pair.client.streams[&streams[2]].stopped, Some(code));
    pair.at(Side::Server, |end, net| {
        end.respond(net, id, StatusCode::OK, HeaderMap::new())
    });
    pair.drive();
    assert_eq!(pair.server.accepted, [(id, streams[0]), (id, streams[1])]);
    assert_eq!(pair.server.datagrams.len(), 1);
    pair.assert_works(id);
}

#[test]
fn early_streams_expire() {
    let mut pair = Pair::new();
    pair.server.answer = None;
    let id = pair.request();
    let stream = send_early(&mut pair, Side::Client, id, Dir::Bi);
    pair.drive();
    pair.pass(Duration::from_secs(4));
    assert!(pair.server.rejected.is_empty());
    pair.pass(Duration::from_secs(2));
    let code = ErrorCode::WT_BUFFERED_STREAM_REJECTED;
    assert_eq!(pair.server.rejected, [(stream, code)]);
    assert!(pair.server.early.is_empty());
    pair.at(Side::Server, |end, net| {
        end.respond(net, id, StatusCode::OK, HeaderMap::new())
    });
    pair.drive();
    assert!(pair.server.accepted.is_empty());
    pair.assert_works(id);
}

#[test]
fn one_flight_of_everything_survives_any_network() {
    for conditions in Conditions::all() {
        let mut pair = Setup::new().on(conditions).ready();
        let mut sent = Vec::new();
        for dir in [Dir::Bi, Dir::Uni, Dir::Bi] {
            let id = pair.request();
            for _ in 0..3 {
                sent.push((id, send_early(&mut pair, Side::Client, id, dir)));
            }
        }
        pair.drive();
        for (id, stream) in sent {
            assert!(
                pair.server.accepted.contains(&(id, stream)),
                "{conditions:?}"
            );
            let received = &pair.server.streams[&stream];
            assert_eq!((&received.body[..], received.fin), (&b"early"[..], true));
        }
        pair.assert_alive();
    }
}
