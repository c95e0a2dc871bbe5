//! The handlers of the web-platform-tests, as our client sees them.

#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod peers;

use std::collections::BTreeSet;
use std::time::Duration;

use peers::{client, site, within};
use serde_json::{Value, json};
use wt::client::ConnectError;
use wt::{BiStream, Client, ErrorCode, ReadError, RecvStream, Session, WriteError};

/// Application code 0 on the wire.
const FIRST: u64 = 0x52e4_a40f_a8db;

struct Site {
    origin: String,
    client: Client,
}

impl Site {
    async fn new() -> Self {
        Self {
            origin: site().await,
            client: client(),
        }
    }

    async fn try_open(&self, handler: &str) -> Result<Session, ConnectError> {
        let url = format!("{}/webtransport/handlers/{handler}", self.origin);
        within(
            self.client
                .connect(url)
                .header("origin", "https://web-platform.test:8443"),
        )
        .await
    }

    async fn open(&self, handler: &str) -> Session {
        self.try_open(handler).await.unwrap()
    }

    /// What the stash holds under a token, once it holds a field.
    async fn stash(&self, token: &str, field: &str) -> Value {
        within(async {
            loop {
                let value = self.query(token).await;
                if !value[field].is_null() {
                    return value[field].clone();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
    }

    async fn query(&self, token: &str) -> Value {
        let session = self.open(&format!("query.py?token={token}")).await;
        let mut stream = within(session.accept_uni()).await.unwrap();
        serde_json::from_slice(&read(&mut stream).await).unwrap()
    }

    async fn status(&self, handler: &str) -> u16 {
        self.try_open(handler)
            .await
            .unwrap_err()
            .status()
            .unwrap()
            .as_u16()
    }
}

async fn read(stream: &mut RecvStream) -> Vec<u8> {
    within(stream.read_to_end(1 << 20)).await.unwrap().to_vec()
}

/// Reads until this many bytes came.
async fn read_some(stream: &mut RecvStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    within(stream.read_exact(&mut bytes)).await.unwrap();
    bytes
}

async fn open_bi(session: &Session, bytes: &[u8]) -> BiStream {
    let mut stream = session.open_bi().await.unwrap();
    stream.send.write_all(bytes).await.unwrap();
    stream
}

#[tokio::test]
async fn requests_without_a_handler_or_an_origin_are_refused() {
    let site = Site::new().await;
    assert_eq!(site.status("nothing.py").await, 404);
    assert_eq!(site.status("echo").await, 404);
    assert_eq!(site.status("query.py").await, 400);
    let url = format!("{}/webtransport/handlers/echo.py", site.origin);
    let error = within(site.client.connect(url)).await.unwrap_err();
    assert_eq!(error.status().unwrap().as_u16(), 403);
}

#[tokio::test]
async fn echo() {
    let site = Site::new().await;
    let session = site.open("echo.py").await;
    // The stream that the server opens echoes as well, and says nothing first.
    let mut theirs = within(session.accept_bi()).await.unwrap();
    theirs.send.write_all(b"one").await.unwrap();
    assert_eq!(read_some(&mut theirs.recv, 3).await, b"one");
    theirs.send.finish().unwrap();
    assert_eq!(read(&mut theirs.recv).await, b"");

    let mut ours = open_bi(&session, b"two").await;
    assert_eq!(read_some(&mut ours.recv, 3).await, b"two");
    ours.send.finish().unwrap();
    assert_eq!(read(&mut ours.recv).await, b"");

    let mut uni = session.open_uni().await.unwrap();
    uni.write_all(b"three").await.unwrap();
    let mut answer = within(session.accept_uni()).await.unwrap();
    assert_eq!(read_some(&mut answer, 5).await, b"three");
    uni.finish().unwrap();
    assert_eq!(read(&mut answer).await, b"");

    session.send_datagram(b"four").unwrap();
    assert_eq!(&within(session.recv_datagram()).await.unwrap()[..], b"four");
}

#[tokio::test]
async fn client_close_tells_how_streams_end() {
    let site = Site::new().await;
    let session = site.open("client-close.py?token=a").await;
    assert_eq!(site.query("a").await, json!({}));
    let fin = json!({ "source": "FIN" });
    let mut stream = open_bi(&session, b"x").await;
    stream.send.finish().unwrap();
    assert_eq!(site.stash("a", "stream-close-info").await, fin);

    let mut uni = session.open_uni().await.unwrap();
    uni.finish().unwrap();
    assert_eq!(site.stash("a", "stream-close-info").await, fin);

    // The server knows this stream; of one that is reset before its header arrived it learns nothing.
    let mut theirs = within(session.accept_bi()).await.unwrap();
    theirs.send.write_all(b"x").await.unwrap();
    theirs.send.reset(127);
    let info = json!({ "source": "reset", "code": FIRST + 127 + 127 / 30 });
    assert_eq!(site.stash("a", "stream-close-info").await, info);
}

#[tokio::test]
async fn client_close_tells_how_sessions_end() {
    let site = Site::new().await;
    type End = (&'static str, fn(&Session), Value);
    let ends: [End; 4] = [
        (
            "capsule",
            |session| session.close(3999, "öve"),
            json!({ "code": 3999, "reason": "öve" }),
        ),
        (
            "plain",
            |session| session.close(0, ""),
            json!({ "code": 0, "reason": "" }),
        ),
        (
            "fin",
            Session::close_silently,
            json!({ "code": 0, "reason": "" }),
        ),
        (
            "lost",
            |session| session.connection().abort(ErrorCode::H3_NO_ERROR, ""),
            Value::Null,
        ),
    ];
    for (token, end, close_info) in ends {
        let session = site.open(&format!("client-close.py?token={token}")).await;
        within(session.accept_bi()).await.unwrap();
        end(&session);
        let info = json!({ "abruptly": close_info.is_null(), "close_info": close_info });
        assert_eq!(
            site.stash(token, "session-close-info").await,
            info,
            "{token}"
        );
    }
}

#[tokio::test]
async fn abort_stream_from_server() {
    let site = Site::new().await;
    // Any code goes out as it is: one of an application, and one that is none.
    for code in [FIRST + 139, 0x10c] {
        let session = site
            .open(&format!("abort-stream-from-server.py?code={code}"))
            .await;
        let expected = ErrorCode::new(code).unwrap();
        let mut stream = open_bi(&session, b"x").await;
        let reset = within(stream.recv.read_chunk(10)).await.unwrap_err();
        assert_eq!(reset, ReadError::Reset(expected));
        let stopped = within(stream.send.closed()).await.unwrap_err();
        assert_eq!(stopped, WriteError::Stopped(expected));

        let mut uni = session.open_uni().await.unwrap();
        uni.write_all(b"x").await.unwrap();
        let stopped = within(uni.closed()).await.unwrap_err();
        assert_eq!(stopped, WriteError::Stopped(expected));
    }
}

#[tokio::test]
async fn abort_server_initiated_stream() {
    let site = Site::new().await;
    let session = site.open("abort-server-initiated-stream.py").await;
    let stream = tokio::time::timeout(Duration::from_millis(300), session.accept_uni()).await;
    assert!(
        stream.is_err(),
        "a stream that was reset before its header is not seen: {stream:?}"
    );
    assert_eq!(session.close_reason(), None);
}

#[tokio::test]
async fn custom_response() {
    let site = Site::new().await;
    let session = site
        .open("custom-response.py?:status=204&x-one=a%20b&x-two=2")
        .await;
    assert_eq!(session.status().as_u16(), 204);
    assert_eq!(session.response_headers()["x-one"], "a b");
    assert_eq!(session.response_headers()["x-two"], "2");
    assert_eq!(
        site.open("custom-response.py?a=b").await.status().as_u16(),
        200
    );
    for status in [301, 401, 404] {
        let handler = format!("custom-response.py?:status={status}&location=/elsewhere");
        assert_eq!(site.status(&handler).await, status);
    }
}

#[tokio::test]
async fn echo_request_headers() {
    let site = Site::new().await;
    let url = format!(
        "{}/webtransport/handlers/echo-request-headers.py",
        site.origin
    );
    for (query, list) in [("", false), ("?format=list", true)] {
        let connect = site.client.connect(format!("{url}{query}"));
        let connect = connect
            .header("Origin", "https://a.test")
            .header("X-Custom", "yes");
        let session = within(connect).await.unwrap();
        let mut stream = within(session.accept_uni()).await.unwrap();
        let fields: Value = serde_json::from_slice(&read(&mut stream).await).unwrap();
        let authority = site.origin.strip_prefix("https://").unwrap();
        for (name, value) in [
            (":scheme", "https"),
            (":method", "CONNECT"),
            (":authority", authority),
            (
                ":path",
                &format!("/webtransport/handlers/echo-request-headers.py{query}"),
            ),
            ("origin", "https://a.test"),
            ("x-custom", "yes"),
        ] {
            let expected = if list { json!([value]) } else { json!(value) };
            assert_eq!(fields[name], expected, "{name}");
        }
        assert!(!fields[":protocol"].is_null() && fields["cookie"].is_null());
    }
}

#[tokio::test]
async fn echo_datagram_length() {
    let site = Site::new().await;
    let session = site.open("echo_datagram_length.py").await;
    for length in [0, 1, 1000] {
        session.send_datagram(vec![7; length]).unwrap();
        let answer = within(session.recv_datagram()).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer, json!({ "length": length }));
    }
}

#[tokio::test]
async fn server_close() {
    let site = Site::new().await;
    for (query, code, reason) in [
        ("", 0, ""),
        ("?code=0&reason=", 0, ""),
        ("?code=4294967295&reason=%E2%82%AC%20bye", u32::MAX, "€ bye"),
    ] {
        let session = site.open(&format!("server-close.py{query}")).await;
        let end = within(session.closed()).await;
        assert!(end.is_closed_by_peer(), "{end}");
        assert_eq!((end.code(), end.reason()), (Some(code), reason), "{query}");
    }
}

#[tokio::test]
async fn server_connection_close() {
    let site = Site::new().await;
    let session = site.open("server-connection-close.py").await;
    let mut stream = within(session.accept_bi()).await.unwrap();
    stream.send.write_all(b"x").await.unwrap();
    let end = within(session.connection().closed()).await;
    assert!(end.is_graceful(), "{end}");
    assert_eq!(within(session.closed()).await.code(), None);
}

#[tokio::test]
async fn server_read_then_close() {
    let site = Site::new().await;
    let session = site.open("server-read-then-close.py").await;
    let mut stream = within(session.accept_bi()).await.unwrap();
    stream.send.write_all(b"x").await.unwrap();
    let end = within(session.closed()).await;
    assert!(end.is_closed_by_peer(), "{end}");
    assert_eq!((end.code(), end.reason()), (Some(0), ""));
}

#[tokio::test]
async fn server_create_multiple_streams() {
    let site = Site::new().await;
    let names = |count: usize| -> BTreeSet<Vec<u8>> {
        (0..count)
            .map(|n| format!("stream{n}").into_bytes())
            .collect()
    };
    let session = site
        .open("server-create-multiple-streams.py?type=bidi")
        .await;
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        seen.insert(read(&mut within(session.accept_bi()).await.unwrap().recv).await);
    }
    assert_eq!(seen, names(3));
    let session = site
        .open("server-create-multiple-streams.py?type=unidi&count=20")
        .await;
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        seen.insert(read(&mut within(session.accept_uni()).await.unwrap()).await);
    }
    assert_eq!(seen, names(20));
}

#[tokio::test]
async fn server_drain() {
    let site = Site::new().await;
    let session = site.open("server-drain.py?drain").await;
    within(session.draining()).await.unwrap();
    let mut stream = open_bi(&session, b"x").await;
    stream.send.finish().unwrap();
    assert_eq!(session.close_reason(), None);
    let session = site.open("server-drain.py").await;
    let drained = tokio::time::timeout(Duration::from_millis(200), session.draining()).await;
    assert!(drained.is_err());
}

#[tokio::test]
async fn token_count() {
    let site = Site::new().await;
    let session = site.open("token-count.py").await;
    let mut theirs = within(session.accept_bi()).await.unwrap();
    theirs.send.write_all(b"key").await.unwrap();
    assert_eq!(read_some(&mut theirs.recv, 1).await, b"1");
    let mut ours = open_bi(&session, b"key").await;
    assert_eq!(read_some(&mut ours.recv, 1).await, b"2");
    ours.send.write_all(b"key").await.unwrap();
    assert_eq!(read_some(&mut ours.recv, 1).await, b"3");
    let mut uni = session.open_uni().await.unwrap();
    uni.write_all(b"key").await.unwrap();
    let mut answer = within(session.accept_uni()).await.unwrap();
    assert_eq!(read_some(&mut answer, 1).await, b"4");
    // Without FIN: the stream stays open.
    let more = tokio::time::timeout(Duration::from_millis(200), answer.read_chunk(1)).await;
    assert!(more.is_err(), "{more:?}");
    // The count belongs to the key, not to the session.
    let other = site.open("token-count.py").await;
    let mut stream = open_bi(&other, b"key").await;
    assert_eq!(read_some(&mut stream.recv, 1).await, b"5");
}

#[tokio::test]
async fn sendorder() {
    let site = Site::new().await;
    let session = site.open("sendorder.py?token=s").await;
    session.send_datagram(b"echo").unwrap();
    assert_eq!(&within(session.recv_datagram()).await.unwrap()[..], b"echo");
    assert_eq!(site.query("s").await, json!([]));

    let mut first = session.open_uni().await.unwrap();
    first.write_all(&[1; 10]).await.unwrap();
    within(poll(&site, "s", json!([1]))).await;
    let mut second = open_bi(&session, &[2; 10]).await;
    within(poll(&site, "s", json!([1, 2]))).await;
    second.send.reset(0);
    within(poll(&site, "s", json!([1, 2]))).await;
    first.write_all(&[3; 10]).await.unwrap();
    within(poll(&site, "s", json!([3]))).await;
}

/// Asks until the stash holds this value.
async fn poll(site: &Site, token: &str, value: Value) {
    while site.query(token).await != value {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn sendorder_scheduling() {
    let site = Site::new().await;
    let session = site.open("sendorder-scheduling.py").await;
    let mut first = open_bi(&session, &[5; 300]).await;
    first.send.finish().unwrap();
    let counts: Value = serde_json::from_slice(&read(&mut first.recv).await).unwrap();
    assert_eq!(counts, json!({ "5": 300 }));
    let mut second = open_bi(&session, &[200; 40_000]).await;
    second.send.finish().unwrap();
    let counts: Value = serde_json::from_slice(&read(&mut second.recv).await).unwrap();
    assert_eq!(counts, json!({ "5": 300, "200": 40_000 }));
}

#[tokio::test]
async fn stats_data_transfer() {
    let site = Site::new().await;
    let session = site.open("stats-data-transfer.py").await;
    let mut stream = within(session.accept_bi()).await.unwrap();
    assert_eq!(read(&mut stream.recv).await, [b'X'; 5000]);
    stream.send.write_all(&[1; 10_000]).await.unwrap();
    let mut ours = open_bi(&session, &[1; 10_000]).await;
    ours.send.finish().unwrap();
    within(ours.send.closed()).await.unwrap();
    session.send_datagram(b"d").unwrap();
    assert_eq!(&within(session.recv_datagram()).await.unwrap()[..], b"d");
}
