//! HTTP datagrams and the messages of the capsule protocol (RFC 9297).

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::{Conditions, Pair, pair::Setup};
use crate::{
    Dialect, Dir, ErrorCode, ProtocolViolation, SessionId, Side,
    capsule::{Capsule, MAX_DATAGRAM},
    coding::Encode,
    connection::{ConnectError, Event, Refusal, Route},
    frame,
    head::{RequestHead, ResponseHead, UpgradeToken},
};

fn capsule_frame(capsules: &[Capsule]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for capsule in capsules {
        capsule.encode(&mut bytes);
    }
    let mut out = Vec::new();
    frame::encode_data(&bytes, &mut out);
    out
}

fn headers_frame(encode: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut block = BytesMut::new();
    encode(&mut block);
    let mut out = BytesMut::new();
    frame::encode_headers(&block, &mut out);
    out
}

/// A request that has nothing to do with sessions.
fn get() -> BytesMut {
    let token = UpgradeToken::WebTransport;
    let mut head = RequestHead::webtransport("example.com", "/", token, HeaderMap::new());
    head.method = Method::GET;
    head.protocol = None;
    headers_frame(|out| head.encode(out))
}

fn field(name: &'static str, value: &str) -> HeaderMap {
    let value = HeaderValue::from_str(value).unwrap();
    HeaderMap::from_iter([(http::HeaderName::from_static(name), value)])
}

#[test]
fn a_datagram_in_a_capsule_is_one_like_any_other() {
    for conditions in Conditions::all() {
        for side in [Side::Client, Side::Server] {
            let mut pair = Setup::new().on(conditions).ready();
            let id = pair.connect();
            let largest = Bytes::from(vec![7; MAX_DATAGRAM]);
            let sent = [Bytes::from_static(b"one"), Bytes::new(), largest];
            let capsules = sent.clone().map(Capsule::Datagram);
            pair.send(side, id.stream_id(), &capsule_frame(&capsules));
            pair.drive();
            let received = pair.end(!side).datagrams.iter();
            let received: Vec<_> = received.map(|(of, payload)| (*of, payload)).collect();
            assert_eq!(received, sent.each_ref().map(|payload| (id, payload)));
            pair.assert_works(id);
        }
    }
}

#[test]
fn too_large_a_datagram_in_a_capsule_is_skipped() {
    let mut pair = Pair::new();
    let id = pair.connect();
    let large = Capsule::Datagram(vec![0; MAX_DATAGRAM + 1].into());
    let small = Capsule::Datagram(Bytes::from_static(b"small"));
    let bytes = capsule_frame(&[large, small]);
    pair.send(Side::Client, id.stream_id(), &bytes);
    pair.drive();
    assert_eq!(pair.server.datagrams, [(id, "small".into())]);
    pair.assert_works(id);
}

#[test]
fn datagrams_in_capsules_wait_for_the_answer() {
    let mut pair = Pair::new();
    pair.server.answer = None;
    let id = pair.request();
    let capsule = Capsule::Datagram(Bytes::from_static(b"ahead"));
    pair.send(Side::Client, id.stream_id(), &capsule_frame(&[capsule]));
    pair.drive();
    assert!(pair.server.datagrams.is_empty());
    pair.at(Side::Server, |end, net| {
        end.respond(net, id, StatusCode::OK, HeaderMap::new())
    });
    pair.drive();
    assert_eq!(pair.server.datagrams, [(id, "ahead".into())]);
}

#[test]
fn a_datagram_for_a_request_without_a_use_for_it_ends_the_request() {
    let unexpected = ProtocolViolation::DatagramUnexpected;
    let mut pair = Pair::new();
    let beside = pair.connect();
    // It comes before the request, or while its head is not whole.
    for within_the_head in [false, true] {
        let bytes = get();
        let (first, rest) = bytes.split_at(if within_the_head { 3 } else { 0 });
        let id = pair.client.open(Dir::Bi);
        pair.client.ignore(id);
        pair.send(Side::Client, id, first);
        pair.drive();
        let session = SessionId::try_from(id).unwrap();
        pair.at(Side::Client, |end, net| {
            end.send_datagram(net, session, b"what for?")
        });
        pair.drive();
        pair.send(Side::Client, id, rest);
        pair.send_fin(Side::Client, id);
        pair.drive();
        let refusals = pair.server.refusals();
        assert_eq!(refusals.last(), Some(&Refusal::Violation(unexpected)));
        assert!(!pair.server.conn.has_request(id));
    }
    // Others get their answer, and one that becomes a session has a use.
    let plain = pair.client.open(Dir::Bi);
    pair.client.ignore(plain);
    pair.send(Side::Client, plain, &get());
    pair.drive();
    let answered = Refusal::NotWebTransport(StatusCode::NOT_FOUND);
    assert_eq!(pair.server.refusals().last(), Some(&answered));
    pair.assert_works(beside);
}

#[test]
fn datagrams_of_requests_that_cannot_have_been_made_close_the_connection() {
    let mut pair = Pair::new();
    let id = SessionId::from_quarter(100).unwrap();
    let beyond = Err(ProtocolViolation::DatagramBeyondLimit);
    assert_eq!(pair.server.conn.handle_datagram(id, 101), Ok(Route::Early));
    assert_eq!(pair.server.conn.handle_datagram(id, 100), beyond);
    // A client knows which requests there are.
    let gone = Route::Reject(ErrorCode::WT_SESSION_GONE);
    assert_eq!(pair.client.conn.handle_datagram(id, 0), Ok(gone));
}

#[test]
fn intermediaries_are_told_of_capsules() {
    for dialect in Dialect::ALL {
        let mut pair = Setup::new().dialect(dialect).ready();
        let expected = (dialect != Dialect::Draft02).then(|| HeaderValue::from_static("?1"));
        // Whatever the application says of it.
        let wrong = field("capsule-protocol", "?0");
        pair.server.answer = Some((StatusCode::OK, wrong.clone()));
        let id = pair
            .at(Side::Client, |end, net| end.connect(net, HeaderMap::new()))
            .unwrap();
        pair.drive();
        let requested = pair.server.events.iter().find_map(|event| match event {
            Event::Requested { head, .. } => Some(head.headers.get("capsule-protocol").cloned()),
            _ => None,
        });
        assert_eq!(requested, Some(expected.clone()), "{dialect}");
        let answered = pair.client.events.iter().find_map(|event| match event {
            Event::Established { head, .. } => Some(head.headers.get("capsule-protocol").cloned()),
            _ => None,
        });
        if dialect != Dialect::Draft02 {
            assert_eq!(answered, Some(expected), "{dialect}");
        }
        pair.assert_works(id);

        let mut pair = Setup::new().dialect(dialect).ready();
        pair.server.answer = Some((StatusCode::FORBIDDEN, wrong));
        let id = pair.request();
        pair.drive();
        let Some(ConnectError::Status(head)) = pair.client.failure(id) else {
            panic!("{:?}", pair.client.events);
        };
        assert!(!head.headers.contains_key("capsule-protocol"), "{dialect}");
    }
}

#[test]
fn messages_that_speak_of_content_are_malformed() {
    let malformed = ProtocolViolation::MalformedMessage;
    for (name, value) in [("content-length", "0"), ("content-type", "text/plain")] {
        let mut pair = Pair::new();
        let beside = pair.connect();
        // In a request; wt-core lets no application set these.
        let id = pair
            .at(Side::Client, |end, net| {
                end.connect(net, field(name, value))
            })
            .unwrap();
        pair.drive();
        assert_eq!(pair.server.refusals(), [Refusal::Violation(malformed)]);
        let code = ErrorCode::H3_MESSAGE_ERROR;
        let error = pair.client.failure(id);
        assert!(
            matches!(error, Some(ConnectError::Rejected(c)) if c == code),
            "{error:?}"
        );
        // In an answer that opens a session.
        pair.server.answer = Some((StatusCode::OK, field(name, value)));
        let id = pair.request();
        pair.drive();
        let error = pair.client.failure(id);
        assert!(
            matches!(error, Some(ConnectError::Violation(v)) if v == malformed),
            "{error:?}"
        );
        // A refusal may have content.
        pair.server.answer = Some((StatusCode::FORBIDDEN, field(name, value)));
        let id = pair.request();
        pair.drive();
        let error = pair.client.failure(id);
        assert!(matches!(error, Some(ConnectError::Status(_))), "{error:?}");
        pair.assert_works(beside);
    }
}

#[test]
fn no_answer_is_larger_than_the_client_takes() {
    let mut setup = Setup::new();
    setup.client.max_field_section = 400;
    let mut pair = setup.ready();
    pair.server.answer = None;
    let long = |len: usize| field("x", &"0".repeat(len));
    // :status 200, capsule-protocol: ?1 and x, with 32 bytes each.
    let fits = 400 - (7 + 3 + 32) - (16 + 2 + 32) - (1 + 32);
    for (len, taken) in [(fits, true), (fits + 1, false)] {
        let id = pair.request();
        pair.drive();
        pair.at(Side::Server, |end, net| {
            let ok = StatusCode::OK;
            assert_eq!(end.conn.takes_answer(id, ok, &long(len)), taken);
            assert_eq!(end.conn.accept(id, ok, long(len)), Ok(taken));
            if !taken {
                // A refusal goes without its fields.
                end.respond(net, id, StatusCode::FORBIDDEN, long(500));
            }
        });
        pair.drive();
        match pair.client.failure(id) {
            None => assert!(taken),
            Some(ConnectError::Status(head)) => {
                let forbidden = ResponseHead::new(StatusCode::FORBIDDEN, HeaderMap::new());
                assert_eq!((*head, taken), (forbidden, false));
            }
            other => panic!("{other:?}"),
        }
    }
    pair.assert_alive();
}
