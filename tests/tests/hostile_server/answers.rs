//! Answers to the request for a session: wrong, refused, cut short, or none at all.

use std::time::Duration;

use wt::{ErrorCode, client::ConnectError, core::ConnectError as Core, proto::ProtocolViolation};
use wt_tests::raw::{wire, within};

use crate::Scene;

#[tokio::test]
async fn answers_that_close_the_connection() {
    use ProtocolViolation as V;
    let scene = Scene::new().await;
    let section = |bytes: &[u8]| wire::frame(wire::HEADERS, bytes);
    for (what, bytes, violation) in [
        (
            "DATA first",
            wire::frame(wire::DATA, b"x"),
            V::FrameUnexpected,
        ),
        ("SETTINGS", wire::settings(&[]), V::FrameUnexpected),
        (
            "PUSH_PROMISE",
            wire::frame(wire::PUSH_PROMISE, &[0]),
            V::PushId,
        ),
        (
            "a dynamic index",
            section(&[0, 0, 0x80]),
            V::QpackDecompression,
        ),
        ("an empty section", section(&[]), V::QpackDecompression),
        (
            "WT_STREAM",
            wire::stream(wire::WT_BIDI, 0, b"x"),
            V::WtStreamMisplaced,
        ),
    ] {
        let (raw, mut request, connecting) = scene.asked().await;
        request.write(&bytes).await;
        assert_eq!(raw.closed().await, violation.code().get(), "{what}");
        assert!(connecting.await.unwrap().is_err());
        scene.bystander.echo().await;
    }
    for bytes in [wire::response("200")[..3].to_vec(), wire::head(0x21, 9)] {
        let (raw, mut request, connecting) = scene.asked().await;
        request.write(&bytes).await;
        request.send.finish().unwrap();
        assert_eq!(
            raw.closed().await,
            ErrorCode::H3_FRAME_ERROR.get(),
            "{bytes:?}"
        );
        assert!(connecting.await.unwrap().is_err());
    }
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn answers_that_end_the_request() {
    use ProtocolViolation as V;
    let scene = Scene::new().await;
    let two = scene.two().await;
    let long = "x".repeat(20_000);
    for (what, bytes, violation) in [
        (
            "no :status",
            wire::headers(&[("x", "y")]),
            V::MalformedMessage,
        ),
        (
            ":status of letters",
            wire::response("abc"),
            V::MalformedMessage,
        ),
        (":status 99", wire::response("99"), V::MalformedMessage),
        (":status 101", wire::response("101"), V::MalformedMessage),
        (
            ":status twice",
            wire::headers(&[(":status", "200"), (":status", "200")]),
            V::MalformedMessage,
        ),
        (
            "a pseudo-header of requests",
            wire::headers(&[(":status", "200"), (":path", "/")]),
            V::MalformedMessage,
        ),
        (
            "a name in upper case",
            wire::headers(&[(":status", "200"), ("X", "y")]),
            V::MalformedMessage,
        ),
        (
            "a field too large",
            wire::headers(&[(":status", "200"), ("x", &long)]),
            V::FieldSectionTooLarge,
        ),
        (
            "a gigabyte declared",
            wire::head(wire::HEADERS, 1 << 30),
            V::FieldSectionTooLarge,
        ),
    ] {
        let connecting = tokio::spawn(
            two.client
                .connect(two.url.as_str())
                .pooling(true)
                .into_future(),
        );
        let mut request = two.raw.request().await;
        request.write(&bytes).await;
        let error = connecting.await.unwrap().expect_err(what);
        let ConnectError::Session(Core::Violation(found)) = error else {
            panic!("{what}: {error}")
        };
        assert_eq!(found, violation, "{what}");
        request.assert_reset(violation.code().get()).await;
        two.assert_beside().await;
    }
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn requests_that_come_to_nothing() {
    let scene = Scene::new().await;
    // The end of the stream instead of an answer, and behind an interim one.
    for bytes in [vec![], wire::response("103"), wire::frame(0x21, b"grease")] {
        let (_raw, mut request, connecting) = scene.asked().await;
        request.write(&bytes).await;
        request.send.finish().unwrap();
        let error = connecting.await.unwrap().unwrap_err();
        let expected = ProtocolViolation::RequestIncomplete;
        let found = matches!(error, ConnectError::Session(Core::Violation(v)) if v == expected);
        assert!(found, "{error}");
    }
    for stop in [false, true] {
        let (_raw, mut request, connecting) = scene.asked().await;
        let code = ErrorCode::H3_REQUEST_REJECTED.get();
        if stop {
            request.frames.stop(u32::try_from(code).unwrap());
            // No answer comes either.
            let _ = request.send.reset(quinn::VarInt::from_u64(code).unwrap());
        } else {
            request
                .send
                .reset(quinn::VarInt::from_u64(code).unwrap())
                .unwrap();
        }
        let error = connecting.await.unwrap().unwrap_err();
        let rejected =
            matches!(&error, ConnectError::Session(Core::Rejected(c)) if c.get() == code);
        assert!(rejected, "{error}");
    }
    for status in ["301", "404", "429", "500"] {
        let (_raw, mut request, connecting) = scene.asked().await;
        // What stands behind it is of no interest, even if it is wrong.
        request
            .write(&[wire::response(status), wire::frame(wire::DATA, b"sorry")].concat())
            .await;
        let error = connecting.await.unwrap().unwrap_err();
        assert_eq!(error.status().unwrap().as_str(), status);
    }
    let (raw, _request, connecting) = scene.asked().await;
    raw.quic.close(0x100_u32.into(), b"");
    let error = connecting.await.unwrap().unwrap_err();
    assert!(
        matches!(error, ConnectError::Session(Core::Connection(_))),
        "{error}"
    );
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn goaway_below_a_request() {
    let scene = Scene::new().await;
    let (raw, connecting) = scene.silent().await;
    let mut control = raw
        .uni(&[vec![0], wire::settings(wire::SERVER_SETTINGS)].concat())
        .await;
    let _request = raw.request().await;
    control
        .write_all(&wire::frame(wire::GOAWAY, &[0]))
        .await
        .unwrap();
    let error = within("the refusal", connecting)
        .await
        .unwrap()
        .unwrap_err();
    let rejected = matches!(
        &error,
        ConnectError::Session(Core::Rejected(code)) if *code == ErrorCode::H3_REQUEST_REJECTED
    );
    assert!(rejected, "{error}");
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn an_answer_that_never_comes() {
    let scene = Scene::new().await;
    let two = scene.two().await;
    let limit = Duration::from_millis(300);
    let connecting = two.client.connect(two.url.as_str()).timeout(limit);
    let connecting = tokio::spawn(connecting.into_future());
    let mut request = two.raw.request().await;
    // A hundred interim answers do not make it longer.
    request.write(&wire::response("103").repeat(100)).await;
    let error = within("the time limit", connecting)
        .await
        .unwrap()
        .unwrap_err();
    assert!(error.is_timeout(), "{error}");
    request
        .assert_reset(ErrorCode::H3_REQUEST_CANCELLED.get())
        .await;
    two.assert_beside().await;
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn a_protocol_that_was_not_offered() {
    let scene = Scene::new().await;
    let two = scene.two().await;
    let connecting = two.client.connect(two.url.as_str()).protocols(["chat"]);
    let connecting = tokio::spawn(connecting.into_future());
    let mut request = two.raw.request().await;
    let head = wire::headers(&[(":status", "200"), ("wt-protocol", "\"video\"")]);
    request.write(&head).await;
    let error = connecting.await.unwrap().unwrap_err();
    let expected = ProtocolViolation::AlpnMismatch;
    let found = matches!(error, ConnectError::Session(Core::Violation(v)) if v == expected);
    assert!(found, "{error}");
    request.assert_reset(ErrorCode::WT_ALPN_ERROR.get()).await;
    two.assert_beside().await;
    scene.assert_unharmed().await;
}
