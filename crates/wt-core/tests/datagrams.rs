//! Datagrams: sizes, order, loss by full queues, and several sessions.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod common;

use common::{configs, eventually, pair, pair_with, pattern, within};
use wt_core::{SendDatagramError, Session, SessionError};

/// Reads datagrams until one says "end".
async fn all(session: &Session) -> Vec<bytes::Bytes> {
    let mut got = Vec::new();
    loop {
        let datagram = within(session.recv_datagram()).await.unwrap();
        if &datagram[..] == b"end" {
            return got;
        }
        got.push(datagram);
    }
}

#[tokio::test]
async fn the_largest_datagram_fits_and_one_byte_more_does_not() {
    let (mut server, mut client) = configs();
    // No discovery: the size does not change under the test.
    server.transport.mtu_upper_bound = 1200;
    client.transport.mtu_upper_bound = 1200;
    let pair = pair_with(&server, &client).await;
    for (from, to) in [pair.session().await, pair.session().await] {
        for (from, to) in [(&from, &to), (&to, &from)] {
            let max = from.max_datagram_size().unwrap();
            for len in [0, 1, max - 1, max] {
                from.send_datagram(pattern(len)).unwrap();
                assert_eq!(within(to.recv_datagram()).await, Ok(pattern(len)));
            }
            let size = max + 1;
            let refused = Err(SendDatagramError::TooLarge { size, max });
            assert_eq!(from.send_datagram(pattern(size)), refused);
            assert_eq!(from.send_datagram_wait(pattern(size)).await, refused);
        }
    }
}

#[tokio::test]
async fn datagrams_can_be_sent_and_taken_without_waiting() {
    let (server, mut client) = configs();
    client.transport.datagram_send_buffer = 4096;
    let pair = pair_with(&server, &client).await;
    let (server, client) = pair.session().await;
    assert_eq!(server.try_recv_datagram(), Ok(None));
    // Nothing leaves before this task waits.
    let mut taken = 0;
    while client.try_send_datagram(pattern(1000)).unwrap() {
        taken += 1;
    }
    assert!((1..=4).contains(&taken), "{taken}");
    assert_eq!(client.stats().datagrams_sent, taken);
    for _ in 0..taken {
        eventually(|| match server.try_recv_datagram() {
            Ok(datagram) => datagram.is_some_and(|datagram| datagram == pattern(1000)),
            Err(end) => panic!("{end}"),
        })
        .await;
    }
    assert_eq!(server.try_recv_datagram(), Ok(None));
    assert_eq!(server.stats().datagrams_received, taken);

    client.close(3, "enough");
    within(server.closed()).await;
    assert!(server.try_recv_datagram().is_err());
    assert!(server.try_send_datagram(b"x").is_err());
    assert_eq!(server.stats().datagrams_sent, 0);
}

#[tokio::test]
async fn datagrams_nobody_takes_push_out_the_oldest() {
    let (mut server, client) = configs();
    server.limits.datagram_queue = 10;
    let pair = pair_with(&server, &client).await;
    let (server, client) = pair.session().await;
    for n in 0..25_u8 {
        client.send_datagram([n]).unwrap();
        // One by one, so that none is lost on the way.
        eventually(|| server.stats().datagrams_received == u64::from(n) + 1).await;
    }
    assert_eq!(server.stats().datagrams_dropped, 15);
    for n in 15..25_u8 {
        assert_eq!(&within(server.recv_datagram()).await.unwrap()[..], [n]);
    }
    client.send_datagram(b"end").unwrap();
    assert!(all(&server).await.is_empty());
    assert_eq!(server.stats().datagrams_dropped, 15);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_get_their_own_datagrams_whoever_reads() {
    let pair = pair().await;
    let (servers, clients) = pair.sessions(5).await;
    // The first reads alone for a while, then all do.
    clients[0].send_datagram([0]).unwrap();
    assert_eq!(&within(servers[0].recv_datagram()).await.unwrap()[..], [0]);
    let readers: Vec<_> = servers
        .iter()
        .cloned()
        .map(|session| tokio::spawn(async move { all(&session).await }))
        .collect();
    for round in 0..100_u8 {
        for (n, client) in clients.iter().enumerate() {
            let sent = client.send_datagram_wait([n as u8, round]).await;
            sent.unwrap();
        }
    }
    // The last word may be lost like any other.
    for (n, reader) in readers.into_iter().enumerate() {
        while !reader.is_finished() {
            clients[n].send_datagram(b"end").unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let got = reader.await.unwrap();
        assert!(!got.is_empty());
        for datagram in got {
            assert_eq!(usize::from(datagram[0]), n, "of another session");
        }
    }
}

#[tokio::test]
async fn a_second_reader_gets_its_datagrams_while_the_first_is_away() {
    let pair = pair().await;
    let (servers, clients) = pair.sessions(2).await;
    clients[0].send_datagram(b"a").unwrap();
    within(servers[0].recv_datagram()).await.unwrap();
    // The first session has read, and waits no more.
    for n in 0..10_u8 {
        clients[1].send_datagram([n]).unwrap();
        assert_eq!(&within(servers[1].recv_datagram()).await.unwrap()[..], [n]);
    }
    clients[0].send_datagram(b"b").unwrap();
    eventually(|| servers[0].stats().datagrams_received == 2).await;
    servers[0].close(0, "");
    within(clients[0].closed()).await;
    clients[1].send_datagram(b"c").unwrap();
    assert_eq!(&within(servers[1].recv_datagram()).await.unwrap()[..], b"c");
    // A new session after the reader is gone.
    let (server, client) = pair.session().await;
    client.send_datagram(b"d").unwrap();
    assert_eq!(&within(server.recv_datagram()).await.unwrap()[..], b"d");
}

#[tokio::test]
async fn a_dropped_receive_loses_nothing() {
    use futures_util::FutureExt;
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let mut seen = Vec::new();
    for n in 0..200_u8 {
        client.send_datagram([n]).unwrap();
        within(async {
            loop {
                if let Some(datagram) = server.recv_datagram().now_or_never() {
                    seen.push(datagram.unwrap()[0]);
                    break;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    assert_eq!(seen, (0..200).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_receivers_of_one_session_miss_none() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let receivers: Vec<_> = (0..4)
        .map(|_| {
            let server = server.clone();
            tokio::spawn(async move {
                let mut count = 0;
                while server.recv_datagram().await.is_ok() {
                    count += 1;
                }
                count
            })
        })
        .collect();
    for n in 0..500_u64 {
        client.send_datagram(b"x").unwrap();
        eventually(|| server.stats().datagrams_received > n).await;
    }
    client.close(0, "");
    let mut total = 0;
    for receiver in receivers {
        total += within(receiver).await.unwrap();
    }
    assert_eq!(total, 500);
}

#[tokio::test]
async fn a_waiting_sender_wakes_when_the_session_ends() {
    let (server, mut client) = configs();
    client.transport.datagram_send_buffer = 1500;
    let pair = pair_with(&server, &client).await;
    let (server, client) = pair.session().await;
    // On this thread nothing leaves until this task waits: the buffer is full after a few.
    let sender = client.clone();
    let sending = tokio::spawn(async move {
        loop {
            if let Err(error) = sender.send_datagram_wait(pattern(1000)).await {
                return error;
            }
        }
    });
    tokio::task::yield_now().await;
    server.close(2, "enough");
    let error = within(sending).await.unwrap();
    let end = SendDatagramError::Session(SessionError::Closed {
        by: wt_core::Initiator::Peer,
        code: 2,
        reason: "enough".to_owned(),
    });
    assert_eq!(error, end);
}

#[tokio::test]
async fn a_ticket_is_dropped_when_its_datagram_leaves() {
    use futures_util::FutureExt;
    use std::sync::Arc;
    let (server, mut client) = configs();
    client.transport.datagram_send_buffer = 3000;
    let pair = pair_with(&server, &client).await;
    let (server, client) = pair.session().await;
    let tickets = Arc::new(());
    let held = || Arc::strong_count(&tickets) - 1;
    // On this thread nothing leaves until this task waits.
    for n in 1..=2 {
        let send = client.send_datagram_with_ticket(pattern(1000), tickets.clone());
        within(send).await.unwrap();
        assert_eq!(held(), n);
    }
    // There is no room for a third, and giving up gives its ticket back.
    let mut send = Box::pin(client.send_datagram_with_ticket(pattern(1000), tickets.clone()));
    assert!(send.as_mut().now_or_never().is_none());
    drop(send);
    assert_eq!(held(), 2);
    for _ in 0..2 {
        assert_eq!(within(server.recv_datagram()).await, Ok(pattern(1000)));
    }
    assert_eq!(held(), 0);
    // One that does not fit, and one that is pushed out by others.
    let large = client.send_datagram_with_ticket(pattern(3000), tickets.clone());
    assert!(matches!(
        large.await,
        Err(SendDatagramError::TooLarge { .. })
    ));
    assert_eq!(held(), 0);
    client
        .send_datagram_with_ticket(pattern(1000), tickets.clone())
        .await
        .unwrap();
    for _ in 0..2 {
        client.send_datagram(pattern(1000)).unwrap();
    }
    assert_eq!(held(), 0);
}
