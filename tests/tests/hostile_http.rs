//! Clients that break the rules of HTTP/3 and QPACK, against our server.
//!
//! A fault of the connection ends the connection with the code of the rule and nothing else: the bystander on another
//! connection still echoes, on the session that it had before. A fault of a stream ends that stream: the session beside
//! it on the same connection echoes too.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::IntoFuture;

use wt::{Client, ClientConfig, ErrorCode, ServerVerification, proto::coding::is_grease};
use wt_tests::{
    raw::{
        Attack::{self, Bidi, BidiFin, Control, Uni, UniFin, UniReset},
        End, Frames, Raw, RawServer, ended, stopped, wire, within,
    },
    target::{Bystander, Target},
};

/// How much a target may grow while a peer breaks a rule, in MiB.
const MEMORY: u64 = 8;

fn target(args: &[&str]) -> Target {
    Target::start(env!("CARGO_BIN_EXE_hostile-target"), args)
}

async fn scene(args: &[&str]) -> (Target, Bystander) {
    let target = target(args);
    let bystander = target.client().await;
    (target, bystander)
}

/// Asserts that nothing but the offender's connection was concerned.
async fn assert_unharmed(target: &Target, bystander: &Bystander) {
    bystander.is_served().await;
    target.assert_grown_at_most(MEMORY);
}

/// Runs attacks one after the other, each on a connection of its own that has sent nothing but what `hello` says, and
/// asserts the code with which it is closed.
async fn assert_closed<'a>(
    hello: bool,
    attacks: impl IntoIterator<Item = (&'a str, Attack, ErrorCode)>,
) {
    let (target, bystander) = scene(&[]).await;
    for (name, attack, code) in attacks {
        let raw = if hello {
            target.hello().await
        } else {
            target.raw().await
        };
        let fence = async {
            let _ = raw
                .bi(&wire::connect("/missing"))
                .await
                .1
                .read_chunk(1, true)
                .await;
        };
        attack.launch(&raw, wire::CLIENT_SETTINGS, fence).await;
        assert_eq!(raw.closed().await, code.get(), "{name}");
        bystander.echo().await;
    }
    assert_unharmed(&target, &bystander).await;
}

#[tokio::test]
async fn control_stream_without_settings() {
    let control = |frame: Vec<u8>| Uni([wire::varint(0), frame].concat());
    let missing = ErrorCode::H3_MISSING_SETTINGS;
    assert_closed(
        false,
        [
            (
                "GOAWAY first",
                control(wire::frame(wire::GOAWAY, &[0])),
                missing,
            ),
            (
                "GREASE first",
                control(wire::frame(0x21, b"grease")),
                missing,
            ),
            (
                "DATA first",
                control(wire::frame(wire::DATA, b"data")),
                missing,
            ),
            ("HEADERS first", control(wire::connect("/")), missing),
            (
                "MAX_PUSH_ID first",
                control(wire::frame(wire::MAX_PUSH_ID, &[0])),
                missing,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn settings_that_never_come() {
    let (target, bystander) = scene(&["settings-timeout=500"]).await;
    // A request is held until then, and not a byte of it is answered.
    let raw = target.raw().await;
    raw.keep_bi(&wire::connect("/echo")).await;
    assert_eq!(raw.closed().await, ErrorCode::H3_MISSING_SETTINGS.get());
    // Not even one byte.
    let raw = target.raw().await;
    assert_eq!(raw.closed().await, ErrorCode::H3_MISSING_SETTINGS.get());
    assert_unharmed(&target, &bystander).await;
}

#[tokio::test]
async fn settings_twice() {
    assert_closed(
        false,
        [
            (
                "the same again",
                Control(wire::settings(wire::CLIENT_SETTINGS)),
                ErrorCode::H3_FRAME_UNEXPECTED,
            ),
            (
                "empty ones",
                Control(wire::settings(&[])),
                ErrorCode::H3_FRAME_UNEXPECTED,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn settings_reserved_by_http2() {
    let attacks = [0x0, 0x2, 0x3, 0x4, 0x5].map(|id| {
        let settings = wire::settings(&[(id, 0)]);
        (
            "reserved",
            Uni([vec![0], settings].concat()),
            ErrorCode::H3_SETTINGS_ERROR,
        )
    });
    assert_closed(false, attacks).await;
}

#[tokio::test]
async fn setting_sent_twice() {
    let attack = wire::settings(&[(0x33, 1), (0x21, 0), (0x33, 1)]);
    let attack = Uni([vec![0], attack].concat());
    assert_closed(
        false,
        [("H3_DATAGRAM twice", attack, ErrorCode::H3_SETTINGS_ERROR)],
    )
    .await;
}

#[tokio::test]
async fn settings_with_impossible_values() {
    let attacks = [
        (0x8, 2),
        (0x33, 2),
        (0x2c7c_f000, 2),
        (0x2b64, (1 << 60) + 1),
        (0x2b65, (1 << 60) + 1),
    ];
    let attacks = attacks.map(|entry| {
        let settings = wire::settings(&[entry]);
        (
            "value",
            Uni([vec![0], settings].concat()),
            ErrorCode::H3_SETTINGS_ERROR,
        )
    });
    assert_closed(false, attacks).await;
}

#[tokio::test]
async fn datagrams_promised_but_not_taken() {
    let (target, bystander) = scene(&[]).await;
    let mut transport = wt_tests::raw::transport();
    transport.datagram_receive_buffer_size(None);
    let raw = Raw::client_with(target.port, transport).await;
    raw.settings(wire::CLIENT_SETTINGS).await;
    assert_eq!(raw.closed().await, ErrorCode::H3_SETTINGS_ERROR.get());
    assert_unharmed(&target, &bystander).await;
}

#[tokio::test]
async fn settings_truncated() {
    let settings = |payload: &[u8]| Uni([vec![0], wire::frame(wire::SETTINGS, payload)].concat());
    assert_closed(
        false,
        [
            ("no value", settings(&[0x33]), ErrorCode::H3_FRAME_ERROR),
            (
                "half a value",
                settings(&[0x33, 0x40]),
                ErrorCode::H3_FRAME_ERROR,
            ),
            (
                "half an id",
                settings(&[0x33, 1, 0x80]),
                ErrorCode::H3_FRAME_ERROR,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn settings_oversized() {
    let many: Vec<_> = (0..20_000).map(|n| (0x21 + 0x1f * n, n)).collect();
    let whole = [vec![0], wire::settings(&many)].concat();
    // The length alone is enough.
    let declared = [vec![0], wire::head(wire::SETTINGS, 1 << 30)].concat();
    assert_closed(
        false,
        [
            ("20000 settings", Uni(whole), ErrorCode::H3_EXCESSIVE_LOAD),
            (
                "a gigabyte declared",
                Uni(declared),
                ErrorCode::H3_EXCESSIVE_LOAD,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn second_critical_stream() {
    for kind in [0, 2, 3] {
        let (target, bystander) = scene(&[]).await;
        let raw = target.hello().await;
        raw.keep_uni(&wire::varint(kind)).await;
        // The first control stream was that of the SETTINGS.
        if kind != 0 {
            raw.keep_uni(&wire::varint(kind)).await;
        }
        assert_eq!(
            raw.closed().await,
            ErrorCode::H3_STREAM_CREATION_ERROR.get(),
            "type {kind}"
        );
        assert_unharmed(&target, &bystander).await;
    }
}

#[tokio::test]
async fn closed_critical_stream() {
    let settings = [vec![0], wire::settings(wire::CLIENT_SETTINGS)].concat();
    let closed = ErrorCode::H3_CLOSED_CRITICAL_STREAM;
    assert_closed(
        false,
        [
            ("control stream finished", UniFin(settings.clone()), closed),
            (
                "control stream finished before SETTINGS",
                UniFin(vec![0]),
                closed,
            ),
            (
                "control stream finished within SETTINGS",
                UniFin(settings[..4].to_vec()),
                closed,
            ),
            ("control stream reset", UniReset(settings), closed),
        ],
    )
    .await;
    assert_closed(
        true,
        [
            ("encoder stream finished", UniFin(vec![2]), closed),
            ("decoder stream finished", UniFin(vec![3]), closed),
            ("encoder stream reset", UniReset(vec![2]), closed),
            ("decoder stream reset", UniReset(vec![3]), closed),
        ],
    )
    .await;
}

#[tokio::test]
async fn stopped_critical_stream() {
    let (target, bystander) = scene(&[]).await;
    for _ in 0..3 {
        let raw = target.hello().await;
        let mut recv = raw.quic.accept_uni().await.unwrap();
        recv.stop(7_u32.into()).unwrap();
        assert_eq!(
            raw.closed().await,
            ErrorCode::H3_CLOSED_CRITICAL_STREAM.get()
        );
    }
    assert_unharmed(&target, &bystander).await;
}

#[tokio::test]
async fn push_from_a_client() {
    let id = ErrorCode::H3_ID_ERROR;
    let shrinking = [
        wire::frame(wire::MAX_PUSH_ID, &[7]),
        wire::frame(wire::MAX_PUSH_ID, &[6]),
    ];
    assert_closed(
        true,
        [(
            "a push stream",
            Uni(vec![1, 0]),
            ErrorCode::H3_STREAM_CREATION_ERROR,
        )],
    )
    .await;
    assert_closed(
        false,
        [
            (
                "CANCEL_PUSH",
                Control(wire::frame(wire::CANCEL_PUSH, &[0])),
                id,
            ),
            ("MAX_PUSH_ID that shrinks", Control(shrinking.concat()), id),
        ],
    )
    .await;
}

#[tokio::test]
async fn goaway_that_increases() {
    let frames = [
        wire::frame(wire::GOAWAY, &[3]),
        wire::frame(wire::GOAWAY, &[4]),
    ];
    assert_closed(
        false,
        [("GOAWAY", Control(frames.concat()), ErrorCode::H3_ID_ERROR)],
    )
    .await;
}

#[tokio::test]
async fn frames_where_they_may_not_be() {
    let unexpected = ErrorCode::H3_FRAME_UNEXPECTED;
    let mut attacks = vec![
        (
            "DATA on control",
            Control(wire::frame(wire::DATA, b"x")),
            unexpected,
        ),
        (
            "HEADERS on control",
            Control(wire::connect("/")),
            unexpected,
        ),
        (
            "PUSH_PROMISE on control",
            Control(wire::frame(wire::PUSH_PROMISE, &[0])),
            unexpected,
        ),
    ];
    for kind in [0x2, 0x6, 0x8, 0x9] {
        attacks.push((
            "HTTP/2 on control",
            Control(wire::frame(kind, b"x")),
            unexpected,
        ));
    }
    assert_closed(false, attacks).await;
    let mut attacks = vec![
        (
            "DATA first",
            Bidi(wire::frame(wire::DATA, b"x")),
            unexpected,
        ),
        (
            "SETTINGS in a request",
            Bidi(wire::settings(&[])),
            unexpected,
        ),
        (
            "GOAWAY in a request",
            Bidi(wire::frame(wire::GOAWAY, &[0])),
            unexpected,
        ),
        (
            "PUSH_PROMISE in a request",
            Bidi(wire::frame(wire::PUSH_PROMISE, &[0])),
            unexpected,
        ),
        (
            "MAX_PUSH_ID in a request",
            Bidi(wire::frame(wire::MAX_PUSH_ID, &[0])),
            unexpected,
        ),
        (
            "CANCEL_PUSH in a request",
            Bidi(wire::frame(wire::CANCEL_PUSH, &[0])),
            unexpected,
        ),
    ];
    for kind in [0x2, 0x6, 0x8, 0x9] {
        attacks.push((
            "HTTP/2 in a request",
            Bidi(wire::frame(kind, b"x")),
            unexpected,
        ));
    }
    assert_closed(true, attacks).await;
}

#[tokio::test]
async fn frames_that_do_not_fill_their_length() {
    let error = ErrorCode::H3_FRAME_ERROR;
    let two = [1, 2];
    assert_closed(
        false,
        [
            (
                "GOAWAY too long",
                Control(wire::frame(wire::GOAWAY, &two)),
                error,
            ),
            (
                "GOAWAY empty",
                Control(wire::frame(wire::GOAWAY, &[])),
                error,
            ),
            (
                "GOAWAY half",
                Control(wire::frame(wire::GOAWAY, &[0x40])),
                error,
            ),
            (
                "GOAWAY oversized",
                Control(wire::head(wire::GOAWAY, 1 << 30)),
                error,
            ),
            (
                "MAX_PUSH_ID too long",
                Control(wire::frame(wire::MAX_PUSH_ID, &two)),
                error,
            ),
            (
                "CANCEL_PUSH empty",
                Control(wire::frame(wire::CANCEL_PUSH, &[])),
                error,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn frames_truncated_by_the_end_of_their_stream() {
    let error = ErrorCode::H3_FRAME_ERROR;
    let connect = wire::connect("/echo");
    let mut attacks: Vec<_> = [2, 3, 10, connect.len() - 1]
        .map(|len| ("HEADERS", BidiFin(connect[..len].to_vec()), error))
        .into();
    let mut data = connect.clone();
    data.extend(wire::head(wire::DATA, 100));
    data.push(1);
    attacks.push(("DATA of a session", BidiFin(data), error));
    let mut unknown = connect;
    unknown.extend(wire::head(0x21, 100));
    attacks.push(("an unknown frame of a session", BidiFin(unknown), error));
    attacks.push(("an unknown frame", BidiFin(wire::head(0x21, 100)), error));
    assert_closed(true, attacks).await;
}

#[tokio::test]
async fn wt_stream_signal_within_a_stream() {
    let error = ErrorCode::H3_FRAME_ERROR;
    let signal = wire::stream(wire::WT_BIDI, 0, b"body");
    let grease = wire::frame(0x21, b"grease");
    assert_closed(false, [("on control", Control(signal.clone()), error)]).await;
    assert_closed(
        true,
        [
            (
                "behind another frame",
                Bidi([grease, signal.clone()].concat()),
                error,
            ),
            (
                "behind HEADERS",
                Bidi([wire::connect("/echo"), signal].concat()),
                error,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn field_sections_that_cannot_be_decoded() {
    let failed = ErrorCode::QPACK_DECOMPRESSION_FAILED;
    let section = |bytes: &[u8]| Bidi(wire::frame(wire::HEADERS, bytes));
    assert_closed(
        true,
        [
            ("empty", section(&[]), failed),
            ("half a prefix", section(&[0]), failed),
            (
                "the dynamic table is needed",
                section(&[1, 0, 0x80]),
                failed,
            ),
            ("a base below zero", section(&[0, 0x80]), failed),
            ("a dynamic index", section(&[0, 0, 0x80]), failed),
            ("a post-base index", section(&[0, 0, 0x10]), failed),
            (
                "a static index that does not exist",
                section(&[0, 0, 0xff, 0x24]),
                failed,
            ),
            (
                "a literal beyond the end",
                section(&[0, 0, 0x27, 0x7f, b'a']),
                failed,
            ),
            (
                "an integer that overflows",
                section(&[&[0, 0][..], &[0xff; 16]].concat()),
                failed,
            ),
            (
                "Huffman padding too long",
                section(&[0, 0, 0x29, 0xff, 0, 0]),
                failed,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn qpack_streams_with_forbidden_instructions() {
    let encoder = ErrorCode::QPACK_ENCODER_STREAM_ERROR;
    let decoder = ErrorCode::QPACK_DECODER_STREAM_ERROR;
    assert_closed(
        true,
        [
            ("insertion", Uni(vec![2, 0xc0, 1, b'x']), encoder),
            (
                "a capacity that was not granted",
                Uni(vec![2, 0x3f, 0x10]),
                encoder,
            ),
            ("duplicate", Uni(vec![2, 0x00]), encoder),
            ("acknowledgment", Uni(vec![3, 0x80]), decoder),
            ("insert count increment", Uni(vec![3, 0x01]), decoder),
            (
                "an integer that overflows",
                Uni([&[3, 0x7f][..], &[0xff; 16]].concat()),
                decoder,
            ),
        ],
    )
    .await;
}

/// A connection with a session on it that has to survive what happens to a request beside it.
async fn beside() -> (Target, Bystander, Raw, u64) {
    let (target, bystander) = scene(&["header-timeout=500"]).await;
    let raw = target.hello().await;
    let session = raw.session("/echo").await;
    let id = session.id;
    raw.keep(session);
    (target, bystander, raw, id)
}

#[tokio::test]
async fn malformed_requests() {
    let (target, bystander, raw, session) = beside().await;
    let base = wire::connect_fields("/echo");
    let without = |name: &str| {
        let kept = base.into_iter().filter(|(n, _)| *n != name);
        wire::headers(&kept.collect::<Vec<_>>())
    };
    let with = |name: &'static str, value: &'static str| {
        let changed = base.map(|field| {
            if field.0 == name {
                (name, value)
            } else {
                field
            }
        });
        wire::headers(&changed)
    };
    let and = |name: &'static str, value: &'static str| {
        wire::headers(&[&base[..], &[(name, value)]].concat())
    };
    for (what, head) in [
        ("no :path", without(":path")),
        ("no :scheme", without(":scheme")),
        ("no :authority", without(":authority")),
        ("no :method", without(":method")),
        ("no :protocol", without(":protocol")),
        (":scheme http", with(":scheme", "http")),
        (":scheme ftp", with(":scheme", "ftp")),
        (":scheme of nonsense", with(":scheme", "\u{1}")),
        (":path empty", with(":path", "")),
        (":path without a slash", with(":path", "echo")),
        (":path with a space", with(":path", "/e cho")),
        (
            ":authority with user information",
            with(":authority", "me@localhost"),
        ),
        (":method GET with :protocol", with(":method", "GET")),
        (":protocol empty", with(":protocol", "")),
        (":protocol of nonsense", with(":protocol", "web transport")),
        (":path twice", and(":path", "/echo")),
        ("an unknown pseudo-header", and(":status", "200")),
        ("a field name in upper case", and("Origin", "x")),
        ("an empty field name", and("", "x")),
        ("a field of HTTP/1.1", and("connection", "close")),
        ("a field value with a line break", and("x", "a\r\nb")),
        ("a host that differs", and("host", "elsewhere")),
        ("content-length", and("content-length", "0")),
        ("content-type", and("content-type", "text/plain")),
        (
            "a pseudo-header behind a field",
            wire::headers(&[("x", "y"), (":method", "CONNECT")]),
        ),
        ("no field at all", wire::headers(&[])),
    ] {
        let (send, mut recv) = raw.bi(&head).await;
        let code = ErrorCode::H3_MESSAGE_ERROR.get();
        assert_eq!(ended(&mut recv).await, End::Reset(code), "{what}");
        assert_eq!(stopped(&send).await, code, "{what}");
        raw.echo(session, b"beside").await;
    }
    assert_unharmed(&target, &bystander).await;
}

#[tokio::test]
async fn requests_that_are_not_for_a_session() {
    let (target, bystander, raw, session) = beside().await;
    let connect = wire::connect_fields("/echo");
    let unknown = connect.map(|f| {
        if f.0 == ":protocol" {
            (f.0, "websocket")
        } else {
            f
        }
    });
    let get = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/"),
    ];
    let tunnel = [(":method", "CONNECT"), (":authority", "localhost:1")];
    for (what, head, status) in [
        ("an unknown :protocol", wire::headers(&unknown), 501),
        ("GET", wire::headers(&get), 404),
        ("CONNECT for a tunnel", wire::headers(&tunnel), 404),
        ("no such resource", wire::connect("/missing"), 404),
    ] {
        let (request, found) = raw.try_session(&head).await;
        assert_eq!(found, status, "{what}");
        assert_eq!(
            stopped(&request.send).await,
            ErrorCode::H3_NO_ERROR.get(),
            "{what}"
        );
        let mut request = request;
        assert_eq!(request.ended().await, End::Fin, "{what}");
        raw.echo(session, b"beside").await;
    }
    assert_unharmed(&target, &bystander).await;
}

#[tokio::test]
async fn oversized_heads_are_answered_431() {
    let (target, bystander, raw, session) = beside().await;
    let long = "x".repeat(20_000);
    let whole = wire::headers(&[&wire::connect_fields("/")[..], &[("x", &long)]].concat());
    // Small on the wire, large as RFC 9114, 4.2.2 counts: 32 bytes for each field of two.
    let many = vec![("a", ""); 2000];
    let many = wire::headers(&[&wire::connect_fields("/")[..], &many].concat());
    // The length alone is enough.
    let declared = wire::head(wire::HEADERS, 1 << 30);
    for head in [whole, many, declared] {
        let (request, status) = raw.try_session(&head).await;
        assert_eq!(status, 431);
        assert_eq!(stopped(&request.send).await, ErrorCode::H3_NO_ERROR.get());
        raw.echo(session, b"beside").await;
    }
    assert_unharmed(&target, &bystander).await;
}

#[tokio::test]
async fn requests_that_end_before_they_are_complete() {
    let (target, bystander, raw, session) = beside().await;
    let code = ErrorCode::H3_REQUEST_INCOMPLETE.get();
    for bytes in [vec![], wire::frame(0x21, b"grease")] {
        let (mut send, mut recv) = raw.bi(&bytes).await;
        send.finish().unwrap();
        assert_eq!(ended(&mut recv).await, End::Reset(code));
        raw.echo(session, b"beside").await;
    }
    assert_unharmed(&target, &bystander).await;
}

#[tokio::test]
async fn heads_that_never_come() {
    let (target, bystander, raw, session) = beside().await;
    let incomplete = ErrorCode::H3_REQUEST_INCOMPLETE.get();
    let rejected = ErrorCode::WT_BUFFERED_STREAM_REJECTED.get();
    let connect = wire::connect("/echo");
    for (what, bytes, code) in [
        ("half a signal", vec![0x40], rejected),
        ("a signal without an id", vec![0x40, 0x41], rejected),
        ("half an id", vec![0x40, 0x41, 0x80, 0], rejected),
        ("a type without a length", vec![1], incomplete),
        ("half of HEADERS", connect[..20].to_vec(), incomplete),
        (
            "an unknown frame only",
            wire::frame(0x21, b"grease"),
            incomplete,
        ),
    ] {
        let (send, mut recv) = raw.bi(&bytes).await;
        assert_eq!(ended(&mut recv).await, End::Reset(code), "{what}");
        assert_eq!(stopped(&send).await, code, "{what}");
        raw.echo(session, b"beside").await;
    }
    for bytes in [vec![0x40, 0x54], vec![0x40, 0x54, 0x80]] {
        let send = raw.uni(&bytes).await;
        assert_eq!(stopped(&send).await, rejected, "{bytes:?}");
        raw.echo(session, b"beside").await;
    }
    assert_unharmed(&target, &bystander).await;
}

/// The stream may be one that the connection needs (RFC 9114, 6.2).
#[tokio::test]
async fn a_type_of_a_stream_that_is_late_is_awaited() {
    let (target, bystander) = scene(&["header-timeout=200", "pending-headers=1"]).await;
    let raw = target.raw().await;
    let mut control = raw.uni(&[0x40]).await;
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(raw.uni(&[0x40]).await);
    }
    // Longer than a header may take: one whose type is known comes to its end meanwhile.
    let headless = raw.uni(&[0x40, 0x54]).await;
    let rejected = ErrorCode::WT_BUFFERED_STREAM_REJECTED.get();
    assert_eq!(stopped(&headless).await, rejected);
    let settings = wire::settings(wire::CLIENT_SETTINGS);
    control
        .write_all(&[vec![0x00], settings].concat())
        .await
        .unwrap();
    let session = raw.session("/echo").await;
    raw.echo(session.id, b"after all").await;
    drop(others);
    assert_unharmed(&target, &bystander).await;
}

#[tokio::test]
async fn headers_that_trickle_do_not_hold_a_stream() {
    let (target, bystander, raw, session) = beside().await;
    let connect = wire::connect("/echo");
    let (mut send, _recv) = raw.bi(&connect[..1]).await;
    let mut refused = false;
    for byte in &connect[1..] {
        if send.write_all(&[*byte]).await.is_err() {
            refused = true;
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(
        refused,
        "a head that takes {} s was taken",
        connect.len() / 20
    );
    raw.echo(session, b"beside").await;
    assert_unharmed(&target, &bystander).await;
}

#[tokio::test]
async fn streams_that_end_within_their_header_are_ignored() {
    let (target, bystander, raw, session) = beside().await;
    for bytes in [vec![], vec![0x40], vec![0x40, 0x54], vec![0x40, 0x54, 0x80]] {
        raw.uni(&bytes).await.finish().unwrap();
        raw.uni(&bytes).await.reset(7_u32.into()).unwrap();
    }
    raw.echo(session, b"beside").await;
    assert_unharmed(&target, &bystander).await;
}

#[tokio::test]
async fn grease_everywhere_is_ignored() {
    let (target, bystander) = scene(&[]).await;
    let raw = target.raw().await;
    let grease = wire::frame(0x1f * 1000 + 0x21, &[0xff; 300]);
    let huge = (1 << 62) - 1;
    let settings = [
        &[(0x21, 7), (huge - huge % 0x1f + 2, huge)],
        wire::CLIENT_SETTINGS,
    ]
    .concat();
    let control = [
        vec![0],
        wire::settings(&settings),
        grease.clone(),
        wire::frame(wire::GOAWAY, &[9]),
        grease.clone(),
        wire::frame(wire::MAX_PUSH_ID, &[9]),
        grease.clone(),
    ];
    // Byte by byte, so that every boundary is one of a chunk too.
    let mut stream = raw.quic.open_uni().await.unwrap();
    for byte in control.concat() {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    raw.keep(stream);
    let unknown = raw
        .uni(&[wire::varint(0x1f * 7 + 0x21), vec![1; 5000]].concat())
        .await;
    assert_eq!(
        stopped(&unknown).await,
        ErrorCode::H3_STREAM_CREATION_ERROR.get()
    );

    let head = wire::headers(&[&wire::connect_fields("/echo")[..], &[("x-grease", "1")]].concat());
    let (mut session, status) = raw
        .try_session(&[grease.clone(), head, grease.clone()].concat())
        .await;
    assert_eq!(status, 200);
    session.write(&grease).await;
    session
        .write(&wire::capsule(0x1f * 99 + 0x21, &[0xff; 3000]))
        .await;
    session.write(&wire::frame(wire::DATA, &[])).await;
    // A capsule of a known type of RFC 9297 that has no meaning here.
    session.write(&wire::capsule(0, b"datagram")).await;
    raw.echo(session.id, b"greased").await;
    session.write(&wire::close(3, b"bye")).await;
    session.send.finish().unwrap();
    assert_eq!(session.ended().await, End::Fin);
    assert_unharmed(&target, &bystander).await;
}

#[tokio::test]
async fn requests_with_too_little_in_settings() {
    let (target, bystander) = scene(&[]).await;
    let raw = target.raw().await;
    // No datagrams: every session is malformed (draft-16, 3.1).
    raw.settings(&[(0x2c7c_f000, 1)]).await;
    let (send, mut recv) = raw.bi(&wire::connect("/echo")).await;
    let code = ErrorCode::H3_MESSAGE_ERROR.get();
    assert_eq!(ended(&mut recv).await, End::Reset(code));
    assert_eq!(stopped(&send).await, code);
    // The connection stays good for other requests.
    let get = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/"),
    ];
    assert_eq!(raw.try_session(&wire::headers(&get)).await.1, 404);
    assert_unharmed(&target, &bystander).await;
}

#[tokio::test]
async fn datagrams_for_requests_without_a_use_for_them() {
    let (target, bystander, raw, session) = beside().await;
    let get = wire::headers(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/"),
    ]);
    let code = ErrorCode::H3_DATAGRAM_ERROR.get();
    for _ in 0..3 {
        // While the head is on its way, so that it can only wait.
        let (mut send, mut recv) = raw.bi(&get[..2]).await;
        let id = u64::from(send.id());
        raw.datagram(wire::datagram(id, b"what for?")).await;
        raw.echo(session, b"beside").await;
        send.write_all(&get[2..]).await.unwrap();
        assert_eq!(ended(&mut recv).await, End::Reset(code));
        assert_eq!(stopped(&send).await, code);
        raw.echo(session, b"beside").await;
    }
    assert_unharmed(&target, &bystander).await;
}

#[tokio::test]
async fn datagrams_for_requests_that_cannot_have_been_made() {
    let (target, bystander) = scene(&[]).await;
    for path in ["/echo", "/stall"] {
        // The application may be reading datagrams, or not.
        let raw = target.hello().await;
        raw.keep(raw.session(path).await);
        // QUIC has let us open some streams, and would let us open more.
        raw.datagram(wire::datagram(4 * 10, b"early")).await;
        raw.keep(raw.session("/echo").await);
        raw.datagram(wire::datagram(4 * 2000, b"impossible")).await;
        assert_eq!(raw.closed().await, ErrorCode::H3_ID_ERROR.get(), "{path}");
        bystander.echo().await;
    }
    assert_unharmed(&target, &bystander).await;
}

/// Reads a control stream up to GOAWAY and returns the id in it.
async fn goaway(raw: &Raw) -> u64 {
    loop {
        let mut recv = within("a stream", raw.quic.accept_uni()).await.unwrap();
        let mut kind = [0];
        within("its type", recv.read_exact(&mut kind))
            .await
            .unwrap();
        if kind != [0] {
            raw.keep(recv);
            continue;
        }
        let mut frames = Frames::new(recv);
        loop {
            let (kind, payload) = frames.next().await.unwrap().unwrap();
            if kind == wire::GOAWAY {
                raw.keep(frames);
                return wire::read_varint(&mut &payload[..]).unwrap();
            }
        }
    }
}

/// Asserts that a connection ends in order.
async fn assert_parted(raw: &Raw) {
    let code = raw.closed().await;
    let orderly = code == ErrorCode::H3_NO_ERROR.get() || is_grease(code);
    assert!(orderly, "closed with {code:#x}");
}

#[tokio::test]
async fn goaway_comes_before_the_end_of_an_idle_connection() {
    let (target, bystander) = scene(&["linger=100"]).await;
    for _ in 0..5 {
        let raw = target.hello().await;
        let mut session = raw.session("/echo").await;
        session.write(&wire::close(0, b"")).await;
        session.send.finish().unwrap();
        assert_eq!(session.ended().await, End::Fin);
        assert_eq!(goaway(&raw).await, 4);
        assert_parted(&raw).await;
    }
    assert_unharmed(&target, &bystander).await;
}

#[tokio::test]
async fn goaway_comes_before_a_client_leaves() {
    let server = RawServer::start();
    let pins = ServerVerification::Hashes(vec![server.identity.certificate_hash()]);
    let client = Client::new(ClientConfig::new().with_verification(pins)).unwrap();
    for _ in 0..5 {
        let connecting = tokio::spawn(client.connect(server.url.as_str()).into_future());
        let raw = server.accept().await;
        raw.settings(wire::SERVER_SETTINGS).await;
        let mut theirs = raw.accept_session().await;
        let session = connecting.await.unwrap().unwrap();
        session.close(0, "");
        drop(session);
        theirs.capsule(wire::CLOSE).await.unwrap();
        theirs.send.finish().unwrap();
        assert_eq!(theirs.ended().await, End::Fin);
        assert_eq!(goaway(&raw).await, 0);
        assert_parted(&raw).await;
    }
}

#[test]
fn every_violation_has_a_case() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let read = |path: &str| std::fs::read_to_string(format!("{root}/{path}")).unwrap();
    let source = read("crates/wt-proto/src/error.rs");
    let (_, violations) = source.split_once("pub enum ProtocolViolation {").unwrap();
    let (violations, _) = violations.split_once("\n}").unwrap();
    let page = read("docs/security.md");
    let mut count = 0;
    for line in violations.lines().map(str::trim) {
        let is_variant = line.starts_with(|c: char| c.is_ascii_uppercase()) && line.ends_with(',');
        if is_variant {
            let name = line.trim_end_matches(',');
            assert!(
                page.contains(&format!("| `{name}` |")),
                "no case for {name}"
            );
            count += 1;
        }
    }
    assert!(count > 40, "only {count} violations were found");
}
