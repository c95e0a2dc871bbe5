//! Clients that break the rules of sessions, capsules, streams and datagrams, against our server.
//!
//! What concerns a session ends that session with the code of the rule; the one beside it on the same connection and
//! the bystander on another one still echo.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use wt::ErrorCode;
use wt_tests::{
    raw::{End, Raw, ended, stopped, wire, within},
    target::{Bystander, Target},
};

/// How much a target may grow while a peer breaks a rule, in MiB.
const MEMORY: u64 = 8;

/// A connection with a session on it that has to survive what happens to others.
struct Scene {
    target: Target,
    bystander: Bystander,
    raw: Raw,
    beside: u64,
}

impl Scene {
    async fn new(args: &[&str]) -> Self {
        Self::with_settings(args, wire::CLIENT_SETTINGS).await
    }

    async fn with_settings(args: &[&str], settings: &[(u64, u64)]) -> Self {
        let target = Target::start(env!("CARGO_BIN_EXE_hostile-target"), args);
        let bystander = target.client().await;
        let raw = target.raw().await;
        raw.settings(settings).await;
        let session = raw.session("/echo").await;
        let beside = session.id;
        raw.keep(session);
        Self {
            target,
            bystander,
            raw,
            beside,
        }
    }

    /// Asserts that the session on the same connection goes on.
    async fn assert_beside(&self) {
        self.raw.echo(self.beside, b"beside").await;
    }

    /// Asserts that nothing but the offending session was concerned.
    async fn assert_unharmed(&self) {
        self.assert_beside().await;
        self.assert_others_unharmed().await;
    }

    /// Asserts that nothing but the offending connection was concerned.
    async fn assert_others_unharmed(&self) {
        self.bystander.is_served().await;
        self.target.assert_grown_at_most(MEMORY);
    }

    /// Runs attacks on the CONNECT stream, each on a session of its own that has an open stream, and asserts the code
    /// with which the session is reset, and its stream with it.
    async fn assert_session_reset<'a>(
        &self,
        attacks: impl IntoIterator<Item = (&'a str, Vec<u8>, ErrorCode)>,
    ) {
        for (what, bytes, code) in attacks {
            eprintln!("{what}");
            let mut session = self.raw.session("/echo").await;
            let (mut send, mut recv) = self
                .raw
                .bi(&wire::stream(wire::WT_BIDI, session.id, b"x"))
                .await;
            let mut byte = [0];
            within("the echo", recv.read_exact(&mut byte))
                .await
                .unwrap();
            session.write(&bytes).await;
            session.assert_reset(code.get()).await;
            let gone = ErrorCode::WT_SESSION_GONE.get();
            assert_eq!(
                ended(&mut recv).await,
                End::Reset(gone),
                "{what}: its stream"
            );
            assert_eq!(stopped(&send).await, gone, "{what}: its stream");
            let _ = send.finish();
            self.assert_beside().await;
        }
        self.assert_unharmed().await;
    }
}

#[tokio::test]
async fn malformed_capsules() {
    let code = ErrorCode::H3_MESSAGE_ERROR;
    let scene = Scene::new(&[]).await;
    let mut attacks = vec![
        (
            "CLOSE without a code",
            wire::capsule(wire::CLOSE, &[0, 0, 0]),
            code,
        ),
        ("CLOSE with nothing", wire::capsule(wire::CLOSE, &[]), code),
    ];
    for kind in [
        wire::MAX_DATA,
        wire::MAX_STREAMS_BIDI,
        wire::MAX_STREAMS_UNI,
        wire::DATA_BLOCKED,
        wire::STREAMS_BLOCKED_BIDI,
        wire::STREAMS_BLOCKED_UNI,
    ] {
        attacks.push(("no number", wire::capsule(kind, &[]), code));
        attacks.push(("half a number", wire::capsule(kind, &[0x40]), code));
        attacks.push(("two numbers", wire::capsule(kind, &[1, 1]), code));
    }
    scene.assert_session_reset(attacks).await;
}

#[tokio::test]
async fn oversized_capsules() {
    let code = ErrorCode::H3_MESSAGE_ERROR;
    let scene = Scene::new(&[]).await;
    let mut attacks = vec![
        ("DRAIN with a value", wire::capsule(wire::DRAIN, &[0]), code),
        (
            "DRAIN of a gigabyte",
            wire::frame(wire::DATA, &wire::head(wire::DRAIN, 1 << 30)),
            code,
        ),
        (
            "CLOSE of a gigabyte",
            wire::frame(wire::DATA, &wire::head(wire::CLOSE, 1 << 30)),
            code,
        ),
    ];
    for kind in [wire::MAX_DATA, wire::MAX_STREAMS_UNI, wire::DATA_BLOCKED] {
        attacks.push(("nine bytes", wire::capsule(kind, &[0; 9]), code));
        let head = wire::frame(wire::DATA, &wire::head(kind, 1 << 30));
        attacks.push(("a gigabyte", head, code));
    }
    scene.assert_session_reset(attacks).await;
}

#[tokio::test]
async fn close_messages_that_break_the_rules() {
    let code = ErrorCode::H3_MESSAGE_ERROR;
    let scene = Scene::new(&[]).await;
    let attacks = vec![
        ("1025 bytes", wire::close(0, &[b'a'; 1025]), code),
        ("not UTF-8", wire::close(0, &[b'a', 0xff]), code),
        (
            "half a character",
            wire::close(0, "é".repeat(100).as_bytes().split_last().unwrap().1),
            code,
        ),
        ("a surrogate", wire::close(0, &[0xed, 0xa0, 0x80]), code),
        ("overlong", wire::close(0, &[0xc0, 0x80]), code),
    ];
    scene.assert_session_reset(attacks).await;
    // What is exactly as long as allowed, is.
    let mut session = scene.raw.session("/echo").await;
    session.write(&wire::close(7, &[b'a'; 1024])).await;
    assert_eq!(session.ended().await, End::Fin);
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn data_after_close() {
    let code = ErrorCode::H3_MESSAGE_ERROR;
    let scene = Scene::new(&[]).await;
    let close = wire::frame(wire::CLOSE, &[0; 4]);
    let one_frame = wire::frame(wire::DATA, &[&close[..], &[0]].concat());
    scene
        .assert_session_reset([("one byte in the same frame", one_frame, code)])
        .await;

    // Once the session is closed, our side is finished; what still comes is stopped.
    for more in [
        wire::capsule(wire::DRAIN, &[]),
        wire::frame(wire::DATA, &[0]),
    ] {
        let mut session = scene.raw.session("/echo").await;
        session.write(&wire::close(0, b"")).await;
        assert_eq!(session.ended().await, End::Fin);
        session.write(&more).await;
        assert_eq!(stopped(&session.send).await, code.get());
        scene.assert_beside().await;
    }
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn capsules_truncated_by_the_end_of_the_stream() {
    let scene = Scene::new(&[]).await;
    for capsule in [
        wire::head(wire::CLOSE, 4),
        vec![0x40],
        wire::frame(wire::CLOSE, &[0; 20])[..8].to_vec(),
        wire::head(0x21, 10),
    ] {
        let mut session = scene.raw.session("/echo").await;
        session.write(&wire::frame(wire::DATA, &capsule)).await;
        session.send.finish().unwrap();
        let reset = End::Reset(ErrorCode::H3_MESSAGE_ERROR.get());
        assert_eq!(session.ended().await, reset, "{capsule:?}");
        scene.assert_beside().await;
    }
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn capsules_prohibited_over_http3() {
    let scene = Scene::new(&[]).await;
    let attacks = [wire::MAX_STREAM_DATA, wire::STREAM_DATA_BLOCKED].map(|kind| {
        let bytes = wire::capsule(kind, &wire::varints(&[4, 1 << 20]));
        ("prohibited", bytes, ErrorCode::H3_MESSAGE_ERROR)
    });
    scene.assert_session_reset(attacks).await;
}

#[tokio::test]
async fn limits_that_do_not_rise() {
    let code = ErrorCode::WT_FLOW_CONTROL_ERROR;
    let scene = Scene::new(&[]).await;
    // The settings said 2^24 bytes and 1000 streams.
    let data = |limit: u64| wire::capsule(wire::MAX_DATA, &wire::varint(limit));
    let bidi = |limit: u64| wire::capsule(wire::MAX_STREAMS_BIDI, &wire::varint(limit));
    let uni = |limit: u64| wire::capsule(wire::MAX_STREAMS_UNI, &wire::varint(limit));
    scene
        .assert_session_reset([
            ("MAX_DATA that shrinks", data(1), code),
            ("MAX_DATA as it was", data(1 << 24), code),
            (
                "MAX_DATA that rises and shrinks",
                [data(1 << 25), data(1 << 24)].concat(),
                code,
            ),
            (
                "MAX_STREAMS of bidirectional streams that shrinks",
                bidi(999),
                code,
            ),
            (
                "MAX_STREAMS of bidirectional streams as it was",
                bidi(1000),
                code,
            ),
            (
                "MAX_STREAMS of unidirectional streams that shrinks",
                uni(0),
                code,
            ),
            (
                "MAX_STREAMS that rises twice to the same",
                [uni(2000), uni(2000)].concat(),
                code,
            ),
        ])
        .await;
}

#[tokio::test]
async fn limits_that_cannot_be() {
    let code = ErrorCode::WT_FLOW_CONTROL_ERROR;
    let scene = Scene::new(&[]).await;
    let attacks = [
        wire::MAX_STREAMS_BIDI,
        wire::MAX_STREAMS_UNI,
        wire::STREAMS_BLOCKED_BIDI,
        wire::STREAMS_BLOCKED_UNI,
    ]
    .map(|kind| {
        (
            "2^60 + 1 streams",
            wire::capsule(kind, &wire::varint((1 << 60) + 1)),
            code,
        )
    });
    scene.assert_session_reset(attacks).await;
}

#[tokio::test]
async fn flow_control_capsules_without_flow_control_are_ignored() {
    // A client of draft-07, which knows no such capsules.
    let settings = [(0x33, 1), (0xc671_706a, 1)];
    let scene = Scene::with_settings(&[], &settings).await;
    let head = wire::connect_fields("/echo").map(|f| {
        if f.0 == ":protocol" {
            (f.0, "webtransport")
        } else {
            f
        }
    });
    let (mut session, status) = scene.raw.try_session(&wire::headers(&head)).await;
    assert_eq!(status, 200);
    session.write(&wire::capsule(wire::MAX_DATA, &[1])).await;
    session.write(&wire::capsule(wire::MAX_DATA, &[0])).await;
    session
        .write(&wire::capsule(wire::MAX_STREAMS_UNI, &[0]))
        .await;
    session
        .write(&wire::capsule(wire::DATA_BLOCKED, &[0]))
        .await;
    scene.raw.echo(session.id, b"still here").await;
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn more_streams_than_allowed() {
    let scene = Scene::new(&["max-streams-uni=5", "max-streams-bidi=5"]).await;
    for kind in [wire::WT_UNI, wire::WT_BIDI] {
        let mut session = scene.raw.session("/hoard").await;
        let id = session.id;
        for n in 0..6 {
            let bytes = wire::stream(kind, id, b"x");
            if kind == wire::WT_UNI {
                scene.raw.keep_uni(&bytes).await;
            } else {
                scene.raw.keep_bi(&bytes).await;
            }
            if n < 5 {
                scene.bystander.echo().await;
            }
        }
        session
            .assert_reset(ErrorCode::WT_FLOW_CONTROL_ERROR.get())
            .await;
    }
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn more_data_than_allowed() {
    const MIB: usize = 1 << 20;
    let scene = Scene::new(&["max-data=1048576"]).await;
    let reset = ErrorCode::WT_FLOW_CONTROL_ERROR.get();
    // Whether the application takes the streams or not: it reads none of them, so no credit is granted.
    for path in ["/hoard", "/stall"] {
        let mut session = scene.raw.session(path).await;
        for bytes in [MIB, 1] {
            let bytes = wire::stream(wire::WT_UNI, session.id, &vec![0; bytes]);
            let mut send = scene.raw.uni(&bytes).await;
            send.finish().unwrap();
        }
        session.assert_reset(reset).await;
        scene.assert_beside().await;
    }
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn more_sessions_than_allowed() {
    let scene = Scene::new(&["sessions=3"]).await;
    let mut session = scene.raw.session("/stall").await;
    scene.raw.keep(scene.raw.session("/stall").await);
    let code = ErrorCode::H3_REQUEST_REJECTED.get();
    for _ in 0..100 {
        let (send, mut recv) = scene.raw.bi(&wire::connect("/echo")).await;
        assert_eq!(ended(&mut recv).await, End::Reset(code));
        assert_eq!(stopped(&send).await, code);
    }
    // One that ends makes room for another.
    session.send.finish().unwrap();
    assert_eq!(session.ended().await, End::Fin);
    let again = scene.raw.session("/echo").await;
    scene.raw.echo(again.id, b"room").await;
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn a_second_session_without_flow_control() {
    let scene = Scene::with_settings(&[], &[(0x33, 1), (0x2c7c_f000, 1)]).await;
    let code = ErrorCode::H3_REQUEST_REJECTED.get();
    let (send, mut recv) = scene.raw.bi(&wire::connect("/echo")).await;
    assert_eq!(ended(&mut recv).await, End::Reset(code));
    assert_eq!(stopped(&send).await, code);
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn session_ids_that_cannot_be() {
    let code = ErrorCode::H3_ID_ERROR.get();
    let scene = Scene::new(&[]).await;
    for id in [1, 2, 3, 5, 6, 7, (1 << 62) - 1] {
        let raw = scene.target.hello().await;
        raw.keep_uni(&wire::stream(wire::WT_UNI, id, b"x")).await;
        assert_eq!(raw.closed().await, code, "unidirectional, {id}");
        let raw = scene.target.hello().await;
        raw.keep_bi(&wire::stream(wire::WT_BIDI, id, b"x")).await;
        assert_eq!(raw.closed().await, code, "bidirectional, {id}");
        scene.bystander.echo().await;
    }
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn datagrams_of_streams_that_cannot_be() {
    let code = ErrorCode::H3_DATAGRAM_ERROR.get();
    let scene = Scene::new(&[]).await;
    for bytes in [
        vec![],
        vec![0x40],
        vec![0xc0, 0, 0, 0, 0, 0, 0],
        wire::varint(1 << 60),
        wire::varint((1 << 62) - 1),
    ] {
        for path in ["/echo", "/stall"] {
            // The application may be reading datagrams, or not.
            let raw = scene.target.hello().await;
            raw.keep(raw.session(path).await);
            raw.datagram(bytes.clone()).await;
            assert_eq!(raw.closed().await, code, "{bytes:?} to {path}");
            scene.bystander.echo().await;
        }
    }
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn streams_and_datagrams_of_closed_sessions() {
    let scene = Scene::new(&[]).await;
    let gone = ErrorCode::WT_SESSION_GONE.get();
    let mut ids = Vec::new();
    for end in 0..4 {
        let mut session = scene.raw.session("/bye").await;
        ids.push(session.id);
        match end {
            // The application closes it.
            0 => {
                scene
                    .raw
                    .keep_uni(&wire::stream(wire::WT_UNI, session.id, b"x"))
                    .await;
                let close = session.capsule(wire::CLOSE).await.unwrap();
                assert_eq!(close, [&42_u32.to_be_bytes()[..], b"bye"].concat());
                session.send.finish().unwrap();
                assert_eq!(session.ended().await, End::Fin);
            }
            1 => {
                session.write(&wire::close(1, b"")).await;
                assert_eq!(session.ended().await, End::Fin);
                scene.raw.keep(session);
            }
            2 => {
                session.send.finish().unwrap();
                assert_eq!(session.ended().await, End::Fin);
            }
            _ => {
                session.send.reset(7_u32.into()).unwrap();
                assert_eq!(session.ended().await, End::Fin);
            }
        }
    }
    // A bidirectional stream that was one of a session, and a request that was refused.
    let (mut send, mut recv) = scene
        .raw
        .bi(&wire::stream(wire::WT_BIDI, scene.beside, b"x"))
        .await;
    send.finish().unwrap();
    assert_eq!(ended(&mut recv).await, End::Fin);
    ids.push(u64::from(send.id()));
    let (refused, status) = scene.raw.try_session(&wire::connect("/missing")).await;
    assert_eq!(status, 404);
    assert_eq!(stopped(&refused.send).await, ErrorCode::H3_NO_ERROR.get());
    ids.push(refused.id);
    for id in ids {
        let send = scene.raw.uni(&wire::stream(wire::WT_UNI, id, b"x")).await;
        assert_eq!(stopped(&send).await, gone, "unidirectional, of {id}");
        let (send, mut recv) = scene.raw.bi(&wire::stream(wire::WT_BIDI, id, b"x")).await;
        assert_eq!(stopped(&send).await, gone, "bidirectional, of {id}");
        assert_eq!(
            ended(&mut recv).await,
            End::Reset(gone),
            "bidirectional, of {id}"
        );
        scene.raw.datagram(wire::datagram(id, b"x")).await;
        scene.assert_beside().await;
    }
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn early_streams_and_datagrams_are_kept_within_limits() {
    let scene = Scene::new(&["early-streams=4", "early-age=700"]).await;
    let rejected = ErrorCode::WT_BUFFERED_STREAM_REJECTED.get();
    // The id of the request after the next.
    let (probe, status) = scene.raw.try_session(&wire::connect("/missing")).await;
    assert_eq!(status, 404);
    let id = probe.id + 4;
    let mut early = Vec::new();
    for n in 0..4_u8 {
        early.push(
            scene
                .raw
                .uni(&wire::stream(wire::WT_UNI, id, &[n; 100]))
                .await,
        );
    }
    // A fifth finds no room. Which one that is, QUIC does not promise.
    early.push(
        scene
            .raw
            .uni(&wire::stream(wire::WT_UNI, id, b"too many"))
            .await,
    );
    let codes = early.iter().map(|send| Box::pin(send.stopped()));
    let first = within("one of five is rejected", async {
        let mut codes: Vec<_> = codes.collect();
        std::future::poll_fn(|cx| {
            for code in &mut codes {
                if let std::task::Poll::Ready(code) = code.as_mut().poll(cx) {
                    return std::task::Poll::Ready(code);
                }
            }
            std::task::Poll::Pending
        })
        .await
    });
    assert_eq!(first.await.unwrap().unwrap().into_inner(), rejected);
    // The others wait for a session that never comes, and are rejected too.
    for send in &early {
        assert_eq!(stopped(send).await, rejected);
    }
    for _ in 0..10_000 {
        let _ = scene
            .raw
            .quic
            .send_datagram(wire::datagram(id + 40, &[0; 1000]).into());
    }
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn early_streams_reach_their_session() {
    let scene = Scene::new(&[]).await;
    let raw = scene.target.raw().await;
    // Stream 0 will be the session: all of this comes before its request, and before SETTINGS.
    let (mut request, recv) = raw.quic.open_bi().await.unwrap();
    let (mut send, mut answer) = raw.bi(&wire::stream(wire::WT_BIDI, 0, b"early")).await;
    send.finish().unwrap();
    raw.datagram(wire::datagram(0, b"early")).await;
    raw.settings(wire::CLIENT_SETTINGS).await;
    // The bystander's answers say that the server had time to see it.
    scene.bystander.echo().await;
    request.write_all(&wire::connect("/echo")).await.unwrap();
    let answer = within("the echo", answer.read_to_end(100)).await.unwrap();
    assert_eq!(answer, b"early");
    let datagram = within("the datagram", raw.quic.read_datagram())
        .await
        .unwrap();
    assert_eq!(datagram, wire::datagram(0, b"early"));
    raw.keep((request, recv));
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn capsules_before_the_answer() {
    let scene = Scene::new(&[]).await;
    // The CONNECT carries a close at once: it counts once the session is accepted.
    let (mut session, status) = scene
        .raw
        .try_session(&[wire::connect("/echo"), wire::close(5, b"never mind")].concat())
        .await;
    assert_eq!(status, 200);
    assert_eq!(session.ended().await, End::Fin);
    // Refused: the capsules behind it are discarded, the malformed ones too.
    let bytes = [wire::connect("/missing"), wire::capsule(wire::CLOSE, &[])].concat();
    let (mut session, status) = scene.raw.try_session(&bytes).await;
    assert_eq!(status, 404);
    assert_eq!(session.ended().await, End::Fin);
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn frames_other_than_data_in_a_session() {
    let code = ErrorCode::H3_FRAME_UNEXPECTED.get();
    let scene = Scene::new(&[]).await;
    for frame in [
        wire::connect("/again"),
        wire::headers(&[("trailer", "x")]),
        wire::settings(&[]),
        wire::frame(wire::GOAWAY, &[0]),
        wire::frame(wire::PUSH_PROMISE, &[0]),
        wire::frame(0x2, b""),
    ] {
        let raw = scene.target.hello().await;
        let mut session = raw.session("/echo").await;
        session.write(&frame).await;
        assert_eq!(raw.closed().await, code, "{frame:?}");
        scene.bystander.echo().await;
    }
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn a_connect_stream_that_is_torn() {
    let scene = Scene::new(&[]).await;
    let gone = ErrorCode::WT_SESSION_GONE.get();
    for stop in [false, true] {
        let mut session = scene.raw.session("/echo").await;
        let (send, mut recv) = scene
            .raw
            .bi(&wire::stream(wire::WT_BIDI, session.id, b"x"))
            .await;
        within("the echo", recv.read_exact(&mut [0])).await.unwrap();
        if stop {
            session.frames.stop(7);
            assert_eq!(
                stopped(&session.send).await,
                gone,
                "STOP_SENDING on CONNECT"
            );
        } else {
            session.send.reset(7_u32.into()).unwrap();
            assert_eq!(session.ended().await, End::Fin);
        }
        assert_eq!(ended(&mut recv).await, End::Reset(gone));
        assert_eq!(stopped(&send).await, gone);
        scene.assert_beside().await;
    }
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn requests_abandoned_before_the_answer() {
    let scene = Scene::new(&["sessions=8"]).await;
    // More than may be there at a time: those that were given up make room.
    for n in 0..40 {
        let (mut send, mut recv) = scene.raw.bi(&wire::connect("/hold")).await;
        // The request has arrived when what was sent behind it is answered.
        scene.assert_beside().await;
        if n % 2 == 0 {
            recv.stop(7_u32.into()).unwrap();
            // QUIC takes the stream for open until we end our side as well.
            stopped(&send).await;
            send.reset(7_u32.into()).unwrap();
        } else {
            send.reset(7_u32.into()).unwrap();
            let cancelled = ErrorCode::H3_REQUEST_CANCELLED.get();
            assert_eq!(ended(&mut recv).await, End::Reset(cancelled));
        }
        scene.raw.keep((send, recv));
    }
    let session = scene.raw.session("/echo").await;
    scene.raw.echo(session.id, b"room").await;
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn a_connect_stream_that_nobody_reads() {
    let scene = Scene::new(&["max-streams-uni=16"]).await;
    let mut transport = wt_tests::raw::transport();
    transport.stream_receive_window(quinn::VarInt::from_u32(16));
    let raw = Raw::client_with(scene.target.port, transport).await;
    raw.settings(wire::CLIENT_SETTINGS).await;
    let mut session = raw.session("/echo").await;
    // Each stream brings new credit, until its announcements fill the stream; then the limit is reached.
    let blocked = wire::capsule(wire::STREAMS_BLOCKED_UNI, &wire::varint(16));
    let mut sent = 0;
    while session.send.write_all(&blocked).await.is_ok() {
        let mut send = raw.uni(&wire::stream(wire::WT_UNI, session.id, b"x")).await;
        let _ = send.finish();
        let _ = within("the stream is taken", send.stopped()).await;
        sent += 1;
        assert!(sent < 1000, "streams beyond the limit are taken");
    }
    // What could not be written does not hold up the end.
    session
        .assert_reset(ErrorCode::WT_FLOW_CONTROL_ERROR.get())
        .await;
    scene.assert_unharmed().await;
}
