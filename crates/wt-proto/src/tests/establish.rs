//! From SETTINGS and CONNECT to a session, or to none.

use std::time::Duration;

use bytes::BytesMut;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::{Conditions, Pair, pair::Setup};
use crate::{
    Dialect, DialectSet, Dir, ErrorCode, ProtocolViolation, SessionId, SessionState, Side,
    StreamId, VarInt,
    connection::{CannotConnect, ConnectError, Critical, Event, Refusal},
    frame,
    head::{RequestHead, ResponseHead, UpgradeToken},
    settings::Setting,
    subprotocol,
};

fn headers_frame(encode: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut block = BytesMut::new();
    encode(&mut block);
    let mut out = BytesMut::new();
    frame::encode_headers(&block, &mut out);
    out
}

fn head(protocol: UpgradeToken) -> RequestHead {
    RequestHead::webtransport("example.com", "/", protocol, HeaderMap::new())
}

/// Has the client send a request that its connection would not send.
fn request(pair: &mut Pair, head: &RequestHead) -> StreamId {
    let bytes = headers_frame(|out| head.encode(out));
    let id = pair.send_on_new(Side::Client, Dir::Bi, &bytes);
    pair.drive();
    id
}

fn offer(protocols: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let value = subprotocol::encode_offer(protocols).unwrap();
    headers.insert(subprotocol::WT_AVAILABLE_PROTOCOLS, value);
    headers
}

fn choice(protocol: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let value = subprotocol::encode_choice(protocol).unwrap();
    headers.insert(subprotocol::WT_PROTOCOL, value);
    headers
}

#[test]
fn each_dialect_is_spoken_whichever_side_asks_for_it() {
    for conditions in Conditions::all() {
        for dialect in Dialect::ALL {
            for side in [Side::Client, Side::Server] {
                let mut setup = Setup::new().on(conditions);
                let config = match side {
                    Side::Client => &mut setup.client,
                    Side::Server => &mut setup.server,
                };
                config.dialects = DialectSet::only(dialect);
                let mut pair = setup.ready();
                let id = pair.connect();
                for end in [&pair.client, &pair.server] {
                    assert_eq!(end.conn.session_dialect(id), Some(dialect));
                    let has_flow = end.conn.flow(id).is_some();
                    assert_eq!(has_flow, dialect.has_flow_control());
                    assert_eq!(end.conn.session_count(), 1);
                }
                pair.assert_works(id);
            }
        }
    }
}

#[test]
fn the_draft_02_fields_are_exchanged() {
    let mut pair = Setup::new().dialect(Dialect::Draft02).ready();
    pair.connect();
    let Some(Event::Requested { head, dialect, .. }) = pair.server.events.get(1) else {
        panic!("{:?}", pair.server.events);
    };
    assert_eq!(*dialect, Dialect::Draft02);
    assert_eq!(head.headers["sec-webtransport-http3-draft02"], "1");
    assert_eq!(head.upgrade_token(), Some(UpgradeToken::WebTransport));
    let Some(Event::Established { head, .. }) = pair.client.events.get(1) else {
        panic!("{:?}", pair.client.events);
    };
    assert_eq!(head.headers["sec-webtransport-http3-draft"], "draft02");
}

#[test]
fn fields_and_a_subprotocol_go_both_ways() {
    let mut pair = Pair::new();
    let mut answer = choice("chat");
    answer.insert("x-answer", HeaderValue::from_static("a"));
    pair.server.answer = Some((StatusCode::ACCEPTED, answer));
    let mut fields = offer(&["log", "chat"]);
    fields.insert("origin", HeaderValue::from_static("https://example.com"));
    let id = pair
        .at(Side::Client, |end, net| end.connect(net, fields))
        .unwrap();
    pair.drive();
    let Some(Event::Requested { head, .. }) = pair.server.events.get(1) else {
        panic!("{:?}", pair.server.events);
    };
    assert_eq!(head.headers["origin"], "https://example.com");
    assert_eq!(subprotocol::decode_offer(&head.headers), ["log", "chat"]);
    assert_eq!(head.protocol.as_deref(), Some("webtransport-h3"));
    let Some(Event::Established { head, protocol, .. }) = pair.client.events.get(1) else {
        panic!("{:?}", pair.client.events);
    };
    assert_eq!(protocol.as_deref(), Some("chat"));
    assert_eq!(head.status, StatusCode::ACCEPTED);
    assert_eq!(head.headers["x-answer"], "a");
    pair.assert_works(id);
}

#[test]
fn a_subprotocol_that_was_not_offered_ends_the_session_alone() {
    let mut pair = Pair::new();
    let beside = pair.connect();
    pair.server.answer = Some((StatusCode::OK, choice("other")));
    let id = pair
        .at(Side::Client, |end, net| end.connect(net, offer(&["chat"])))
        .unwrap();
    pair.drive();
    let error = pair.client.failure(id);
    let expected = ProtocolViolation::AlpnMismatch;
    assert!(
        matches!(error, Some(ConnectError::Violation(v)) if v == expected),
        "{error:?}"
    );
    let end = pair.server.ending(id).unwrap();
    assert_eq!(end, crate::SessionEnd::Aborted(ErrorCode::WT_ALPN_ERROR));
    pair.assert_works(beside);
}

#[test]
fn a_choice_without_an_offer_means_nothing() {
    let mut pair = Pair::new();
    pair.server.answer = Some((StatusCode::OK, choice("other")));
    let id = pair.connect();
    let established = |e: &Event| matches!(e, Event::Established { protocol: None, .. });
    assert_eq!(pair.client.count(established), 1);
    pair.assert_works(id);
}

#[test]
fn a_refusal_has_its_status_whatever_the_network_does() {
    for conditions in Conditions::all() {
        for status in [301, 403, 404, 429, 503] {
            let status = StatusCode::from_u16(status).unwrap();
            let mut pair = Setup::new().on(conditions).ready();
            pair.server.answer = Some((status, HeaderMap::new()));
            let id = pair.request();
            pair.drive();
            match pair.client.failure(id) {
                Some(ConnectError::Status(head)) => assert_eq!(head.status, status),
                other => panic!("{other:?} with {conditions:?}"),
            }
            for end in [&pair.client, &pair.server] {
                assert_eq!(end.conn.session_count(), 0);
                assert!(!end.conn.has_requests(), "{}", end.side);
            }
            pair.server.answer = Some((StatusCode::OK, HeaderMap::new()));
            let id = pair.connect();
            pair.assert_works(id);
        }
    }
}

#[test]
fn a_session_is_neither_refused_with_2xx_nor_accepted_with_4xx() {
    let mut pair = Pair::new();
    pair.server.answer = None;
    let id = pair.request();
    pair.drive();
    pair.at(Side::Server, |end, _| {
        let accepted = end.conn.accept(id, StatusCode::NOT_FOUND, HeaderMap::new());
        assert_eq!(accepted, Ok(false));
        end.conn.reject(id, StatusCode::OK, HeaderMap::new());
    });
    pair.drive();
    let status = match pair.client.failure(id) {
        Some(ConnectError::Status(head)) => head.status,
        other => panic!("{other:?}"),
    };
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
}

/// A refusal with content and trailers, which a client does not read, once ended the connection.
#[test]
fn the_content_of_a_refusal_is_not_read() {
    let mut pair = Pair::new();
    let beside = pair.connect();
    pair.server.answer = None;
    let id = pair.request();
    pair.drive();
    let not_found = ResponseHead::new(StatusCode::NOT_FOUND, HeaderMap::new());
    let mut bytes = headers_frame(|out| not_found.encode(out));
    frame::encode_data(b"not here", &mut bytes);
    frame::encode_headers(&[0, 0], &mut bytes);
    pair.send(Side::Server, id.stream_id(), &bytes);
    pair.drive();
    assert!(matches!(
        pair.client.failure(id),
        Some(ConnectError::Status(_))
    ));
    pair.assert_works(beside);
}

#[test]
fn interim_answers_are_skipped() {
    let mut pair = Pair::new();
    pair.server.answer = None;
    let id = pair.request();
    pair.drive();
    for status in [100, 103] {
        let interim = ResponseHead::new(StatusCode::from_u16(status).unwrap(), HeaderMap::new());
        let bytes = headers_frame(|out| interim.encode(out));
        pair.send(Side::Server, id.stream_id(), &bytes);
    }
    pair.drive();
    assert_eq!(
        pair.client.conn.session_state(id),
        Some(SessionState::Connecting)
    );
    pair.at(Side::Server, |end, net| {
        end.respond(net, id, StatusCode::OK, HeaderMap::new())
    });
    pair.drive();
    pair.assert_works(id);
}

#[test]
fn a_client_waits_for_settings_that_suit_it() {
    let mut pair = Setup::new().start();
    assert_eq!(
        pair.client.conn.can_connect(),
        Err(CannotConnect::SettingsMissing)
    );
    pair.drive();
    assert_eq!(pair.client.conn.can_connect(), Ok(Dialect::Draft15));
    assert_eq!(
        pair.server.conn.can_connect(),
        Err(CannotConnect::Unsupported)
    );
    assert_eq!(pair.client.conn.peer_dialects(), DialectSet::ALL);

    let mut setup = Setup::new().dialect(Dialect::Draft02);
    setup.server.dialects = DialectSet::only(Dialect::Draft15);
    let pair = setup.ready();
    assert_eq!(
        pair.client.conn.can_connect(),
        Err(CannotConnect::Unsupported)
    );

    let mut pair = Setup::new().start();
    pair.client.conn.handle_transport_parameters(false).unwrap();
    pair.drive();
    assert_eq!(
        pair.client.violation,
        Some(ProtocolViolation::SettingsInvalidValue)
    );
}

#[test]
fn a_client_sends_no_head_that_the_server_says_it_does_not_take() {
    let mut setup = Setup::new();
    setup.server.max_field_section = 400;
    let mut pair = setup.ready();
    let mut fields = HeaderMap::new();
    fields.insert("x-long", HeaderValue::from_str(&"x".repeat(200)).unwrap());
    let refused = pair.at(Side::Client, |end, net| end.connect(net, fields));
    assert_eq!(refused, Err(CannotConnect::HeadTooLarge));
    assert_eq!(pair.client.conn.session_count(), 0);
}

#[test]
fn too_large_a_request_head_is_answered_with_431() {
    let mut setup = Setup::new();
    setup.server.max_field_section = 300;
    let mut pair = setup.ready();
    let mut large = head(UpgradeToken::WebTransportH3);
    large
        .headers
        .insert("x", HeaderValue::from_str(&"0".repeat(280)).unwrap());
    let id = request(&mut pair, &large);
    assert_eq!(pair.server.refusals(), [Refusal::TooLarge]);
    assert!(pair.server.rejected.is_empty());
    // Its length alone is too much: nobody waits for the rest.
    let mut length = BytesMut::new();
    frame::encode_header(frame::FrameType::HEADERS, 1 << 20, &mut length);
    pair.send_on_new(Side::Client, Dir::Bi, &length);
    pair.drive();
    assert_eq!(pair.server.refusals(), [Refusal::TooLarge; 2]);
    assert!(!pair.server.conn.wants_request_data(id) || !pair.server.conn.has_requests());
    pair.assert_alive();
}

#[test]
fn too_large_an_answer_ends_the_request_alone() {
    let mut setup = Setup::new();
    setup.client.max_field_section = 400;
    let mut pair = setup.ready();
    let beside = pair.connect();
    let mut fields = HeaderMap::new();
    let random: String = (0..600u32)
        .map(|n| char::from(b'!' + (n * n % 89) as u8))
        .collect();
    fields.insert("x", HeaderValue::from_str(&random).unwrap());
    pair.server.answer = None;
    let id = pair.request();
    pair.drive();
    // Our server would not send it.
    let answer = ResponseHead::new(StatusCode::OK, fields);
    let bytes = headers_frame(|out| answer.encode(out));
    pair.send(Side::Server, id.stream_id(), &bytes);
    pair.drive();
    let error = pair.client.failure(id);
    let expected = ProtocolViolation::FieldSectionTooLarge;
    assert!(
        matches!(error, Some(ConnectError::Violation(v)) if v == expected),
        "{error:?}"
    );
    pair.assert_works(beside);
}

#[test]
fn requests_for_something_else_are_answered_without_the_application() {
    let mut pair = Pair::new();
    let beside = pair.connect();
    let mut get = head(UpgradeToken::WebTransport);
    get.method = Method::GET;
    get.protocol = None;
    let mut plain = head(UpgradeToken::WebTransport);
    plain.protocol = None;
    plain.scheme = None;
    plain.path = None;
    let mut unknown = head(UpgradeToken::WebTransport);
    unknown.protocol = Some("connect-udp".to_owned());
    for (head, status) in [
        (get, StatusCode::NOT_FOUND),
        (plain, StatusCode::NOT_FOUND),
        (unknown, StatusCode::NOT_IMPLEMENTED),
    ] {
        request(&mut pair, &head);
        let refusals = pair.server.refusals();
        assert_eq!(refusals.last(), Some(&Refusal::NotWebTransport(status)));
    }
    let mut http = head(UpgradeToken::WebTransportH3);
    http.scheme = Some("http".to_owned());
    request(&mut pair, &http);
    let violation = Refusal::Violation(ProtocolViolation::MalformedMessage);
    assert_eq!(pair.server.refusals().last(), Some(&violation));
    assert_eq!(pair.server.conn.session_count(), 1);
    pair.assert_works(beside);
}

#[test]
fn settings_that_lack_something_are_a_malformed_request() {
    let mut setup = Setup::new().dialect(Dialect::Draft02);
    setup.server.dialects = DialectSet::only(Dialect::Draft15);
    let mut pair = setup.ready();
    request(&mut pair, &head(UpgradeToken::WebTransport));
    assert_eq!(pair.server.refusals(), [Refusal::RequirementsNotMet]);
    // The other token goes with the settings that matter.
    let id = request(&mut pair, &head(UpgradeToken::WebTransportH3));
    let id = SessionId::try_from(id).unwrap();
    let state = pair.server.conn.session_state(id);
    assert_eq!(state, Some(SessionState::Established));
    pair.assert_alive();
}

#[test]
fn a_request_waits_for_the_settings_of_its_client() {
    let mut pair = Setup::new().start();
    let control = pair.client.critical(Critical::Control);
    pair.net.hold(Side::Server, control);
    pair.drive();
    let id = pair.request();
    pair.drive();
    assert!(!pair.server.conn.wants_request_data(id.stream_id()));
    assert_eq!(pair.server.conn.session_count(), 0);
    pair.net.release(Side::Server, control);
    pair.drive();
    pair.assert_works(id);
}

/// The request was forgotten with its end when that came before SETTINGS.
#[test]
fn a_finished_request_is_answered_even_if_settings_come_later() {
    let mut pair = Setup::new().start();
    let control = pair.client.critical(Critical::Control);
    pair.net.hold(Side::Server, control);
    pair.drive();
    let mut get = head(UpgradeToken::WebTransport);
    get.method = Method::GET;
    get.protocol = None;
    let bytes = headers_frame(|out| get.encode(out));
    let id = pair.client.open(Dir::Bi);
    pair.at(Side::Server, |end, net| {
        end.conn.handle_request_opened(id, net.now);
        end.conn.handle_request_data(id, bytes.freeze()).unwrap();
        end.conn.handle_request_fin(id).unwrap();
    });
    pair.net.release(Side::Server, control);
    pair.drive();
    assert_eq!(
        pair.server.refusals(),
        [Refusal::NotWebTransport(StatusCode::NOT_FOUND)]
    );
    assert!(!pair.server.conn.has_requests());
}

#[test]
fn a_request_head_is_awaited_only_so_long() {
    let mut pair = Pair::new();
    let beside = pair.connect();
    pair.send_on_new(Side::Client, Dir::Bi, &[0x01, 0x10, 0x00]);
    pair.drive();
    pair.pass(Duration::from_secs(4));
    assert!(pair.server.refusals().is_empty());
    pair.pass(Duration::from_secs(2));
    let violation = Refusal::Violation(ProtocolViolation::RequestIncomplete);
    assert_eq!(pair.server.refusals(), [violation]);
    assert_eq!(pair.server.conn.deadline(), None);
    pair.assert_works(beside);
}

#[test]
fn settings_are_awaited_only_so_long() {
    for side in [Side::Client, Side::Server] {
        let mut pair = Setup::new().start();
        let control = pair.end(side).critical(Critical::Control);
        pair.net.hold(!side, control);
        pair.pass(Duration::from_secs(9));
        pair.assert_alive();
        pair.pass(Duration::from_secs(2));
        let violation = ProtocolViolation::MissingSettings;
        assert_eq!(pair.end(!side).violation, Some(violation));
        assert_eq!(pair.end(side).closed, Some(ErrorCode::H3_MISSING_SETTINGS));
    }
}

#[test]
fn several_sessions_share_a_connection_with_flow_control() {
    for dialect in [Dialect::Draft13, Dialect::Draft15] {
        let mut pair = Setup::new().dialect(dialect).ready();
        let ids: Vec<_> = (0..5).map(|_| pair.connect()).collect();
        assert_eq!(pair.server.conn.session_count(), 5);
        for id in &ids {
            pair.assert_works(*id);
        }
        let open = pair.client.conn.open_sessions().count();
        assert_eq!(open, 5);
    }
}

#[test]
fn one_session_alone_without_flow_control() {
    for off in [Side::Client, Side::Server] {
        for dialect in [Dialect::Draft13, Dialect::Draft15] {
            let mut setup = Setup::new().dialect(dialect);
            match off {
                Side::Client => setup.client.initial = Default::default(),
                Side::Server => setup.server.initial = Default::default(),
            }
            let mut pair = setup.ready();
            let first = pair.connect();
            assert!(pair.client.conn.flow(first).is_none());
            assert_eq!(
                pair.client.conn.can_connect(),
                Err(CannotConnect::TooManySessions)
            );
            // A client that does not know this rule is told.
            let second = request(&mut pair, &head(dialect.token()));
            assert_eq!(pair.server.refusals(), [Refusal::TooManySessions]);
            assert_eq!(pair.server.conn.session_count(), 1);
            assert_eq!(
                pair.client
                    .conn
                    .session_state(SessionId::try_from(second).unwrap()),
                None
            );
            pair.assert_works(first);
            pair.at(Side::Client, |end, _| end.conn.close(first, 0, ""));
            pair.drive();
            assert_eq!(pair.client.conn.can_connect(), Ok(dialect));
            pair.connect();
        }
    }
}

#[test]
fn the_announced_number_of_sessions_is_kept() {
    for dialect in Dialect::ALL {
        let mut setup = Setup::new().dialect(dialect);
        setup.server.max_sessions = 2;
        setup.client.max_sessions = 2;
        let mut pair = setup.ready();
        let first = pair.connect();
        pair.connect();
        assert_eq!(
            pair.client.conn.can_connect(),
            Err(CannotConnect::TooManySessions)
        );
        request(&mut pair, &head(dialect.token()));
        assert_eq!(pair.server.refusals(), [Refusal::TooManySessions]);
        pair.assert_works(first);
    }
}

#[test]
fn a_rejected_request_carries_its_code() {
    let mut setup = Setup::new();
    setup.server.max_sessions = 1;
    let mut pair = setup.ready();
    pair.connect();
    let id = pair.request();
    pair.drive();
    let error = pair.client.failure(id);
    let code = ErrorCode::H3_REQUEST_REJECTED;
    assert!(
        matches!(error, Some(ConnectError::Rejected(c)) if c == code),
        "{error:?}"
    );
}

#[test]
fn a_client_may_give_up_before_the_answer() {
    for conditions in Conditions::all() {
        let mut pair = Setup::new().on(conditions).ready();
        pair.server.answer = None;
        let id = pair.request();
        pair.drive();
        pair.at(Side::Client, |end, _| end.conn.close(id, 1, "never mind"));
        pair.drive();
        let error = pair.server.failure(id);
        let code = ErrorCode::H3_REQUEST_CANCELLED;
        assert!(
            matches!(error, Some(ConnectError::Rejected(c)) if c == code),
            "{error:?}"
        );
        for end in [&pair.client, &pair.server] {
            assert_eq!(end.conn.session_count(), 0);
            assert!(!end.conn.has_requests());
        }
    }
}

#[test]
fn settings_carry_a_reserved_id_and_frame() {
    let mut pair = Pair::new();
    let settings = pair.client.conn.peer_settings().unwrap();
    assert_eq!(
        settings.get(Setting::SETTINGS_QPACK_MAX_TABLE_CAPACITY),
        Some(0)
    );
    assert_eq!(settings.get(Setting::SETTINGS_WT_ENABLED), Some(1));
    // Everything else that is reserved or unknown passes as well.
    let grease = crate::coding::grease(7).get();
    let mut frames = BytesMut::new();
    frame::encode_grease(7, &[0xff; 300], &mut frames);
    frame::encode_grease(8, &[], &mut frames);
    let control = pair.client.critical(Critical::Control);
    pair.send(Side::Client, control, &frames);
    let mut uni = Vec::new();
    crate::coding::Encode::encode(&VarInt::new(grease).unwrap(), &mut uni);
    uni.extend([0xff; 50]);
    let discarded = pair.send_on_new(Side::Client, Dir::Uni, &uni);
    let mut bytes = frames.clone();
    bytes.extend(headers_frame(|out| {
        head(UpgradeToken::WebTransportH3).encode(out)
    }));
    bytes.extend(&frames[..]);
    let mut capsules = Vec::new();
    for kind in [VarInt::new(grease).unwrap(), VarInt::from_u32(0)] {
        crate::coding::Encode::encode(&kind, &mut capsules);
        capsules.extend([3, 1, 2, 3]);
    }
    frame::encode_data(&capsules, &mut bytes);
    let id = pair.send_on_new(Side::Client, Dir::Bi, &bytes);
    pair.drive();
    let id = SessionId::try_from(id).unwrap();
    assert_eq!(
        pair.server.conn.session_state(id),
        Some(SessionState::Established)
    );
    let code = ErrorCode::H3_STREAM_CREATION_ERROR;
    assert!(pair.server.rejected.contains(&(discarded, code)));
    pair.assert_alive();
}
