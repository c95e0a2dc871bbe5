//! SETTINGS: missing, late, twice, with values that cannot be, and more than a client needs.

use wt::ErrorCode;
use wt_tests::raw::{
    Attack::{Control, Uni},
    End, Raw, ended, stopped, wire,
};

use crate::{assert_closed, assert_unharmed, scene};

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
