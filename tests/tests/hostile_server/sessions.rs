//! What concerns a session: its capsules and limits, and streams before it, after it and of none.

use wt::{ErrorCode, SessionError, proto::ProtocolViolation};
use wt_tests::raw::{End, ended, stopped, wire, within};

use crate::{Scene, config, echo_by_hand};

#[tokio::test]
async fn capsules_of_a_server() {
    use ProtocolViolation as V;
    let scene = Scene::new().await;
    let two = scene.two().await;
    let max_data = |limit: u64| wire::capsule(wire::MAX_DATA, &wire::varint(limit));
    let max_uni = |limit: u64| wire::capsule(wire::MAX_STREAMS_UNI, &wire::varint(limit));
    for (bytes, violation) in [
        (wire::close(0, &[b'a'; 1025]), V::CloseMessageTooLong),
        (wire::close(0, &[0xff]), V::CloseMessageNotUtf8),
        (wire::capsule(wire::CLOSE, &[0]), V::CapsuleMalformed),
        (wire::capsule(wire::DRAIN, &[0]), V::CapsuleTooLarge),
        (
            wire::frame(wire::DATA, &wire::head(wire::MAX_DATA, 1 << 30)),
            V::CapsuleTooLarge,
        ),
        (wire::capsule(wire::MAX_DATA, &[]), V::CapsuleMalformed),
        (
            wire::capsule(wire::MAX_STREAM_DATA, &[0, 0]),
            V::CapsuleProhibited,
        ),
        (
            wire::capsule(wire::STREAM_DATA_BLOCKED, &[0, 0]),
            V::CapsuleProhibited,
        ),
        (max_data(1), V::MaxDataNotIncreased),
        (max_data(1 << 24), V::MaxDataNotIncreased),
        (max_uni(999), V::MaxStreamsNotIncreased),
        (max_uni((1 << 60) + 1), V::MaxStreamsTooLarge),
    ] {
        let (mut far, near) = two.another().await;
        let mut stream = near.open_uni().await.unwrap();
        far.write(&bytes).await;
        let end = within("the end", near.closed()).await;
        assert_eq!(end, SessionError::Violation(violation));
        far.assert_reset(violation.code().get()).await;
        assert!(stream.write_all(b"x").await.is_err());
        two.assert_beside().await;
    }
    // The session was closed in order when the byte behind it came.
    let close = [wire::frame(wire::CLOSE, &[0; 4]), vec![0]].concat();
    let (mut far, near) = two.another().await;
    far.write(&wire::frame(wire::DATA, &close)).await;
    assert_eq!(within("the end", near.closed()).await.code(), Some(0));
    far.assert_reset(ErrorCode::H3_MESSAGE_ERROR.get()).await;
    two.assert_beside().await;
    for bytes in [wire::head(wire::CLOSE, 4), vec![0x40]] {
        let (mut far, near) = two.another().await;
        far.write(&wire::frame(wire::DATA, &bytes)).await;
        far.send.finish().unwrap();
        let end = within("the end", near.closed()).await;
        assert_eq!(end, SessionError::Violation(V::CapsuleTruncated));
        assert_eq!(
            far.ended().await,
            End::Reset(ErrorCode::H3_MESSAGE_ERROR.get())
        );
        two.assert_beside().await;
    }
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn limits_that_a_server_oversteps() {
    let mut config = config();
    config.session.max_streams_uni = 3;
    config.session.max_streams_bidi = 3;
    config.session.max_data = 1 << 20;
    let scene = Scene::with(config).await;
    let two = scene.two().await;
    let code = ErrorCode::WT_FLOW_CONTROL_ERROR.get();
    for kind in [wire::WT_UNI, wire::WT_BIDI] {
        let (mut far, near) = two.another().await;
        for _ in 0..4 {
            let bytes = wire::stream(kind, far.id, b"x");
            if kind == wire::WT_UNI {
                two.raw.keep_uni(&bytes).await;
            } else {
                two.raw.keep_bi(&bytes).await;
            }
        }
        let end = within("the end", near.closed()).await;
        let expected = ProtocolViolation::StreamLimitExceeded;
        assert_eq!(end, SessionError::Violation(expected));
        far.assert_reset(code).await;
        two.assert_beside().await;
    }
    let (mut far, near) = two.another().await;
    // Nobody reads, so nothing more is granted.
    let body = vec![0; (1 << 20) + 1];
    two.raw
        .keep_uni(&wire::stream(wire::WT_UNI, far.id, &body))
        .await;
    let end = within("the end", near.closed()).await;
    assert_eq!(
        end,
        SessionError::Violation(ProtocolViolation::DataLimitExceeded)
    );
    far.assert_reset(code).await;
    two.assert_beside().await;
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn streams_of_sessions_that_are_not_there() {
    let scene = Scene::new().await;
    let two = scene.two().await;
    let (mut far, near) = two.another().await;
    near.close(7, "bye");
    let close = far.capsule(wire::CLOSE).await.unwrap();
    assert_eq!(close, [&7_u32.to_be_bytes()[..], b"bye"].concat());
    let gone = ErrorCode::WT_SESSION_GONE.get();
    // One that is over, and one that the client never asked for.
    for id in [far.id, 4000] {
        let send = two.raw.uni(&wire::stream(wire::WT_UNI, id, b"x")).await;
        assert_eq!(stopped(&send).await, gone, "{id}");
        let (send, mut recv) = two.raw.bi(&wire::stream(wire::WT_BIDI, id, b"x")).await;
        assert_eq!(stopped(&send).await, gone, "{id}");
        assert_eq!(ended(&mut recv).await, End::Reset(gone), "{id}");
        two.raw.datagram(wire::datagram(id, b"x")).await;
        two.assert_beside().await;
    }
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn streams_before_the_answer() {
    let mut config = config();
    config.limits.early_streams = 4;
    let scene = Scene::with(config).await;
    let (raw, mut request, connecting) = scene.asked().await;
    let mut early = Vec::new();
    for n in 0..6_u8 {
        early.push(raw.uni(&wire::stream(wire::WT_UNI, request.id, &[n])).await);
        early[usize::from(n)].finish().unwrap();
    }
    raw.datagram(wire::datagram(request.id, b"early")).await;
    // Two find no room; when it is known which, all have arrived.
    let overflow = raw.uni(&wire::stream(wire::WT_UNI, request.id, b"x")).await;
    let rejected = ErrorCode::WT_BUFFERED_STREAM_REJECTED.get();
    assert_eq!(stopped(&overflow).await, rejected);
    request.write(&wire::response("200")).await;
    let near = connecting.await.unwrap().unwrap();
    for _ in 0..4 {
        let mut stream = within("an early stream", near.accept_uni()).await.unwrap();
        assert_eq!(stream.read_to_end(1).await.unwrap().len(), 1);
    }
    assert_eq!(
        within("the datagram", near.recv_datagram()).await.unwrap(),
        b"early"[..]
    );
    echo_by_hand(&raw, &near).await;
    scene.assert_unharmed().await;
}
