//! Servers that break the rules, against our client.
//!
//! The client has another session, on another connection to an honest server, which must not notice; and where only a
//! session is concerned, one beside it on the same connection.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use tokio::task::JoinHandle;
use wt::{
    Client, ClientConfig, ErrorCode, ServerVerification, Session, SessionError,
    client::ConnectError,
    core::{ConnectError as Core, ConnectionError},
    proto::ProtocolViolation,
};
use wt_tests::{
    raw::{
        self,
        Attack::{self, Bidi, Control, Uni, UniFin, UniReset},
        End, Raw, RawServer, ended, megabyte, stopped, wire, within, within_time,
    },
    target::{Bystander, Target},
};

/// A test has to be over in this time.
const LONG: Duration = Duration::from_secs(60);

const TARGET: &str = env!("CARGO_BIN_EXE_hostile-target");

type Connecting = JoinHandle<Result<Session, ConnectError>>;

struct Scene {
    client: Client,
    server: RawServer,
    bystander: Bystander,
    _target: Target,
}

fn config() -> ClientConfig {
    let mut config = ClientConfig::new().with_verification(ServerVerification::Insecure);
    config.limits.settings_timeout = Duration::from_secs(2);
    config
}

impl Scene {
    async fn new() -> Self {
        Self::with(config()).await
    }

    async fn with(config: ClientConfig) -> Self {
        let target = Target::start(TARGET, &[]);
        let client = Client::new(config).unwrap();
        let bystander = target.client_over(client.clone()).await;
        Self {
            client,
            server: RawServer::start(),
            bystander,
            _target: target,
        }
    }

    /// Has the client connect.
    fn connecting(&self) -> Connecting {
        tokio::spawn(self.client.connect(self.server.url.as_str()).into_future())
    }

    /// Has the client connect; our end has said nothing.
    async fn silent(&self) -> (Raw, Connecting) {
        let connecting = self.connecting();
        (self.server.accept().await, connecting)
    }

    /// Has the client connect and ask for a session.
    async fn asked(&self) -> (Raw, raw::Session, Connecting) {
        let (raw, connecting) = self.silent().await;
        raw.settings(wire::SERVER_SETTINGS).await;
        let request = raw.request().await;
        (raw, request, connecting)
    }

    /// Has two sessions on one connection: both ends of one, and the client's end of another.
    async fn two(&self) -> Two {
        let client = self.client.clone().with_pooling(true);
        let url = self.server.url.clone();
        let connecting = tokio::spawn(client.connect(url.as_str()).into_future());
        let raw = self.server.accept().await;
        raw.settings(wire::SERVER_SETTINGS).await;
        raw.keep(raw.accept_session().await);
        let beside = connecting.await.unwrap().unwrap();
        Two {
            raw,
            client,
            beside,
            url,
        }
    }

    async fn assert_unharmed(&self) {
        self.bystander.is_served().await;
    }

    /// Runs attacks, each on a connection of its own, and asserts the code with which it is closed.
    async fn assert_closed(&self, attacks: Vec<(&str, Attack, ProtocolViolation)>) {
        for (what, attack, violation) in attacks {
            let (raw, connecting) = self.silent().await;
            if matches!(attack, Bidi(_) | UniReset(_)) || what.starts_with("hello") {
                raw.settings(wire::SERVER_SETTINGS).await;
            }
            let fence = async { raw.keep(raw.request().await) };
            attack.launch(&raw, wire::SERVER_SETTINGS, fence).await;
            assert_eq!(raw.closed().await, violation.code().get(), "{what}");
            let error = connecting.await.unwrap().expect_err(what);
            let expected = ConnectionError::Violation(violation);
            let ConnectError::Session(Core::Connection(error)) = error else {
                panic!("{what}: {error}")
            };
            assert_eq!(error, expected, "{what}");
            self.bystander.echo().await;
        }
        self.assert_unharmed().await;
    }
}

struct Two {
    raw: Raw,
    client: Client,
    beside: Session,
    url: String,
}

impl Two {
    /// Opens another session on the same connection.
    async fn another(&self) -> (raw::Session, Session) {
        let connecting = self.client.connect(self.url.as_str());
        let (far, near) = tokio::join!(self.raw.accept_session(), connecting.into_future());
        (far, near.unwrap())
    }

    /// Asserts that the session on the same connection goes on.
    async fn assert_beside(&self) {
        echo_by_hand(&self.raw, &self.beside).await;
    }
}

/// Has a stream of the client echoed.
async fn echo_by_hand(raw: &Raw, near: &Session) {
    within("the echo", async {
        let mut stream = near.open_bi().await.unwrap();
        stream.send.write_all(b"beside").await.unwrap();
        stream.send.finish().unwrap();
        let (mut send, mut recv) = raw.quic.accept_bi().await.unwrap();
        let read = recv.read_to_end(100).await.unwrap();
        assert_eq!(
            read,
            wire::stream(wire::WT_BIDI, near.id().get(), b"beside")
        );
        send.write_all(b"beside").await.unwrap();
        send.finish().unwrap();
        assert_eq!(stream.recv.read_to_end(100).await.unwrap(), b"beside"[..]);
    })
    .await;
}

#[tokio::test]
async fn settings_of_a_server() {
    use ProtocolViolation as V;
    let control = |frame: Vec<u8>| Uni([vec![0], frame].concat());
    let settings = |entries: &[(u64, u64)]| control(wire::settings(entries));
    let many: Vec<_> = (0..20_000).map(|n| (0x21 + 0x1f * n, n)).collect();
    Scene::new()
        .await
        .assert_closed(vec![
            (
                "GOAWAY first",
                control(wire::frame(wire::GOAWAY, &[0])),
                V::MissingSettings,
            ),
            (
                "GREASE first",
                control(wire::frame(0x21, b"x")),
                V::MissingSettings,
            ),
            (
                "SETTINGS twice",
                Control(wire::settings(&[])),
                V::DuplicateSettings,
            ),
            ("a reserved one", settings(&[(0x4, 1)]), V::SettingsReserved),
            (
                "one twice",
                settings(&[(0x33, 1), (0x33, 1)]),
                V::SettingsDuplicateId,
            ),
            (
                "WT_ENABLED 2",
                settings(&[(0x2c7c_f000, 2)]),
                V::SettingsInvalidValue,
            ),
            (
                "CONNECT_PROTOCOL 2",
                settings(&[(0x8, 2)]),
                V::SettingsInvalidValue,
            ),
            (
                "truncated",
                control(wire::frame(wire::SETTINGS, &[0x33])),
                V::SettingsMalformed,
            ),
            ("oversized", settings(&many), V::SettingsTooLarge),
            (
                "a gigabyte",
                control(wire::head(wire::SETTINGS, 1 << 30)),
                V::SettingsTooLarge,
            ),
        ])
        .await;
}

#[tokio::test]
async fn settings_of_a_server_that_never_come() {
    let scene = Scene::new().await;
    let (raw, connecting) = scene.silent().await;
    assert_eq!(raw.closed().await, ErrorCode::H3_MISSING_SETTINGS.get());
    assert!(connecting.await.unwrap().is_err());
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn servers_without_webtransport() {
    let scene = Scene::new().await;
    for settings in [
        &[][..],
        &[(0x8, 1), (0x33, 1)],
        &[(0x33, 1), (0x2c7c_f000, 1)],
        &[(0x8, 1), (0x2c7c_f000, 1)],
        &[(0x8, 1), (0x33, 1), (0x2c7c_f000, 0), (0xc671_706a, 0)],
    ] {
        let (raw, connecting) = scene.silent().await;
        raw.settings(settings).await;
        let error = within("the refusal", connecting)
            .await
            .unwrap()
            .unwrap_err();
        let unavailable = matches!(error, ConnectError::Session(Core::Unavailable(_)));
        assert!(unavailable, "{settings:?}: {error}");
        scene.bystander.echo().await;
    }
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn critical_streams_of_a_server() {
    use ProtocolViolation as V;
    let settings = [vec![0], wire::settings(wire::SERVER_SETTINGS)].concat();
    let scene = Scene::new().await;
    scene
        .assert_closed(vec![
            (
                "hello, a second control stream",
                Uni(vec![0]),
                V::DuplicateCriticalStream,
            ),
            (
                "control finished",
                UniFin(settings),
                V::CriticalStreamClosed,
            ),
            (
                "hello, encoder finished",
                UniFin(vec![2]),
                V::CriticalStreamClosed,
            ),
            (
                "hello, decoder finished",
                UniFin(vec![3]),
                V::CriticalStreamClosed,
            ),
            ("encoder reset", UniReset(vec![2]), V::CriticalStreamClosed),
            (
                "hello, an insertion",
                Uni(vec![2, 0xc0, 1, b'x']),
                V::QpackEncoderStream,
            ),
            (
                "hello, an acknowledgment",
                Uni(vec![3, 0x80]),
                V::QpackDecoderStream,
            ),
        ])
        .await;
    for kind in [2, 3] {
        let (raw, connecting) = scene.silent().await;
        raw.settings(wire::SERVER_SETTINGS).await;
        raw.keep_uni(&[kind]).await;
        raw.keep_uni(&[kind]).await;
        assert_eq!(
            raw.closed().await,
            ErrorCode::H3_STREAM_CREATION_ERROR.get()
        );
        assert!(connecting.await.unwrap().is_err());
    }
    let (raw, _request, connecting) = scene.asked().await;
    let mut control = raw.quic.accept_uni().await.unwrap();
    control.stop(7_u32.into()).unwrap();
    assert_eq!(
        raw.closed().await,
        ErrorCode::H3_CLOSED_CRITICAL_STREAM.get()
    );
    assert!(connecting.await.unwrap().is_err());
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn control_frames_of_a_server() {
    use ProtocolViolation as V;
    let goaway = |ids: &[u64]| -> Vec<u8> {
        ids.iter()
            .flat_map(|id| wire::frame(wire::GOAWAY, &wire::varint(*id)))
            .collect()
    };
    Scene::new()
        .await
        .assert_closed(vec![
            (
                "GOAWAY increased",
                Control(goaway(&[400, 404])),
                V::GoAwayIncreased,
            ),
            (
                "GOAWAY of a server's stream",
                Control(goaway(&[1])),
                V::GoAwayInvalidId,
            ),
            (
                "GOAWAY of a unidirectional stream",
                Control(goaway(&[2])),
                V::GoAwayInvalidId,
            ),
            (
                "GOAWAY malformed",
                Control(wire::frame(wire::GOAWAY, &[])),
                V::FrameMalformed,
            ),
            (
                "MAX_PUSH_ID",
                Control(wire::frame(wire::MAX_PUSH_ID, &[0])),
                V::FrameUnexpected,
            ),
            (
                "CANCEL_PUSH",
                Control(wire::frame(wire::CANCEL_PUSH, &[0])),
                V::PushId,
            ),
            (
                "DATA",
                Control(wire::frame(wire::DATA, b"x")),
                V::FrameUnexpected,
            ),
            (
                "HEADERS",
                Control(wire::response("200")),
                V::FrameUnexpected,
            ),
            (
                "PRIORITY of HTTP/2",
                Control(wire::frame(2, b"x")),
                V::FrameUnexpected,
            ),
            (
                "WT_STREAM",
                Control(wire::stream(wire::WT_BIDI, 0, b"")),
                V::WtStreamMisplaced,
            ),
        ])
        .await;
}

#[tokio::test]
async fn streams_of_a_server_that_may_not_be() {
    use ProtocolViolation as V;
    let mut attacks = vec![
        ("hello, a push stream", Uni(vec![1, 0]), V::PushId),
        (
            "a request",
            Bidi(wire::connect("/")),
            V::UnexpectedServerStream,
        ),
        (
            "an unknown frame",
            Bidi(wire::frame(0x21, b"x")),
            V::UnexpectedServerStream,
        ),
    ];
    for id in [1, 2, 3, (1 << 62) - 1] {
        attacks.push((
            "hello, an impossible id",
            Uni(wire::stream(wire::WT_UNI, id, b"x")),
            V::InvalidSessionId,
        ));
        attacks.push((
            "an impossible id",
            Bidi(wire::stream(wire::WT_BIDI, id, b"x")),
            V::InvalidSessionId,
        ));
    }
    let scene = Scene::new().await;
    scene.assert_closed(attacks).await;
    for bytes in [vec![], vec![0x40], wire::varint(1 << 60)] {
        let (raw, _request, connecting) = scene.asked().await;
        raw.datagram(bytes).await;
        assert_eq!(raw.closed().await, ErrorCode::H3_DATAGRAM_ERROR.get());
        assert!(connecting.await.unwrap().is_err());
    }
    scene.assert_unharmed().await;
}

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

#[tokio::test]
async fn grease_from_a_server() {
    let scene = Scene::new().await;
    let (raw, connecting) = scene.silent().await;
    let grease = wire::frame(0x1f * 1000 + 0x21, &[0xff; 300]);
    let settings = [&[(0x21, 7)], wire::SERVER_SETTINGS].concat();
    raw.keep_uni(&[vec![0], wire::settings(&settings), grease.clone()].concat())
        .await;
    let unknown = raw.uni(&wire::varints(&[0x1f * 7 + 0x21, 1])).await;
    assert_eq!(
        stopped(&unknown).await,
        ErrorCode::H3_STREAM_CREATION_ERROR.get()
    );
    let mut request = raw.request().await;
    let head = wire::headers(&[(":status", "200"), ("x-grease", "1")]);
    let interim = wire::response("103");
    request
        .write(&[grease.clone(), interim, grease.clone(), head, grease].concat())
        .await;
    request
        .write(&wire::capsule(0x1f * 99 + 0x21, &[0xff; 3000]))
        .await;
    let near = connecting.await.unwrap().unwrap();
    echo_by_hand(&raw, &near).await;
    request.write(&wire::close(3, b"bye")).await;
    let end = within("the end", near.closed()).await;
    assert_eq!((end.code(), end.reason()), (Some(3), "bye"));
    scene.assert_unharmed().await;
}

/// A client of its own process, whose memory can be measured.
struct Measured {
    client: Target,
    raw: Raw,
    control: quinn::SendStream,
    sessions: Vec<raw::Session>,
    _server: RawServer,
}

impl Measured {
    async fn new() -> Self {
        let server = RawServer::start();
        let client = Target::start(TARGET, &[&format!("connect={}", server.port)]);
        let raw = server.accept().await;
        let control = raw
            .uni(&[vec![0], wire::settings(wire::SERVER_SETTINGS)].concat())
            .await;
        let sessions = vec![raw.accept_session().await, raw.accept_session().await];
        Self {
            client,
            raw,
            control,
            sessions,
            _server: server,
        }
    }

    /// Asserts that both sessions echo, and that the client did not grow beyond `mib` MiB.
    async fn assert_unharmed(&mut self, mib: u64) {
        for session in &self.sessions {
            self.raw.echo(session.id, b"still here").await;
        }
        self.client
            .until(raw::WAIT, |facts| facts.sessions == 2)
            .await;
        self.client.assert_grown_at_most(mib);
    }
}

#[tokio::test]
async fn a_client_under_megabytes_without_meaning() {
    let mut scene = Measured::new().await;
    let megabyte = megabyte();
    within_time(LONG, "the megabytes", async {
        scene
            .control
            .write_all(&wire::head(0x21, 100 << 20))
            .await
            .unwrap();
        let connect = &mut scene.sessions[0].send;
        connect
            .write_all(&wire::head(0x21, 100 << 20))
            .await
            .unwrap();
        for _ in 0..100 {
            scene.control.write_chunk(megabyte.clone()).await.unwrap();
            connect.write_chunk(megabyte.clone()).await.unwrap();
        }
        let capsule = wire::frame(wire::DATA, &wire::head(0x21, 1 << 30));
        connect.write_all(&capsule).await.unwrap();
        for _ in 0..100 {
            connect
                .write_all(&wire::head(wire::DATA, 1 << 20))
                .await
                .unwrap();
            connect.write_chunk(megabyte.clone()).await.unwrap();
        }
    })
    .await;
    scene.assert_unharmed(24).await;
}

#[tokio::test]
async fn a_client_under_streams_and_datagrams() {
    let mut scene = Measured::new().await;
    let id = scene.sessions[0].id;
    let code = quinn::VarInt::from_u32(7);
    within_time(LONG, "the storm", async {
        for n in 0..10_000_u64 {
            match n % 4 {
                0 => drop(
                    scene
                        .raw
                        .uni(&wire::stream(wire::WT_UNI, id, b"x"))
                        .await
                        .reset(code),
                ),
                1 => {
                    let bytes = wire::stream(wire::WT_BIDI, 4000, b"x");
                    let (mut send, mut recv) = scene.raw.bi(&bytes).await;
                    let _ = (send.reset(code), recv.stop(code));
                }
                2 => drop(scene.raw.uni(&[0x40]).await.reset(code)),
                _ => drop(scene.raw.uni(&wire::varints(&[0x21, n])).await.finish()),
            }
            let session = [id, 4000][n as usize % 2];
            scene
                .raw
                .datagram(wire::datagram(session, &[0; 1000]))
                .await;
        }
    })
    .await;
    scene.assert_unharmed(24).await;
}

#[tokio::test]
async fn the_time_to_connect_covers_settings_that_never_come() {
    let mut config = config();
    config.limits.settings_timeout = LONG;
    let client = Client::new(config).unwrap();
    let server = RawServer::start();
    let limit = Duration::from_secs(2);
    let connect = client.connect(server.url.as_str()).timeout(limit);
    let connecting = tokio::spawn(connect.into_future());
    // The connection is there, and nothing is said on it.
    let _raw = server.accept().await;
    let error = within_time(LONG, "the end of the time", connecting).await;
    let error = error.unwrap().unwrap_err();
    assert!(
        matches!(error, ConnectError::TimedOut(after) if after == limit),
        "{error}"
    );
}
