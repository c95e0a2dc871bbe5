//! What a session can do while its credit is used up.

mod common;

use std::time::Duration;

use common::{configs, pair_with};

#[tokio::test]
async fn a_stream_is_announced_while_its_body_waits_for_credit() {
    const WINDOW: usize = 1 << 20;
    let (mut server, client) = configs();
    server.session.max_data = WINDOW as u64;
    let pair = pair_with(&server, &client).await;
    let (far, near) = pair.session().await;
    let mut first = near.open_uni().await.unwrap();
    first.write_all(&vec![1; WINDOW]).await.unwrap();
    let mut second = near.open_uni().await.unwrap();
    let write = tokio::spawn(async move {
        second.write_all(b"second").await.unwrap();
        second.finish().unwrap();
        second.closed().await.unwrap();
    });
    let unread = far.accept_uni().await.unwrap();
    let second = tokio::time::timeout(Duration::from_secs(10), far.accept_uni()).await;
    let mut second = second.unwrap().unwrap();
    drop(unread);
    assert_eq!(second.read_to_end(10).await.unwrap(), b"second"[..]);
    write.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn many_more_streams_than_the_session_allows_at_a_time() {
    let (server, mut client) = configs();
    client.transport.streams_uni = wt_core::config::StreamCredit::new(100, 1280);
    let pair = pair_with(&server, &client).await;
    let (theirs, ours) = pair.session().await;
    let far = theirs.clone();
    let opening = tokio::spawn(async move {
        let mut writers = tokio::task::JoinSet::new();
        for _ in 0..3000 {
            let mut send = theirs.open_uni().await.unwrap();
            writers.spawn(async move {
                send.write_all(b"0123456789").await.unwrap();
                send.finish().unwrap();
                send.closed().await.unwrap();
            });
        }
        while writers.join_next().await.is_some() {}
    });
    for number in 0..3000 {
        let accepted = tokio::time::timeout(Duration::from_secs(5), ours.accept_uni()).await;
        let Ok(accepted) = accepted else {
            panic!(
                "stalled at stream {number}: {:?} {:?} {:?}",
                ours.stats(),
                far.stats(),
                pair.server.stats()
            );
        };
        assert_eq!(accepted.unwrap().read_to_end(100).await.unwrap().len(), 10);
    }
    opening.await.unwrap();
}
