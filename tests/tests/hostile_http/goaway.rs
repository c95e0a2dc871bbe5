//! GOAWAY: one that takes back what it said, and those of ours before the end of a connection.

use std::future::IntoFuture;

use wt::{Client, ClientConfig, ErrorCode, ServerVerification, proto::coding::is_grease};
use wt_tests::raw::{Attack::Control, End, Frames, Raw, RawServer, wire, within};

use crate::{assert_closed, assert_unharmed, scene};

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
