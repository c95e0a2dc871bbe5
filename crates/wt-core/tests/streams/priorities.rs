//! Which streams go first.

use futures_util::FutureExt;

use crate::{
    common::{configs, pair_with, pattern, recv, within},
    uni,
};

#[tokio::test]
async fn a_stream_of_high_priority_overtakes() {
    let (server, mut client) = configs();
    // A narrow way: what was written waits in the sender's QUIC, where priorities count.
    client.transport.congestion = wt_core::config::Congestion::NewReno;
    let pair = pair_with(&server, &client).await;
    let (server, client) = pair.session().await;
    let (mut low, mut low_rx) = uni(&client, &server).await;
    let (mut high, mut high_rx) = uni(&client, &server).await;
    low.set_priority(-1);
    high.set_priority(7);
    assert_eq!((low.priority(), high.priority()), (-1, 7));
    // Both are written before the connection's task can send: a current-thread runtime switches only at an await
    // that waits, and neither write waits.
    let len = 400_000;
    low.write_chunk(pattern(len))
        .now_or_never()
        .unwrap()
        .unwrap();
    high.write_chunk(pattern(len))
        .now_or_never()
        .unwrap()
        .unwrap();
    low.finish().unwrap();
    high.finish().unwrap();
    let mut ends = Vec::new();
    let (mut low_got, mut high_got) = (0, 0);
    within(async {
        while ends.len() < 2 {
            tokio::select! {
                biased;
                // What has arrived of both is no word on which came first.
                chunk = high_rx.read_chunk(usize::MAX), if !ends.contains(&"high") => match chunk.unwrap() {
                    Some(chunk) => high_got += chunk.len(),
                    None => {
                        assert!(low_got < len / 2, "{low_got} bytes of low priority came before");
                        ends.push("high");
                    }
                },
                chunk = low_rx.read_chunk(usize::MAX), if !ends.contains(&"low") => match chunk.unwrap() {
                    Some(chunk) => low_got += chunk.len(),
                    None => ends.push("low"),
                },
            }
        }
    })
    .await;
    assert_eq!(ends, ["high", "low"]);
    assert_eq!((low_got, high_got), (len, len));
}

#[tokio::test]
async fn streams_of_an_urgent_session_overtake_those_of_others() {
    let (server, mut client) = configs();
    client.transport.congestion = wt_core::config::Congestion::NewReno;
    let pair = pair_with(&server, &client).await;
    let open = async |request: &str, answer: &str| {
        let field = |value: &str| {
            let value = http::HeaderValue::from_str(value).unwrap();
            http::HeaderMap::from_iter([(http::header::HeaderName::from_static("priority"), value)])
        };
        let asking = pair
            .client
            .open_session("localhost", "/", field(request), &[]);
        let answering = async {
            let asked = pair.server.accept_session().await.unwrap();
            let answer = wt_core::Accept::new().headers(field(answer));
            asked.accept_with(answer).await.unwrap()
        };
        let (client, server) = within(async { tokio::join!(asking, answering) }).await;
        (server, client.unwrap())
    };
    // The server's word counts more, and nobody's counts where there is none.
    let (usual_server, usual) = open("u=1", "u=4").await;
    let (urgent_server, urgent) = open("u=2", "i").await;
    let (mut low, mut low_rx) = uni(&usual, &usual_server).await;
    let (mut high, mut high_rx) = uni(&urgent, &urgent_server).await;
    // Within their sessions they may have any priority.
    low.set_priority(i32::MAX);
    high.set_priority(i32::MIN);
    assert_eq!(low.priority(), (1 << 27) - 1);
    assert_eq!(high.priority(), -(1 << 27));
    let len = 400_000;
    for stream in [&mut low, &mut high] {
        let written = stream.write_chunk(pattern(len)).now_or_never();
        written.unwrap().unwrap();
        stream.finish().unwrap();
    }
    let mut low_got = 0;
    let mut high_got = 0;
    within(async {
        while high_got < len {
            tokio::select! {
                biased;
                chunk = high_rx.read_chunk(usize::MAX) => high_got += chunk.unwrap().map_or(0, |c| c.len()),
                chunk = low_rx.read_chunk(usize::MAX), if low_got < len => low_got += chunk.unwrap().map_or(0, |c| c.len()),
            }
        }
    })
    .await;
    assert!(low_got < len / 2, "{low_got} bytes came before");
    assert_eq!(recv(&mut low_rx).await.unwrap().len(), len - low_got);
}
