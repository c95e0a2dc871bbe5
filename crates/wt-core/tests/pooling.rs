//! Several sessions on one connection, and the flow control that keeps them apart.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod common;

use bytes::Bytes;
use common::{
    Pair, configs, eventually, pair, pair_with, pattern,
    raw::{self, Next, RawClient},
    recv, send, within,
};
use wt_core::{
    Dialect, ErrorCode, ProtocolViolation, Session, SessionError,
    config::{ServerConfig, StreamCredit},
    tls::Identity,
};
use wt_proto::{Dir, VarInt, capsule::Capsule};

const MIB: usize = 1 << 20;

/// Sends `len` bytes on `streams` streams, and checks that they arrive.
async fn transfer(from: &Session, to: &Session, streams: usize, len: usize) {
    let part = pattern(len / streams);
    let sending = async {
        for _ in 0..streams {
            let mut tx = within(from.open_uni()).await.unwrap();
            send(&mut tx, part.clone()).await;
        }
    };
    let receiving = async {
        for _ in 0..streams {
            let mut rx = within(to.accept_uni()).await.unwrap();
            assert!(recv(&mut rx).await.unwrap() == part);
        }
    };
    tokio::join!(sending, receiving);
}

/// Fills a session to its window with streams that the other side accepts and never reads.
///
/// Returns all that has to stay alive meanwhile.
async fn stall(from: &Session, to: &Session) -> impl Sized + use<> {
    let mut writers = tokio::task::JoinSet::new();
    let mut unread = Vec::new();
    for _ in 0..32 {
        let mut tx = within(from.open_uni()).await.unwrap();
        tx.flush().await.unwrap();
        // In sum more than any window here.
        writers.spawn(async move {
            tx.write_chunk(pattern(MIB)).await.unwrap();
            tx
        });
        unread.push(within(to.accept_uni()).await.unwrap());
    }
    let session = from.clone();
    eventually(move || session.stats().send_credit == Some(0)).await;
    (writers, unread)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_8_sessions_on_one_connection_one_is_stalled_by_its_reader_and_7_finish() {
    let pair = pair().await;
    let (servers, clients) = pair.sessions(8).await;
    assert_eq!(pair.server.session_count(), 8);
    for session in &clients {
        assert_eq!(session.dialect(), Dialect::Draft15);
        assert!(session.stats().send_credit.is_some(), "no flow control");
    }
    let _stalled = stall(&clients[0], &servers[0]).await;
    let transfers = (1..8).map(|n| {
        let (server, client) = (servers[n].clone(), clients[n].clone());
        tokio::spawn(async move { transfer(&client, &server, 4, 8 * MIB).await })
    });
    for transfer in transfers.collect::<Vec<_>>() {
        within(transfer).await.unwrap();
    }
    assert_eq!(clients[0].stats().send_credit, Some(0));
    assert_eq!(clients[0].close_reason(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_stalled_beyond_the_window_of_the_connection_leave_the_others_alone() {
    let (mut server, client) = configs();
    server.session.max_data = 4 << 20;
    server.transport.receive_window = 8 << 20;
    let pair = pair_with(&server, &client).await;
    let (servers, clients) = pair.sessions(4).await;
    let mut stalled = Vec::new();
    for n in 0..3 {
        // A window that has grown is the hardest case.
        transfer(&clients[n], &servers[n], 1, 16 * MIB).await;
        stalled.push(stall(&clients[n], &servers[n]).await);
    }
    transfer(&clients[3], &servers[3], 4, 16 * MIB).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reading_peer_never_stalls() {
    let (mut server, mut client) = configs();
    server.session.max_data = 1 << 20;
    client.session.max_data = 1 << 20;
    let pair = pair_with(&server, &client).await;
    let (server, client) = pair.session().await;
    tokio::join!(
        transfer(&client, &server, 1, 64 * MIB),
        transfer(&server, &client, 16, 64 * MIB),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_end_in_the_middle_cost_no_credit_for_good() {
    let (mut server, client) = configs();
    server.session.max_data = 1 << 20;
    let pair = pair_with(&server, &client).await;
    let (server, client) = pair.session().await;
    let reader = server.clone();
    let reading = tokio::spawn(async move {
        for n in 0_u32.. {
            let Ok(mut rx) = reader.accept_uni().await else {
                break;
            };
            match n % 3 {
                // Never read, ended by whoever is first.
                0 => drop(rx),
                1 => {
                    let _ = rx.read_chunk(1000).await;
                    rx.stop(1);
                }
                _ => while let Ok(Some(_)) = rx.read_chunk(usize::MAX).await {},
            }
        }
    });
    for n in 0..400_u32 {
        let mut tx = within(client.open_uni()).await.unwrap();
        // In sum 100 times the window.
        let len = [1, 100_000, 700_000][n as usize % 3];
        // The reader may stop it.
        let _ = within(tx.write_chunk(pattern(len))).await;
        tx.reset(n);
    }
    assert_eq!(client.close_reason(), None);
    // The whole window can be had again and again.
    for _ in 0..4 {
        let mut tx = within(client.open_uni()).await.unwrap();
        let _ = within(tx.write_chunk(pattern(MIB))).await;
    }
    client.close(0, "");
    within(reading).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_short_streams_in_a_row() {
    let (mut server, client) = configs();
    server.session.max_streams_bidi = 100;
    let pair = pair_with(&server, &client).await;
    let (server, client) = pair.session().await;
    common::echo(server.clone());
    for n in 0..5000_u32 {
        let (mut tx, mut rx) = within(client.open_bi()).await.unwrap().split();
        let sent = Bytes::copy_from_slice(&n.to_be_bytes());
        send(&mut tx, sent.clone()).await;
        assert_eq!(recv(&mut rx).await, Ok(sent));
    }
    assert_eq!(server.stats().streams_accepted, 5000);
    eventually(|| server.stats().streams_active == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_streams_at_once_through_a_session_limit_of_100() {
    let (mut server, client) = configs();
    server.session.max_streams_bidi = 100;
    let pair = pair_with(&server, &client).await;
    let (server, client) = pair.session().await;
    common::echo(server);
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..1000_u32 {
        let client = client.clone();
        tasks.spawn(async move {
            let (mut tx, mut rx) = within(client.open_bi()).await.unwrap().split();
            let sent = Bytes::from(n.to_be_bytes().repeat(500));
            send(&mut tx, sent.clone()).await;
            assert_eq!(recv(&mut rx).await, Ok(sent));
        });
    }
    while let Some(done) = within(tasks.join_next()).await {
        done.unwrap();
    }
    assert_eq!(client.stats().streams_opened, 1000);
}

#[tokio::test]
async fn quic_allows_more_streams_as_they_are_used() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let mut held = Vec::new();
    for _ in 0..500 {
        let mut tx = within(client.open_uni()).await.unwrap();
        tx.flush().await.unwrap();
        let rx = within(server.accept_uni()).await.unwrap();
        held.push((tx, rx));
        let mut stream = within(client.open_bi()).await.unwrap();
        stream.send.flush().await.unwrap();
        let accepted = within(server.accept_bi()).await.unwrap();
        held.push((stream.send, accepted.recv));
    }
    assert_eq!(client.stats().streams_active, 1000);
}

// ---- a peer that breaks the rules

struct Raw {
    server: wt_core::Connection,
    client: RawClient,
    _endpoint: wt_core::Endpoint,
}

/// A connection of a hand-made client to a server with these limits.
async fn raw(configure: impl FnOnce(&mut ServerConfig)) -> Raw {
    raw_over(raw::transport(), configure).await
}

async fn raw_over(
    transport: quinn::TransportConfig,
    configure: impl FnOnce(&mut ServerConfig),
) -> Raw {
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let mut config = ServerConfig::new(identity.clone()).with_bind(([127, 0, 0, 1], 0).into());
    config.session.max_data = 1 << 20;
    config.session.max_streams_bidi = 10;
    config.session.max_streams_uni = 10;
    configure(&mut config);
    let endpoint = wt_core::Endpoint::server(&config).unwrap();
    let address = endpoint.local_addr().unwrap();
    let settings = raw::settings();
    let (server, client) = tokio::join!(
        async {
            let incoming = within(endpoint.accept()).await.unwrap();
            incoming.accept().await.unwrap()
        },
        RawClient::connect_with(address, &identity, &settings, transport),
    );
    Raw {
        server,
        client,
        _endpoint: endpoint,
    }
}

impl Raw {
    /// Opens a session; the server's end comes first.
    async fn session(&self) -> (Session, raw::RawSession) {
        tokio::join!(
            async {
                let request = within(self.server.accept_session()).await.unwrap();
                request.accept().await.unwrap()
            },
            self.client.session(),
        )
    }

    /// Checks that a session works in both directions.
    async fn check(&self, (server, client): &(Session, raw::RawSession)) {
        let mut tx = self.client.open_uni(client).await;
        raw::write(&mut tx, Bytes::from_static(b"alive")).await;
        let mut rx = within(server.accept_uni()).await.unwrap();
        assert_eq!(&recv(&mut rx).await.unwrap()[..], b"alive");
    }
}

async fn ended_for(session: &Session, violation: ProtocolViolation) {
    assert_eq!(
        within(session.closed()).await,
        SessionError::Violation(violation)
    );
    assert_eq!(violation.code(), ErrorCode::WT_FLOW_CONTROL_ERROR);
}

#[tokio::test]
async fn a_session_over_its_stream_credit_is_ended_and_the_others_live() {
    for dir in [Dir::Bi, Dir::Uni] {
        let raw = raw(|_| {}).await;
        let (server, mut client) = raw.session().await;
        let other = raw.session().await;
        let mut streams = Vec::new();
        for _ in 0..11 {
            streams.push(match dir {
                Dir::Bi => {
                    let (tx, rx) = raw.client.open_bi(&client).await;
                    (tx, Some(rx))
                }
                Dir::Uni => (raw.client.open_uni(&client).await, None),
            });
        }
        ended_for(&server, ProtocolViolation::StreamLimitExceeded).await;
        let end = client.end().await;
        assert_eq!(end, Next::Reset(ErrorCode::WT_FLOW_CONTROL_ERROR));
        for (tx, rx) in &mut streams {
            assert_eq!(raw::stop_code(tx).await, ErrorCode::WT_SESSION_GONE);
            if let Some(rx) = rx {
                assert_eq!(raw::reset_code(rx).await, ErrorCode::WT_SESSION_GONE);
            }
        }
        raw.check(&other).await;
    }
}

#[tokio::test]
async fn a_session_over_its_data_credit_is_ended_while_nobody_reads() {
    let raw = raw(|_| {}).await;
    let (server, mut client) = raw.session().await;
    let other = raw.session().await;
    // Each stream stays below the limit, and the application accepts only one of them.
    let mut sent = Vec::new();
    for _ in 0..3 {
        let mut tx = raw.client.open_uni(&client).await;
        raw::write(&mut tx, pattern(600_000)).await;
        sent.push(tx);
    }
    let _unread = within(server.accept_uni()).await.unwrap();
    ended_for(&server, ProtocolViolation::DataLimitExceeded).await;
    let end = client.end().await;
    assert_eq!(end, Next::Reset(ErrorCode::WT_FLOW_CONTROL_ERROR));
    raw.check(&other).await;
}

#[tokio::test]
async fn a_session_over_its_data_credit_is_ended_while_the_application_reads() {
    let raw = raw(|_| {}).await;
    let (server, mut client) = raw.session().await;
    let other = raw.session().await;
    let mut first = raw.client.open_uni(&client).await;
    raw::write(&mut first, pattern(800_000)).await;
    let mut second = raw.client.open_uni(&client).await;
    raw::write(&mut second, pattern(800_000)).await;
    // All is there before the first byte is read, so that no credit comes between.
    raw::delivered(&first).await;
    raw::delivered(&second).await;
    let mut rx = within(server.accept_uni()).await.unwrap();
    // Half a window is read, and before more credit is granted, all that arrived is counted.
    while within(rx.read_chunk(usize::MAX))
        .await
        .is_ok_and(|c| c.is_some())
    {
        tokio::task::yield_now().await;
    }
    ended_for(&server, ProtocolViolation::DataLimitExceeded).await;
    let end = client.end().await;
    assert_eq!(end, Next::Reset(ErrorCode::WT_FLOW_CONTROL_ERROR));
    raw.check(&other).await;
}

#[tokio::test]
async fn a_session_within_its_credit_may_wait_unread() {
    // Exactly the limits, and longer than the server takes to look.
    let raw = raw(|_| {}).await;
    let session = raw.session().await;
    let (server, client) = &session;
    let mut streams = Vec::new();
    for _ in 0..10 {
        let mut tx = raw.client.open_uni(client).await;
        raw::write(&mut tx, pattern(MIB / 10)).await;
        streams.push(tx);
    }
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    assert_eq!(server.close_reason(), None);
    for _ in 0..10 {
        let mut rx = within(server.accept_uni()).await.unwrap();
        assert!(recv(&mut rx).await.unwrap() == pattern(MIB / 10));
    }
    raw.check(&session).await;
}

#[tokio::test]
async fn credit_for_streams_that_were_reset_is_no_way_to_fill_memory() {
    let window = 2 << 20;
    let raw = raw(|config| {
        config.session.max_streams_uni = 100;
        config.transport.receive_window = window;
        // What fills the window keeps the server from seeing that more streams are wanted.
        config.transport.streams_uni = StreamCredit::new(100, 1280);
    })
    .await;
    let (server, client) = raw.session().await;
    // Nobody knows how much each of them carried: the limit moves by what it may have been.
    for _ in 0..60 {
        let mut tx = raw.client.open_uni(&client).await;
        let rx = within(server.accept_uni()).await.unwrap();
        tx.reset(0_u32.into()).unwrap();
        drop(rx);
    }
    assert!(server.stats().recv_credit > Some(16 << 20));
    let mut writers = tokio::task::JoinSet::new();
    let written = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    for _ in 0..32 {
        let mut tx = raw.client.open_uni(&client).await;
        let written = written.clone();
        writers.spawn(async move {
            for _ in 0..64 {
                tx.write_all(&[0; 16 * 1024]).await.unwrap();
                written.fetch_add(16 * 1024, std::sync::atomic::Ordering::Relaxed);
            }
            tx
        });
    }
    // The server has looked at what nobody reads several times by then.
    tokio::time::sleep(std::time::Duration::from_millis(3500)).await;
    let written = written.load(std::sync::atomic::Ordering::Relaxed);
    assert!(written as u64 >= window, "{written}");
    assert!(written < 6 * MIB, "{written} bytes are kept");
    assert_eq!(server.close_reason(), None);
}

#[tokio::test]
async fn streams_that_were_read_move_the_limit_by_what_they_carried() {
    let raw = raw(|_| {}).await;
    let (server, client) = raw.session().await;
    for _ in 0..9 {
        let mut tx = raw.client.open_uni(&client).await;
        raw::write(&mut tx, pattern(1000)).await;
        raw::delivered(&tx).await;
        let mut rx = within(server.accept_uni()).await.unwrap();
        within(rx.read_exact(&mut [0; 1000])).await.unwrap();
        // The end was not read.
        drop(rx);
    }
    assert_eq!(server.stats().recv_credit, Some((1 << 20) - 9000));
}

#[tokio::test]
async fn a_blocked_peer_is_answered_with_what_there_is() {
    let raw = raw(|_| {}).await;
    let session = raw.session().await;
    for _ in 0..3 {
        let mut tx = raw.client.open_uni(&session.1).await;
        raw::write(&mut tx, Bytes::from_static(b"x")).await;
        let mut rx = within(session.0.accept_uni()).await.unwrap();
        recv(&mut rx).await.unwrap();
    }
    let (server, mut client) = session;
    eventually(|| server.stats().streams_active == 0).await;
    let limit = VarInt::from_u32(10);
    let dir = Dir::Uni;
    client.write(&Capsule::StreamsBlocked { dir, limit }).await;
    loop {
        let Next::Capsule(Capsule::MaxStreams {
            dir: Dir::Uni,
            limit,
        }) = client.next().await
        else {
            continue;
        };
        if limit == VarInt::from_u32(13) {
            break;
        }
    }
}

#[tokio::test]
async fn our_blocked_opener_and_writer_say_so() {
    let raw = raw(|_| {}).await;
    let (server, mut client) = raw.session().await;
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(within(server.open_uni()).await.unwrap());
    }
    let blocked = server.clone();
    let opening = tokio::spawn(async move { blocked.open_uni().await.map(|_| ()) });
    let limit = VarInt::from_u32(100);
    let dir = Dir::Uni;
    let said = Next::Capsule(Capsule::StreamsBlocked { dir, limit });
    assert_eq!(client.next().await, said);
    let limit = VarInt::from_u32(101);
    client.write(&Capsule::MaxStreams { dir, limit }).await;
    within(opening).await.unwrap().unwrap();

    let writing = tokio::spawn(async move {
        let tx = &mut held[0];
        tx.write_chunk(pattern(2 * MIB)).await.unwrap();
        held
    });
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(within(raw.client.quic.accept_uni()).await.unwrap());
    }
    // The critical streams of the server came first.
    let mut rx = streams.pop().unwrap();
    let limit = VarInt::from_u32(1 << 20);
    let said = Next::Capsule(Capsule::DataBlocked(limit));
    assert_eq!(client.next().await, said);
    let limit = VarInt::from_u32(2 << 20);
    client.write(&Capsule::MaxData(limit)).await;
    let header = 3;
    let mut left = 2 * MIB + header;
    while left > 0 {
        let chunk = within(rx.read_chunk(usize::MAX, true)).await.unwrap();
        left -= chunk.unwrap().bytes.len();
    }
    within(writing).await.unwrap();
}

#[tokio::test]
async fn who_blocks_where_another_did_says_nothing() {
    let raw = raw(|_| {}).await;
    let (server, mut client) = raw.session().await;
    let said = |limit: usize| {
        let limit = VarInt::try_from(limit as u64).unwrap();
        Next::Capsule(Capsule::DataBlocked(limit))
    };
    let mut streams = Vec::new();
    // The critical streams of the server come first.
    for _ in 0..3 {
        streams.push(within(raw.client.quic.accept_uni()).await.unwrap());
    }
    let mut writing = tokio::task::JoinSet::new();
    for first in [true, false, false] {
        let mut tx = within(server.open_uni()).await.unwrap();
        writing.spawn(async move { tx.write_chunk(pattern(2 * MIB)).await });
        // A stream that waits for credit announces itself.
        streams.push(within(raw.client.quic.accept_uni()).await.unwrap());
        if first {
            assert_eq!(client.next().await, said(MIB));
        }
    }
    for limit in [2 * MIB, 3 * MIB] {
        let more = VarInt::try_from(limit as u64).unwrap();
        client.write(&Capsule::MaxData(more)).await;
        assert_eq!(client.next().await, said(limit));
    }
}

#[tokio::test]
async fn a_write_of_which_only_the_header_fits_waits_for_more_room() {
    let header = 3_u32;
    let mut transport = raw::transport();
    transport.stream_receive_window(header.into());
    let raw = raw_over(transport, |_| {}).await;
    let (server, _client) = raw.session().await;
    let mut tx = within(server.open_uni()).await.unwrap();
    let (id, mut kept) = (tx.id().get(), Vec::new());
    let reading = async {
        let mut rx = loop {
            // The critical streams of the server come first, and stay as they are.
            let rx = within(raw.client.quic.accept_uni()).await.unwrap();
            if u64::from(rx.id()) == id {
                break rx;
            }
            kept.push(rx);
        };
        rx.read_chunk(header as usize, true).await.unwrap();
        rx
    };
    let (written, _rx) = tokio::join!(within(tx.write(b"body")), reading);
    assert_ne!(written.unwrap(), 0, "nothing looks like the end");
}

#[tokio::test]
async fn a_connection_without_session_flow_control_is_bounded_by_quic_alone() {
    let (mut server, client) = configs();
    server.session.flow_control = false;
    let pair: Pair = pair_with(&server, &client).await;
    let (server, client) = pair.session().await;
    assert_eq!(client.stats().send_credit, None);
    transfer(&client, &server, 2, 20 * MIB).await;
    transfer(&server, &client, 2, 20 * MIB).await;
}

#[tokio::test]
async fn stream_credit_of_quic_bounds_what_one_peer_can_hold() {
    let (mut server, client) = configs();
    server.transport.streams_uni = StreamCredit::new(20, 40);
    let pair = pair_with(&server, &client).await;
    let (_server, client) = pair.session().await;
    let mut held = Vec::new();
    // Three are the critical streams of the client.
    for _ in 0..37 {
        let mut tx = within(client.open_uni()).await.unwrap();
        tx.flush().await.unwrap();
        held.push(tx);
    }
    let short = std::time::Duration::from_millis(200);
    assert!(
        tokio::time::timeout(short, client.open_uni())
            .await
            .is_err()
    );
}
