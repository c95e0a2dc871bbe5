//! Frames: in the wrong place, of the wrong length, cut short, and those that mean nothing.

use wt::ErrorCode;
use wt_tests::raw::{
    Attack::{Bidi, BidiFin, Control},
    End, stopped, wire,
};

use crate::{assert_closed, assert_unharmed, scene};

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
