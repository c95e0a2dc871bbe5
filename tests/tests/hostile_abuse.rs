//! Peers that break no rule, or always the same one, to make the server hold or do too much.
//!
//! Each case states how much the server may grow meanwhile, in resident memory of its process at the highest point.
//! The bystander on another connection still echoes, and where one connection carries the abuse and a session beside it,
//! that session does too.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use quinn::VarInt;
use tokio::net::UdpSocket;
use wt::ErrorCode;
use wt_tests::{
    proxy::{Faults, Proxy},
    raw::{self, End, Raw, Session, ended, megabyte, stopped, wire, within, within_time},
    target::{Bystander, Target},
};

/// A test has to be over in this time.
const LONG: Duration = Duration::from_secs(60);

async fn scene(args: &[&str]) -> (Target, Bystander) {
    let target = Target::start(env!("CARGO_BIN_EXE_hostile-target"), args);
    let bystander = target.client().await;
    (target, bystander)
}

/// A connection with a session on it that echoes.
async fn beside(target: &Target) -> (Raw, u64) {
    let raw = target.hello().await;
    let session = raw.session("/echo").await;
    let id = session.id;
    raw.keep(session);
    (raw, id)
}

async fn write_megabytes(send: &mut quinn::SendStream, count: usize) {
    let megabyte = megabyte();
    within_time(LONG, "writing", async {
        for _ in 0..count {
            send.write_chunk(megabyte.clone()).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_frame_of_100_mb_on_the_control_stream() {
    let (target, bystander) = scene(&[]).await;
    let raw = target.raw().await;
    let mut control = raw
        .uni(&[vec![0], wire::settings(wire::CLIENT_SETTINGS)].concat())
        .await;
    let session = raw.session("/echo").await;
    control
        .write_all(&wire::head(0x21, 100 << 20))
        .await
        .unwrap();
    write_megabytes(&mut control, 100).await;
    // It is read on behind the frame.
    raw.echo(session.id, b"beside").await;
    control.write_all(&wire::settings(&[])).await.unwrap();
    assert_eq!(raw.closed().await, ErrorCode::H3_FRAME_UNEXPECTED.get());
    bystander.is_served().await;
    target.assert_grown_at_most(16);
}

#[tokio::test]
async fn a_frame_of_100_mb_before_and_within_a_session() {
    let (target, bystander) = scene(&["header-timeout=30000"]).await;
    let (raw, beside) = beside(&target).await;
    let (mut send, recv) = raw.bi(&wire::head(0x21, 100 << 20)).await;
    write_megabytes(&mut send, 100).await;
    send.write_all(&wire::connect("/echo")).await.unwrap();
    let mut frames = raw::Frames::new(recv);
    assert_eq!(frames.status().await, 200);
    send.write_all(&wire::head(0x21, 100 << 20)).await.unwrap();
    write_megabytes(&mut send, 100).await;
    raw.echo(u64::from(send.id()), b"behind it").await;
    raw.echo(beside, b"beside").await;
    bystander.is_served().await;
    target.assert_grown_at_most(16);
}

#[tokio::test]
async fn a_capsule_of_a_gigabyte() {
    let (target, bystander) = scene(&[]).await;
    let (raw, beside) = beside(&target).await;
    let mut session = raw.session("/echo").await;
    let capsule = wire::head(0x21, 1 << 30);
    let frame = wire::head(wire::DATA, (1 << 30) + capsule.len() as u64);
    session.write(&[frame, capsule].concat()).await;
    write_megabytes(&mut session.send, 128).await;
    raw.echo(session.id, b"meanwhile").await;
    raw.echo(beside, b"beside").await;
    // The same in one DATA frame for each megabyte.
    let mut other = raw.session("/echo").await;
    other
        .write(&wire::frame(wire::DATA, &wire::head(0x21, 1 << 30)))
        .await;
    for _ in 0..64 {
        other.write(&wire::head(wire::DATA, 1 << 20)).await;
        write_megabytes(&mut other.send, 1).await;
    }
    raw.echo(other.id, b"meanwhile").await;
    bystander.is_served().await;
    target.assert_grown_at_most(16);
}

#[tokio::test]
async fn megabytes_behind_a_refusal() {
    let (target, bystander) = scene(&[]).await;
    let (raw, beside) = beside(&target).await;
    let mut request = raw.session_refused().await;
    // It is not read any more, and said so.
    let megabyte = megabyte();
    let mut written = 0;
    while written < 100 && request.send.write_all(&megabyte).await.is_ok() {
        written += 1;
    }
    assert!(written < 100, "all of it was taken");
    assert_eq!(stopped(&request.send).await, ErrorCode::H3_NO_ERROR.get());
    raw.echo(beside, b"beside").await;
    bystander.is_served().await;
    target.assert_grown_at_most(16);
}

trait Refused {
    async fn session_refused(&self) -> Session;
}

impl Refused for Raw {
    async fn session_refused(&self) -> Session {
        let (session, status) = self.try_session(&wire::connect("/missing")).await;
        assert_eq!(status, 404);
        session
    }
}

#[tokio::test]
async fn floods_of_small_frames_and_capsules() {
    let (target, bystander) = scene(&[]).await;
    let raw = target.raw().await;
    let mut control = raw
        .uni(&[vec![0], wire::settings(wire::CLIENT_SETTINGS)].concat())
        .await;
    let mut session = raw.session("/echo").await;
    let goaway = wire::frame(wire::GOAWAY, &[0]).repeat(1000);
    let grease = wire::frame(0x21, &[]).repeat(1000);
    let drain = wire::capsule(wire::DRAIN, &[]).repeat(1000);
    let unknown = wire::capsule(0x21, &[]).repeat(1000);
    let blocked = wire::capsule(wire::STREAMS_BLOCKED_UNI, &[1]).repeat(1000);
    within_time(LONG, "the floods", async {
        for n in 0..50_u64 {
            for frames in [&goaway, &grease] {
                control.write_all(frames).await.unwrap();
            }
            for capsules in [&drain, &unknown, &blocked] {
                session.send.write_all(capsules).await.unwrap();
            }
            // A limit for each of 1000 bytes more.
            let rising = (1..1000).map(|m| (1 << 24) + n * 1000 + m);
            let rising = rising.flat_map(|m| wire::capsule(wire::MAX_DATA, &wire::varint(m)));
            session
                .send
                .write_all(&rising.collect::<Vec<_>>())
                .await
                .unwrap();
        }
    })
    .await;
    raw.echo(session.id, b"after all").await;
    bystander.is_served().await;
    target.assert_grown_at_most(16);
}

#[tokio::test]
async fn thousands_of_connects_that_nobody_answers() {
    let (target, bystander) = scene(&["sessions=64"]).await;
    let (raw, beside) = beside(&target).await;
    let rejected = ErrorCode::H3_REQUEST_REJECTED.get();
    for _ in 0..63 {
        raw.keep_bi(&wire::connect("/hold")).await;
    }
    // Whatever the order they came in, these have arrived.
    raw.echo(beside, b"beside").await;
    for _ in 0..3000 {
        let (_, mut recv) = raw.bi(&wire::connect("/hold")).await;
        assert_eq!(ended(&mut recv).await, End::Reset(rejected));
    }
    raw.echo(beside, b"beside").await;
    bystander.is_served().await;
    target.assert_grown_at_most(16);
}

#[tokio::test]
async fn connects_on_many_connections() {
    let (target, bystander) = scene(&[]).await;
    let mut peers = Vec::new();
    for _ in 0..40 {
        let raw = target.hello().await;
        for _ in 0..60 {
            raw.keep_bi(&wire::connect("/hold")).await;
        }
        peers.push(raw);
    }
    bystander.is_served().await;
    target.assert_grown_at_most(48);
}

/// Opens streams and writes `bytes` on each until no more are allowed, and returns how many.
async fn fill(raw: &Raw, bytes: &[u8], bidi: bool) -> usize {
    let pause = Duration::from_millis(200);
    for n in 0.. {
        let opened = async {
            if bidi {
                raw.keep_bi(bytes).await;
            } else {
                raw.keep_uni(bytes).await;
            }
        };
        if tokio::time::timeout(pause, opened).await.is_err() {
            return n;
        }
    }
    unreachable!()
}

#[tokio::test]
async fn thousands_of_half_open_streams() {
    let (target, bystander) = scene(&["header-timeout=60000", "settings-timeout=60000"]).await;
    let connect = wire::connect("/echo");
    let mut peers = Vec::new();
    let mut opened = 0;
    for (bytes, bidi) in [
        (&[0x40][..], false),
        (&[0x40, 0x54, 0x80], false),
        (&[0x40][..], true),
        (&[0x40, 0x41, 0x80], true),
        (&connect[..30], true),
        (&[0x21, 0x40][..], true),
    ] {
        for _ in 0..5 {
            let raw = target.hello().await;
            opened += fill(&raw, bytes, bidi).await;
            assert!(raw.quic.close_reason().is_none());
            peers.push(raw);
        }
    }
    eprintln!("{opened} streams are half open");
    assert!(opened >= 3000, "only {opened}");
    bystander.is_served().await;
    target.assert_grown_at_most(64);
    // Those who send heads of nearly the allowed size, and not the last byte.
    let head = wire::headers(
        &[
            &wire::connect_fields("/")[..],
            &[("x", &"x".repeat(16_000))],
        ]
        .concat(),
    );
    let raw = target.hello().await;
    let opened = fill(&raw, &head[..head.len() - 1], true).await;
    eprintln!("{opened} heads wait");
    bystander.is_served().await;
    target.assert_grown_at_most(96);
}

#[tokio::test]
async fn half_open_streams_do_not_stay() {
    let (mut target, bystander) = scene(&["header-timeout=300"]).await;
    let (raw, beside) = beside(&target).await;
    // QUIC's credit comes back as streams are ended, so this goes on as long as one likes.
    for round in 0..500 {
        let (send, mut recv) = raw.bi(&[0x40]).await;
        raw.keep(send);
        if round == 499 {
            let rejected = ErrorCode::WT_BUFFERED_STREAM_REJECTED.get();
            assert_eq!(ended(&mut recv).await, End::Reset(rejected));
        }
        raw.keep(recv);
    }
    raw.echo(beside, b"beside").await;
    bystander.is_served().await;
    target.until(raw::WAIT, |facts| facts.sessions == 2).await;
    target.assert_grown_at_most(16);
}

/// Returns the first packet of a client, as it leaves.
async fn first_packet(endpoint: &quinn::Endpoint, trap: &UdpSocket) -> Vec<u8> {
    let address = trap.local_addr().unwrap();
    let connecting = endpoint.connect(address, "localhost").unwrap();
    let mut packet = vec![0; 2000];
    let (len, _) = within("the first packet", trap.recv_from(&mut packet))
        .await
        .unwrap();
    packet.truncate(len);
    drop(connecting);
    packet
}

#[tokio::test]
async fn handshakes_that_wait_keep_little() {
    const CLIENTS: usize = 200;
    let args = ["handshakes=1", "incoming-buffer=262144", "idle=60000"];
    let (target, bystander) = scene(&args).await;
    let endpoint = raw::client_endpoint(raw::transport());
    let mut attackers = Vec::new();
    for _ in 0..CLIENTS {
        let trap = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let packet = first_packet(&endpoint, &trap).await;
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(("127.0.0.1", target.port)).await.unwrap();
        attackers.push((socket, packet));
    }
    // The first is the one handshake that is worked on, and never goes on. The others wait, and what they send
    // meanwhile is kept for them, each a little less than would be kept for it alone: 13 MB.
    for some in attackers.chunks(20) {
        for (socket, packet) in some {
            for _ in 0..64_000 / packet.len() {
                socket.send(packet).await.unwrap();
            }
        }
        // On the same socket, so that the server has read what came before.
        bystander.echo().await;
    }
    target.assert_grown_at_most(8);
}

#[tokio::test]
async fn resets_in_a_storm() {
    let (target, bystander) = scene(&[]).await;
    let (raw, beside) = beside(&target).await;
    let session = raw.session("/echo").await;
    let uni = wire::stream(wire::WT_UNI, session.id, &[0; 1000]);
    let bidi = wire::stream(wire::WT_BIDI, session.id, &[0; 1000]);
    let code = VarInt::from_u32(7);
    within_time(LONG, "the storm", async {
        for n in 0..10_000 {
            match n % 4 {
                // Reset at once, so that the header may never arrive.
                0 => drop(raw.uni(&uni).await.reset(code)),
                1 => {
                    let (mut send, mut recv) = raw.bi(&bidi).await;
                    let _ = (send.reset(code), recv.stop(code));
                }
                2 => {
                    let (mut send, mut recv) = raw.bi(&wire::connect("/echo")).await;
                    let _ = (send.reset(code), recv.stop(code));
                }
                _ => {
                    // After it was taken.
                    let (mut send, mut recv) = raw.bi(&bidi).await;
                    recv.read_chunk(1, true).await.unwrap();
                    let _ = (send.reset(code), recv.stop(code));
                }
            }
        }
    })
    .await;
    raw.echo(beside, b"beside").await;
    raw.echo(session.id, b"the one in the storm").await;
    bystander.is_served().await;
    target.assert_grown_at_most(24);
}

#[tokio::test]
async fn streams_reset_before_their_header_cost_the_session_nothing() {
    let (target, bystander) = scene(&["max-streams-uni=50", "max-streams-bidi=50"]).await;
    // A peer that keeps the rules, and resets streams in time to take their headers with them.
    let raw = target.hello().await;
    let mut session = raw.session("/echo").await;
    let mut limit = 50;
    for n in 1..=300 {
        while n > limit {
            let value = session.capsule(wire::MAX_STREAMS_UNI).await.unwrap();
            limit = wire::read_varint(&mut &value[..]).unwrap();
        }
        let mut send = raw.uni(&wire::stream(wire::WT_UNI, session.id, b"x")).await;
        let _ = send.reset(VarInt::from_u32(7));
        tokio::task::yield_now().await;
    }
    bystander.is_served().await;
    target.assert_grown_at_most(16);
}

/// Waits until a stream came that is none of the three of HTTP/3.
async fn assert_flooded(raw: &Raw) {
    for _ in 0..4 {
        raw.keep(within("a stream", raw.quic.accept_uni()).await.unwrap());
    }
}

#[tokio::test]
async fn readers_that_stall() {
    let (target, bystander) = scene(&[]).await;
    let mut peers = Vec::new();
    for _ in 0..4 {
        let raw = target.hello().await;
        let session = raw.session("/flood").await;
        raw.datagram(wire::datagram(session.id, b"go")).await;
        raw.keep(session);
        // It takes everything off the wire, and nothing out of the streams.
        assert_flooded(&raw).await;
        peers.push(raw);
    }
    bystander.is_served().await;
    target.assert_grown_at_most(64);
}

#[tokio::test]
async fn readers_that_stop_to_acknowledge() {
    let (mut target, bystander) = scene(&["idle=10000"]).await;
    let before = target.facts().memory;
    let proxy = Proxy::start(target.port, Faults::default(), 1).await;
    let mut peers = Vec::new();
    for _ in 0..4 {
        // It grants all there is, so that only the server's own limits hold.
        let mut transport = raw::transport();
        transport.stream_receive_window(VarInt::MAX);
        let raw = Raw::client_with(proxy.port, transport).await;
        let mut settings = wire::CLIENT_SETTINGS.to_vec();
        settings[2].1 = 1 << 40;
        raw.settings(&settings).await;
        let session = raw.session("/flood").await;
        peers.push((raw, session));
    }
    for (raw, session) in &peers {
        raw.datagram(wire::datagram(session.id, b"go")).await;
        assert_flooded(raw).await;
    }
    proxy.cut(true);
    // The applications go on writing until their connections take no more.
    target
        .until(raw::WAIT, |facts| facts.memory > before + (16 << 20))
        .await;
    for _ in 0..20 {
        bystander.is_served().await;
    }
    // 10 MB are the most that a connection keeps for its peer, and each stream of it has written once.
    target.assert_grown_at_most(4 * 10 + 40);
}

#[tokio::test]
async fn applications_that_do_not_read() {
    let (target, bystander) = scene(&[]).await;
    let (raw, beside) = beside(&target).await;
    for _ in 0..3 {
        let session = raw.session("/hoard").await;
        // 4 MiB are all that a session may send ahead.
        for _ in 0..32 {
            let body = vec![0; 128 << 10];
            raw.keep_uni(&wire::stream(wire::WT_UNI, session.id, &body))
                .await;
        }
        raw.keep(session);
    }
    // 12 of the connection's 16 MiB are taken, and the session beside does not notice.
    raw.echo(beside, &vec![1; 100_000]).await;
    bystander.is_served().await;
    target.assert_grown_at_most(48);
}

#[tokio::test]
async fn connection_windows_that_are_full() {
    let (target, bystander) = scene(&[]).await;
    let mut peers = Vec::new();
    for _ in 0..3 {
        // Without flow control of sessions: the connection's window is the limit.
        let raw = target.raw().await;
        raw.settings(&[(0x33, 1), (0x2c7c_f000, 1)]).await;
        let session = raw.session("/hoard").await;
        let body = vec![0; 1 << 20];
        let filled = async {
            loop {
                raw.keep_uni(&wire::stream(wire::WT_UNI, session.id, &body))
                    .await;
            }
        };
        assert!(
            tokio::time::timeout(Duration::from_secs(2), filled)
                .await
                .is_err()
        );
        raw.keep(session);
        peers.push(raw);
    }
    bystander.is_served().await;
    // Three times 16 MiB, and what QUIC needs to keep them.
    target.assert_grown_at_most(3 * 16 + 48);
}

#[tokio::test]
async fn datagrams_that_nobody_takes() {
    let (target, bystander) = scene(&[]).await;
    let (raw, beside) = beside(&target).await;
    let session = raw.session("/stall").await;
    within_time(LONG, "datagrams", async {
        for n in 0..50_000_u64 {
            // To the session, and to two that may come.
            let id = [session.id, session.id + 4, session.id + 40][n as usize % 3];
            raw.datagram(wire::datagram(id, &[0; 1000])).await;
        }
    })
    .await;
    raw.echo(beside, b"beside").await;
    bystander.is_served().await;
    target.assert_grown_at_most(32);
}

#[tokio::test]
async fn connections_that_say_nothing() {
    let (mut target, bystander) = scene(&["settings-timeout=1500"]).await;
    let endpoint = raw::client_endpoint(raw::transport());
    let mut peers = Vec::new();
    for _ in 0..300 {
        peers.push(raw::connect(&endpoint, target.port).await);
    }
    bystander.is_served().await;
    target.assert_grown_at_most(64);
    // Each is closed when its SETTINGS are overdue.
    for peer in &peers {
        let error = within("CONNECTION_CLOSE", peer.closed()).await;
        let quinn::ConnectionError::ApplicationClosed(close) = error else {
            panic!("{error}")
        };
        assert_eq!(
            close.error_code.into_inner(),
            ErrorCode::H3_MISSING_SETTINGS.get()
        );
    }
    target
        .until(raw::WAIT, |facts| facts.connections == 1)
        .await;
    bystander.is_served().await;
}

#[tokio::test]
async fn more_connections_than_allowed() {
    let (mut target, bystander) = scene(&["connections=10"]).await;
    let mut peers = Vec::new();
    for _ in 0..9 {
        peers.push(beside(&target).await);
    }
    let endpoint = raw::client_endpoint(raw::transport());
    for _ in 0..50 {
        let connecting = endpoint
            .connect(([127, 0, 0, 1], target.port).into(), "localhost")
            .unwrap();
        let refused = within("the refusal", connecting).await;
        assert!(refused.is_err(), "an eleventh connection");
    }
    for (raw, id) in &peers {
        raw.echo(*id, b"within the limit").await;
    }
    bystander.echo().await;
    // One that goes makes room.
    let (raw, _) = peers.pop().unwrap();
    raw.quic.close(0_u32.into(), b"");
    target
        .until(raw::WAIT, |facts| facts.connections == 9)
        .await;
    peers.push(beside(&target).await);
    target.assert_grown_at_most(16);
}
