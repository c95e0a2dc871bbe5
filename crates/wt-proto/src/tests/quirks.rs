//! Peers that deviate: capsules without frames, as PyWebTransport 0.8 has them.

use super::{Pair, pair::Setup};
use crate::{
    Dialect, DialectSet, Initiator, SessionEnd, SessionId, SessionState, Side,
    capsule::{Capsule, CapsuleReader},
    connection::{Action, Config, Connection, Critical, Event, RawCapsules, Target, Transmit},
    frame,
    head::{RequestHead, ResponseHead, UpgradeToken},
    settings::Settings,
    stream_header::UniHeader,
};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};

/// The control stream of its client, after the stream type.
const SETTINGS: [u8; 25] = [
    0x04, 0x17, 0x08, 0x01, 0x33, 0x01, 0x07, 0x10, 0x01, 0x50, 0x00, 0x6b, 0x61, 0x00, 0x6b, 0x65,
    0x00, 0x6b, 0x64, 0x00, 0x94, 0xe9, 0xcd, 0x29, 0x01,
];

/// Code 7 and reason "bye".
const CLOSE: [u8; 10] = [0x68, 0x43, 0x07, 0x00, 0x00, 0x00, 0x07, 0x62, 0x79, 0x65];
const DRAIN: [u8; 5] = [0x80, 0x00, 0x78, 0xae, 0x00];

fn connection(side: Side) -> Connection {
    let mut conn = Connection::new(Config::new(side), std::time::Instant::now());
    conn.handle_uni(UniHeader::Control).unwrap();
    let settings = Bytes::from_static(&SETTINGS);
    conn.handle_critical_data(Critical::Control, settings)
        .unwrap();
    while conn.poll_transmit().is_some() {}
    while conn.poll_event().is_some() {}
    conn
}

/// Returns a session with PyWebTransport 0.8 as the peer.
fn session(side: Side) -> (Connection, SessionId) {
    let mut conn = connection(side);
    let id = SessionId::new(0).unwrap();
    let head = RequestHead::webtransport("a", "/", UpgradeToken::WebTransport, HeaderMap::new());
    let mut block = BytesMut::new();
    let mut bytes = BytesMut::new();
    match side {
        Side::Server => {
            head.encode(&mut block);
            frame::encode_headers(&block, &mut bytes);
            conn.handle_request_opened(id.stream_id(), std::time::Instant::now());
            conn.handle_request_data(id.stream_id(), bytes.freeze())
                .unwrap();
            assert!(conn.accept(id, StatusCode::OK, HeaderMap::new()).unwrap());
        }
        Side::Client => {
            conn.connect(id.stream_id(), head).unwrap();
            ResponseHead::new(StatusCode::OK, HeaderMap::new()).encode(&mut block);
            frame::encode_headers(&block, &mut bytes);
            conn.handle_request_data(id.stream_id(), bytes.freeze())
                .unwrap();
        }
    }
    assert_eq!(conn.session_dialect(id), Some(Dialect::Draft13));
    assert_eq!(conn.session_state(id), Some(SessionState::Established));
    while conn.poll_transmit().is_some() {}
    while conn.poll_event().is_some() {}
    (conn, id)
}

fn written(conn: &mut Connection) -> Vec<Action> {
    std::iter::from_fn(|| conn.poll_transmit())
        .map(|Transmit { target, action }| {
            assert!(matches!(target, Target::Request(_)));
            action
        })
        .collect()
}

#[test]
fn its_settings_are_recognised() {
    assert!(Settings::decode(&SETTINGS[2..]).is_ok());
    let conn = connection(Side::Server);
    assert_eq!(conn.peer_dialects(), DialectSet::only(Dialect::Draft13));
}

#[test]
fn our_capsules_go_to_it_without_frames() {
    for side in [Side::Client, Side::Server] {
        let (mut conn, id) = session(side);
        conn.drain(id);
        let drain = Action::Write(Bytes::from_static(&DRAIN));
        assert_eq!(written(&mut conn), [drain]);
        conn.close(id, 7, "bye");
        let close = Action::Write(Bytes::from_static(&CLOSE));
        assert_eq!(written(&mut conn), [close, Action::Finish]);
        // It answers with a capsule of its own.
        conn.handle_request_data(id.stream_id(), Bytes::from_static(&CLOSE))
            .unwrap();
        conn.handle_request_fin(id.stream_id()).unwrap();
        assert!(!conn.has_requests());
        assert!(written(&mut conn).is_empty());
    }
}

#[test]
fn its_capsules_are_read_without_frames_in_any_pieces() {
    for side in [Side::Client, Side::Server] {
        for piece in 1..=CLOSE.len() + DRAIN.len() {
            let (mut conn, id) = session(side);
            let bytes = [&DRAIN[..], &CLOSE].concat();
            for bytes in bytes.chunks(piece) {
                let bytes = Bytes::copy_from_slice(bytes);
                conn.handle_request_data(id.stream_id(), bytes).unwrap();
            }
            conn.handle_request_fin(id.stream_id()).unwrap();
            let draining = conn.poll_event();
            assert!(
                matches!(draining, Some(Event::Draining { .. })),
                "{draining:?}"
            );
            let Some(Event::Closed { end, .. }) = conn.poll_event() else {
                panic!("not closed");
            };
            let expected = SessionEnd::Closed {
                by: Initiator::Peer,
                code: 7,
                reason: "bye".to_owned(),
            };
            assert_eq!(end, expected);
            assert_eq!(written(&mut conn), [Action::Finish]);
        }
    }
}

/// By the draft there is no flow control with limits of 0, but it stops when ours are used up.
#[test]
fn its_credit_is_renewed_though_it_grants_none() {
    let (mut conn, id) = session(Side::Server);
    let flow = conn.flow(id).unwrap();
    assert_eq!(flow.send_data.take(u64::MAX), (1 << 62) - 1);
    assert_eq!(flow.open_uni.available(), 1 << 60);
    let window = flow.recv_data.limit();
    flow.recv_data.arrive(window).unwrap();
    assert!(flow.recv_data.consume(window));
    conn.refresh_credit(id);
    let raised = [0x99, 0x0b, 0x4d, 0x3d, 0x04, 0x80, 0x80, 0x00, 0x00];
    let raised = Action::Write(Bytes::copy_from_slice(&raised));
    assert_eq!(written(&mut conn), [raised]);
    // Limits below what it does not enforce are no violation.
    let max_data = [0x99, 0x0b, 0x4d, 0x3d, 0x01, 0x20];
    let bytes = Bytes::copy_from_slice(&max_data);
    conn.handle_request_data(id.stream_id(), bytes).unwrap();
    assert_eq!(conn.session_state(id), Some(SessionState::Established));
}

#[test]
fn its_repeated_limits_are_no_violation() {
    let mut conn = Connection::new(Config::new(Side::Server), std::time::Instant::now());
    conn.handle_uni(UniHeader::Control).unwrap();
    let mut settings = SETTINGS.to_vec();
    settings[13] = 0x05;
    conn.handle_critical_data(Critical::Control, settings.into())
        .unwrap();
    let id = SessionId::new(0).unwrap();
    let head = RequestHead::webtransport("a", "/", UpgradeToken::WebTransport, HeaderMap::new());
    let (mut block, mut bytes) = (BytesMut::new(), BytesMut::new());
    head.encode(&mut block);
    frame::encode_headers(&block, &mut bytes);
    conn.handle_request_opened(id.stream_id(), std::time::Instant::now());
    conn.handle_request_data(id.stream_id(), bytes.freeze())
        .unwrap();
    conn.accept(id, StatusCode::OK, HeaderMap::new()).unwrap();
    let flow = conn.flow(id).unwrap();
    let max_data = [0x99, 0x0b, 0x4d, 0x3d, 0x01, 0x20];
    for _ in 0..3 {
        conn.handle_request_data(id.stream_id(), Bytes::copy_from_slice(&max_data))
            .unwrap();
        assert_eq!(flow.send_data.limit(), 0x20);
    }
    assert_eq!(conn.session_state(id), Some(SessionState::Established));
}

#[test]
fn raw_capsules_can_be_had_with_every_peer_and_with_none() {
    for (mode, raw) in [(RawCapsules::Always, true), (RawCapsules::Auto, false)] {
        let mut setup = Setup::new();
        setup.client.raw_capsules = mode;
        setup.server.raw_capsules = mode;
        let mut pair: Pair = setup.ready();
        let id = pair.connect();
        pair.client.conn.drain(id);
        let Some(Action::Write(bytes)) = pair.client.conn.poll_transmit().map(|t| t.action) else {
            panic!("nothing written");
        };
        let mut reader = CapsuleReader::new();
        reader.push(bytes.clone());
        let read = matches!(reader.next(), Ok(Some(Capsule::Drain)));
        assert_eq!(read, raw);
        pair.send(Side::Client, id.stream_id(), &bytes);
        pair.drive();
        assert_eq!(
            pair.server.conn.session_state(id),
            Some(SessionState::Draining)
        );
        pair.at(Side::Server, |end, _| end.conn.close(id, 1, "raw"));
        pair.drive();
        assert!(pair.client.ending(id).is_some());
        pair.assert_alive();
    }
    let mut config = Config::new(Side::Server);
    config.raw_capsules = RawCapsules::Never;
    let mut conn = Connection::new(config, std::time::Instant::now());
    conn.handle_uni(UniHeader::Control).unwrap();
    conn.handle_critical_data(Critical::Control, Bytes::from_static(&SETTINGS))
        .unwrap();
}
