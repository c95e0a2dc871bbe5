//! Requests: heads that cannot be read, are malformed, too large or late, and datagrams for them.

use wt::ErrorCode;
use wt_tests::raw::{Attack::Bidi, End, ended, stopped, wire};

use crate::{assert_closed, assert_unharmed, beside, scene};

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
