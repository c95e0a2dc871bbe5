//! Streams with a type: those that the connection needs, of QPACK too, those of push, and their types.

use wt::ErrorCode;
use wt_tests::raw::{
    Attack::{Control, Uni, UniFin, UniReset},
    stopped, wire,
};

use crate::{assert_closed, assert_unharmed, beside, scene};

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
async fn streams_that_end_within_their_header_are_ignored() {
    let (target, bystander, raw, session) = beside().await;
    for bytes in [vec![], vec![0x40], vec![0x40, 0x54], vec![0x40, 0x54, 0x80]] {
        raw.uni(&bytes).await.finish().unwrap();
        raw.uni(&bytes).await.reset(7_u32.into()).unwrap();
    }
    raw.echo(session, b"beside").await;
    assert_unharmed(&target, &bystander).await;
}
