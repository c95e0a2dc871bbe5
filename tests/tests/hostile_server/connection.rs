//! What concerns the whole connection: SETTINGS, control frames, streams that may not be, and GREASE.

use std::time::Duration;

use wt::{
    Client, ErrorCode, client::ConnectError, core::ConnectError as Core, proto::ProtocolViolation,
};
use wt_tests::raw::{
    Attack::{Bidi, Control, Uni, UniFin, UniReset},
    RawServer, stopped, wire, within, within_time,
};

use crate::{LONG, Scene, config, echo_by_hand};

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
