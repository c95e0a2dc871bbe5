//! How connections, sessions and streams do.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{pair, pattern, recv, send, within};
use futures_util::StreamExt;
use wt_core::{
    ConnectionState, ReadUntilError, SessionState, StreamDirection, StreamState,
    diagnostics::{
        ConnectionIssue, ConnectionThresholds, SessionIssue, SessionThresholds, StreamIssue,
        StreamThresholds,
    },
};

fn value(fields: &[(&'static str, String)], name: &str) -> String {
    let found: Vec<_> = fields.iter().filter(|(key, _)| *key == name).collect();
    assert_eq!(found.len(), 1, "{name} in {fields:?}");
    found[0].1.clone()
}

#[tokio::test]
async fn a_connection_shows_how_it_does_and_what_is_wrong() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let mut tx = client.open_uni().await.unwrap();
    send(&mut tx, pattern(100_000)).await;
    recv(&mut within(server.accept_uni()).await.unwrap())
        .await
        .unwrap();
    within(tx.closed()).await.unwrap();
    let shown = pair.client.diagnostics();
    assert_eq!(shown.state, ConnectionState::Connected);
    assert_eq!(
        shown.remote_address,
        pair.server_endpoint.local_addr().unwrap()
    );
    assert_eq!(
        (shown.sessions, shown.errors, shown.pending_requests),
        (1, 0, 0)
    );
    assert!(shown.stats.rtt >= shown.stats.min_rtt && shown.stats.min_rtt > Duration::ZERO);
    assert!(shown.stats.path_packets_sent > 50 && shown.stats.stream_frames_sent > 50);
    assert!((0.0..=1.0).contains(&shown.stats.loss_rate()));
    assert!(shown.uptime >= shown.idle);
    assert_eq!(shown.issues(&ConnectionThresholds::default()), []);
    let fields = shown.fields();
    assert_eq!(value(&fields, "state"), "connected");
    assert_eq!(
        value(&fields, "connection_id"),
        pair.client.stable_id().to_string()
    );
    assert!(value(&fields, "bytes_sent").parse::<u64>().unwrap() > 100_000);
    let line = shown.to_string();
    assert!(line.contains("connected") && !line.contains('\n'), "{line}");
    // The five of them.
    let mut bad = shown;
    bad.state = ConnectionState::Closing;
    bad.errors = 11;
    bad.idle = Duration::from_secs(301);
    bad.stats.packets_sent = 1001;
    bad.stats.packets_received = 0;
    bad.stats.rtt = Duration::from_millis(1001);
    let issues = bad.issues(&ConnectionThresholds::default());
    assert_eq!(
        issues,
        [
            ConnectionIssue::NotEstablished(ConnectionState::Closing),
            ConnectionIssue::Errors(11),
            ConnectionIssue::Stale(Duration::from_secs(301)),
            ConnectionIssue::Unanswered(1001),
            ConnectionIssue::Latency(Duration::from_millis(1001)),
        ]
    );
    assert_eq!(
        issues[4].to_string(),
        "high latency: a round trip takes 1001.0 ms"
    );
    client.close(0, "");
    within(pair.client.close(0, "")).await;
    let issues = pair
        .client
        .diagnostics()
        .issues(&ConnectionThresholds::default());
    assert_eq!(
        issues,
        [ConnectionIssue::NotEstablished(ConnectionState::Closed)]
    );
}

#[tokio::test]
async fn activity_is_of_streams_and_datagrams() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    // What belongs to the beginning may still be on its way.
    let mut last = pair.server.last_activity();
    client.send_datagram(b"x").unwrap();
    within(server.recv_datagram()).await.unwrap();
    assert!(pair.server.last_activity() > last);
    last = pair.server.last_activity();
    let mut tx = client.open_uni().await.unwrap();
    send(&mut tx, pattern(1)).await;
    recv(&mut within(server.accept_uni()).await.unwrap())
        .await
        .unwrap();
    assert!(pair.server.last_activity() > last);
}

#[tokio::test]
async fn sessions_of_a_connection_are_listed() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let listed = pair.server.sessions();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].id, listed[0].state),
        (server.id(), SessionState::Established)
    );
    assert_eq!(
        pair.server.session_info(server.id()),
        Some(listed[0].clone())
    );
    client.close(0, "");
    assert!(pair.client.sessions().is_empty());
}

#[tokio::test]
async fn a_session_shows_how_it_does_and_what_is_wrong() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let mut bi = client.open_bi().await.unwrap();
    bi.send.write_all(b"x").await.unwrap();
    let theirs = within(server.accept_bi()).await.unwrap();
    let uni = client.open_uni().await.unwrap();
    let shown = client.diagnostics();
    assert_eq!(shown.state, SessionState::Established);
    assert_eq!(shown.connection, ConnectionState::Connected);
    assert_eq!((shown.stats.streams_bidi, shown.stats.streams_uni), (1, 1));
    assert_eq!(
        (shown.stats.streams(), shown.stats.streams_closed()),
        (2, 0)
    );
    assert_eq!(shown.issues(&SessionThresholds::default()), []);
    let mut listed = client.streams();
    listed.sort_by_key(|info| info.id);
    let mut ids = [bi.id(), uni.id()];
    ids.sort_unstable();
    assert_eq!([listed[0].id, listed[1].id], ids);
    drop((uni, bi, theirs));
    let fields = client.diagnostics().fields();
    assert_eq!(value(&fields, "streams_closed"), "2");
    assert_eq!(value(&fields, "state"), "established");
    assert_eq!(value(&fields, "connection_state"), "connected");
    let mut bad = client.diagnostics();
    bad.state = SessionState::Connecting;
    bad.connection = ConnectionState::Failed;
    bad.datagram_backlog = 101;
    bad.stats.streams_opened = 51;
    bad.stats.stream_errors = 6;
    bad.stats.streams_active = 0;
    bad.stats.streams_accepted = 0;
    bad.stats.uptime = Duration::from_secs(3601);
    let issues = bad.issues(&SessionThresholds::default());
    assert_eq!(
        issues,
        [
            SessionIssue::Stuck(SessionState::Connecting),
            SessionIssue::Errors {
                errors: 6,
                operations: 51
            },
            SessionIssue::Stale(Duration::from_secs(3601)),
            SessionIssue::ConnectionLost(ConnectionState::Failed),
            SessionIssue::DatagramBacklog(101),
        ]
    );
    assert_eq!(issues[1].to_string(), "high error rate: 6 of 51");
    let line = client.diagnostics().to_string();
    assert!(
        line.contains("established") && !line.contains('\n'),
        "{line}"
    );
    // Time stops with the session.
    client.close(0, "");
    let uptime = client.stats().uptime;
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(client.stats().uptime, uptime);
    assert_eq!(client.diagnostics().state, SessionState::Closed);
}

#[tokio::test]
async fn a_stream_goes_through_its_states() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let mut ours = client.open_bi().await.unwrap();
    assert_eq!(ours.state(), StreamState::Open);
    assert_eq!(ours.stats().direction, StreamDirection::Bidirectional);
    ours.send.write_all(b"ping").await.unwrap();
    ours.send.finish().unwrap();
    assert_eq!(ours.state(), StreamState::HalfClosedLocal);
    let mut theirs = within(server.accept_bi()).await.unwrap();
    assert_eq!(&recv(&mut theirs.recv).await.unwrap()[..], b"ping");
    assert_eq!(theirs.state(), StreamState::HalfClosedRemote);
    theirs.send.finish().unwrap();
    assert_eq!(theirs.state(), StreamState::Closed);
    assert!(recv(&mut ours.recv).await.unwrap().is_empty());
    assert!(ours.state().is_over());

    // One way only: over as soon as its one half is.
    let mut tx = client.open_uni().await.unwrap();
    assert_eq!(tx.stats().direction, StreamDirection::SendOnly);
    send(&mut tx, pattern(1)).await;
    assert_eq!(tx.state(), StreamState::Closed);
    let mut rx = within(server.accept_uni()).await.unwrap();
    assert_eq!(rx.stats().direction, StreamDirection::ReceiveOnly);
    assert_eq!(rx.state(), StreamState::Open);
    recv(&mut rx).await.unwrap();
    assert_eq!(rx.state(), StreamState::Closed);

    // Reset by one, received by the other.
    let mut tx = client.open_uni().await.unwrap();
    tx.write_all(b"x").await.unwrap();
    let mut rx = within(server.accept_uni()).await.unwrap();
    tx.reset(5);
    assert_eq!(tx.state(), StreamState::ResetSent);
    assert_eq!(
        tx.stats().issues(&StreamThresholds::default()),
        [StreamIssue::ResetLocally]
    );
    within(rx.closed()).await.unwrap();
    assert_eq!(rx.state(), StreamState::ResetReceived);
    assert_eq!(
        rx.stats().issues(&StreamThresholds::default()),
        [StreamIssue::ResetByPeer]
    );

    // Stopped likewise.
    let mut tx = client.open_uni().await.unwrap();
    tx.write_all(b"x").await.unwrap();
    let mut rx = within(server.accept_uni()).await.unwrap();
    rx.stop(6);
    assert_eq!(rx.state(), StreamState::ResetSent);
    within(tx.stopped()).await.unwrap();
    assert_eq!(tx.state(), StreamState::ResetReceived);

    let open = client.open_bi().await.unwrap();
    client.close(0, "");
    assert_eq!(open.state(), StreamState::Closed);
}

#[tokio::test]
async fn a_stream_counts_reads_writes_waits_and_errors() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let mut tx = client.open_uni().await.unwrap();
    let watch = tx.watch();
    for _ in 0..3 {
        tx.write_all(b"abc").await.unwrap();
    }
    let writes = watch.stats().writes;
    assert_eq!((writes.count, writes.errors), (3, 0));
    let mut rx = within(server.accept_uni()).await.unwrap();
    rx.read_exact(&mut [0; 9]).await.unwrap();
    // Nothing is there: this read waits.
    let waits = tokio::spawn(async move {
        let read = rx.read(&mut [0; 1]).await;
        (read, rx)
    });
    tokio::time::sleep(Duration::from_millis(5)).await;
    tx.write_all(b"d").await.unwrap();
    let (read, mut rx) = within(waits).await.unwrap();
    assert_eq!(read, Ok(Some(1)));
    let reads = rx.stats().reads;
    assert!(reads.count >= 2 && reads.waits >= 1, "{reads:?}");
    assert!(reads.longest >= Duration::from_millis(1) && reads.waited >= reads.longest);
    assert!(reads.average() <= reads.longest);
    tx.reset(1);
    assert!(within(rx.read(&mut [0; 1])).await.is_err());
    assert_eq!(rx.stats().reads.errors, 1);
    assert_eq!(server.stats().stream_errors, 1);
    let fields = rx.stats().fields();
    assert_eq!(value(&fields, "read_errors"), "1");
    assert_eq!(value(&fields, "state"), "reset_received");
    assert_eq!(value(&fields, "bytes_received"), "10");
    let line = rx.stats().to_string();
    assert!(
        line.contains("reset_received") && !line.contains('\n'),
        "{line}"
    );

    let mut bad = rx.stats();
    bad.state = StreamState::Open;
    bad.reads.count = 9;
    bad.reads.errors = 2;
    bad.reads.waited = Duration::from_secs(12);
    bad.writes.count = 9;
    bad.writes.errors = 2;
    bad.writes.waited = Duration::from_secs(12);
    let issues = bad.issues(&StreamThresholds::default());
    assert_eq!(issues.len(), 4, "{issues:?}");
    assert_eq!(
        issues[0],
        StreamIssue::ReadErrors {
            errors: 2,
            reads: 11
        }
    );
    assert_eq!(issues[1].to_string(), "high write error rate: 2 of 11");
    assert_eq!(issues[2].to_string(), "slow reads: 1.09 s on average");
    let mut old = client.open_uni().await.unwrap().stats();
    old.state = StreamState::Open;
    old.info.age = Duration::from_secs(3601);
    let stale = StreamIssue::Stale(Duration::from_secs(3601));
    assert_eq!(old.issues(&StreamThresholds::default()), [stale]);
}

#[tokio::test]
async fn lines_and_chunks_are_read_with_a_limit() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let mut tx = client.open_uni().await.unwrap();
    let mut rx = {
        tx.write_all(b"first\nsec").await.unwrap();
        within(server.accept_uni()).await.unwrap()
    };
    assert_eq!(rx.read_line(100).await.unwrap().as_deref(), Some("first"));
    // What came with it stays; the rest is still to come.
    let late = tokio::spawn(async move {
        for piece in [&b"ond\r"[..], b"\n", b"a--b-", b"-", b"-c", b"\xff\nlast"] {
            tx.write_all(piece).await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tx.finish().unwrap();
        tx
    });
    assert_eq!(
        within(rx.read_line(100)).await.unwrap().as_deref(),
        Some("second")
    );
    assert_eq!(
        &within(rx.read_until(b"---", 100)).await.unwrap()[..],
        b"a--b---"
    );
    assert_eq!(
        within(rx.read_line(100)).await,
        Err(ReadUntilError::NotUtf8)
    );
    assert_eq!(
        &within(rx.read_until(b"\n", 100)).await.unwrap()[..],
        b"last"
    );
    assert_eq!(within(rx.read_line(100)).await, Ok(None));
    assert_eq!(
        rx.read_until(b"", 1).await,
        Err(ReadUntilError::EmptySeparator)
    );
    assert_eq!(rx.info().bytes_received, 28);
    within(late).await.unwrap();

    let mut tx = client.open_uni().await.unwrap();
    send(&mut tx, pattern(100_000)).await;
    let mut rx = within(server.accept_uni()).await.unwrap();
    let error = within(rx.read_until(b"no such thing", 50_000)).await;
    assert_eq!(error, Err(ReadUntilError::TooLong(50_000)));

    let mut tx = client.open_uni().await.unwrap();
    send(&mut tx, pattern(100_000)).await;
    let mut rx = within(server.accept_uni()).await.unwrap();
    let chunks: Vec<_> = within(rx.chunks(1000).map(Result::unwrap).collect()).await;
    assert!(chunks.iter().all(|chunk| chunk.len() <= 1000));
    assert_eq!(chunks.concat(), pattern(100_000));
}
