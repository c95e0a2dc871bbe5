//! Our client and our server with a bad network between them.
//!
//! The network draws its lots from a seed, which is printed when a test fails; `FAULTS_SEED` in the environment runs
//! the tests with another one. Contents are checked byte by byte.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    env,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use wt::{
    Client, ClientConfig, ConnectionError, Identity, Server, ServerConfig, ServerVerification,
    Session, SessionError,
};
use wt_tests::{
    proxy::{Faults, Proxy},
    raw::{within, within_time},
};

/// A test has to be over in this time.
const LONG: Duration = Duration::from_secs(60);

/// Losses in both directions, in 1000 packets.
const LOSSES: [u32; 3] = [0, 10, 100];

fn seed() -> u64 {
    env::var("FAULTS_SEED").map_or(0x5eed, |seed| seed.parse().unwrap())
}

fn faults(lost: u32) -> Faults {
    Faults {
        lost,
        doubled: 20,
        late: 20,
        delay: Duration::ZERO,
    }
}

/// A hundred milliseconds there and a hundred back.
const FAR: Faults = Faults {
    lost: 10,
    doubled: 0,
    late: 10,
    delay: Duration::from_millis(100),
};

/// Both ends of a session, and what is between them.
struct Scene {
    proxy: Proxy,
    client: Client,
    server: Server,
    near: Session,
    far: Session,
}

impl Scene {
    async fn new(faults: Faults) -> Self {
        Self::with(faults, |_| {}).await
    }

    async fn with(faults: Faults, configure: impl FnOnce(&mut ServerConfig)) -> Self {
        let identity = Identity::self_signed(["127.0.0.1"]).unwrap();
        let verification = ServerVerification::Hashes(vec![identity.certificate_hash()]);
        let mut config = ServerConfig::new(identity).with_bind(([127, 0, 0, 1], 0).into());
        configure(&mut config);
        let server = Server::bind(&config).unwrap();
        let port = server.local_addr().unwrap().port();
        let proxy = Proxy::start(port, faults, seed()).await;
        let client = Client::new(ClientConfig::new().with_verification(verification)).unwrap();
        let connect = client.connect(format!("https://127.0.0.1:{}/", proxy.port));
        let (near, far) = within_time(LONG, "a session", async {
            tokio::join!(async { connect.await.unwrap() }, async {
                server.accept().await.unwrap().accept().await.unwrap()
            },)
        })
        .await;
        Self {
            proxy,
            client,
            server,
            near,
            far,
        }
    }

    /// Asserts that the network did what it was told.
    fn assert_lossy(&self, lost: u32) {
        let (seen, gone) = self.proxy.counts();
        eprintln!("{gone} of {seen} packets were lost");
        // Of few packets it may have lost none.
        if u64::from(lost) * seen >= 10_000 {
            assert!(gone > 0, "no packet of {seen} was lost");
        }
        assert!(lost > 0 || gone == 0, "{gone} packets were lost");
    }
}

/// Bytes that differ from stream to stream and from place to place.
fn body(n: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251 + n * 7) as u8).collect()
}

/// Echoes the bidirectional streams of a session.
async fn echo(session: Session) {
    while let Ok(stream) = session.accept_bi().await {
        tokio::spawn(async move {
            let (mut send, mut recv) = stream.split();
            while let Ok(Some(chunk)) = recv.read_chunk(usize::MAX).await {
                if send.write_chunk(chunk).await.is_err() {
                    return;
                }
            }
            let _ = send.finish();
        });
    }
}

/// Sends `len` bytes on each of `count` streams at once, and asserts that they come back.
async fn assert_echoes(session: &Session, count: usize, len: usize) {
    let mut tasks = JoinSet::new();
    for n in 0..count {
        let session = session.clone();
        tasks.spawn(async move {
            let (mut send, mut recv) = session.open_bi().await.unwrap().split();
            let sent = body(n, len);
            let write = async {
                send.write_all(&sent).await.unwrap();
                send.finish().unwrap();
            };
            let ((), read) = tokio::join!(write, recv.read_to_end(len));
            assert!(read.unwrap() == sent, "stream {n} of {len} bytes");
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_arrive_whole() {
    for lost in LOSSES {
        let scene = Scene::new(faults(lost)).await;
        tokio::spawn(echo(scene.far.clone()));
        within_time(LONG, "the echoes", async {
            assert_echoes(&scene.near, 50, 1000).await;
            assert_echoes(&scene.near, 20, 20_000).await;
            assert_echoes(&scene.near, 2, 300_000).await;
        })
        .await;
        scene.assert_lossy(lost);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unidirectional_streams_arrive_once() {
    for lost in LOSSES {
        let scene = Scene::new(faults(lost)).await;
        let near = scene.near.clone();
        let sender = tokio::spawn(async move {
            for n in 0..200_usize {
                let mut send = near.open_uni().await.unwrap();
                send.write_all(&n.to_be_bytes()).await.unwrap();
                send.write_all(&body(n, 500)).await.unwrap();
                send.finish().unwrap();
            }
        });
        within_time(LONG, "the streams", async {
            let mut seen = [false; 200];
            for _ in 0..200 {
                let mut stream = scene.far.accept_uni().await.unwrap();
                let read = stream.read_to_end(1000).await.unwrap();
                let n = usize::from_be_bytes(read[..8].try_into().unwrap());
                assert!(read[8..] == body(n, 500), "stream {n}");
                assert!(!std::mem::replace(&mut seen[n], true), "stream {n} twice");
            }
            sender.await.unwrap();
        })
        .await;
        scene.assert_lossy(lost);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_arrive_whole_and_most_of_them() {
    const SENT: usize = 500;
    for lost in LOSSES {
        let scene = Scene::new(faults(lost)).await;
        let near = scene.near.clone();
        let sender = tokio::spawn(async move {
            for n in 0..SENT {
                let datagram = [&n.to_be_bytes()[..], &body(n, 300)].concat();
                near.send_datagram_wait(&datagram).await.unwrap();
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
            // A stream tells that there are no more; what comes later than this is late.
            let mut send = near.open_uni().await.unwrap();
            send.write_all(b"end").await.unwrap();
            send.finish().unwrap();
        });
        let mut seen = vec![0; SENT];
        within_time(LONG, "the datagrams", async {
            let end = async {
                scene
                    .far
                    .accept_uni()
                    .await
                    .unwrap()
                    .read_to_end(3)
                    .await
                    .unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
            };
            let collect = async {
                loop {
                    let datagram = scene.far.recv_datagram().await.unwrap();
                    let n = usize::from_be_bytes(datagram[..8].try_into().unwrap());
                    assert!(datagram[8..] == body(n, 300), "datagram {n}");
                    seen[n] += 1;
                }
            };
            tokio::select! { () = end => {}, () = collect => {} }
            sender.await.unwrap();
        })
        .await;
        // QUIC drops packets that come twice.
        assert!(seen.iter().all(|times| *times <= 1));
        let arrived = seen.iter().sum::<usize>();
        let expected = SENT * (1000 - lost as usize) / 1000;
        eprintln!("{arrived} of {SENT} datagrams arrived");
        assert!(
            arrived + SENT / 10 >= expected,
            "only {arrived} of {SENT} datagrams"
        );
        scene.assert_lossy(lost);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn closes_and_drains_arrive() {
    for lost in LOSSES {
        for by_server in [false, true] {
            let scene = Scene::new(faults(lost)).await;
            let (here, there) = if by_server {
                (&scene.far, &scene.near)
            } else {
                (&scene.near, &scene.far)
            };
            within_time(LONG, "the end", async {
                here.drain();
                there.draining().await.unwrap();
                // A session that drains goes on.
                let mut send = there.open_uni().await.unwrap();
                send.write_all(b"still").await.unwrap();
                send.finish().unwrap();
                let mut recv = here.accept_uni().await.unwrap();
                assert_eq!(recv.read_to_end(10).await.unwrap(), b"still"[..]);
                here.close(77, "enough");
                let end = there.closed().await;
                assert!(end.is_closed_by_peer(), "{end}");
                assert_eq!((end.code(), end.reason()), (Some(77), "enough"));
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn resets_and_stops_carry_their_codes() {
    for lost in LOSSES {
        let scene = Scene::new(faults(lost)).await;
        within_time(LONG, "the codes", async {
            for code in [0, 30, 255, 70_000, u32::MAX] {
                let mut near = scene.near.open_bi().await.unwrap();
                near.send.write_all(b"x").await.unwrap();
                let mut far = scene.far.accept_bi().await.unwrap();
                far.recv.read_exact(&mut [0]).await.unwrap();
                near.send.reset(code);
                let error = far.recv.read(&mut [0]).await.unwrap_err();
                assert_eq!(error.code(), Some(code), "{error}");
                near.recv.stop(code);
                let stopped = far.send.stopped().await.unwrap().unwrap();
                assert_eq!(stopped.to_application(), Some(code));
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_shuts_down_tells_everybody() {
    for lost in LOSSES {
        let scene = Scene::new(faults(lost)).await;
        let near = scene.near.clone();
        let watching = tokio::spawn(async move {
            near.draining().await.unwrap();
            near.closed().await
        });
        within_time(
            LONG,
            "the shutdown",
            scene.server.close(Duration::from_secs(4)),
        )
        .await;
        let end = within("the end", watching).await.unwrap();
        assert!(end.is_closed_by_peer(), "{end}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_of_200_milliseconds() {
    let scene = Scene::new(FAR).await;
    tokio::spawn(echo(scene.far.clone()));
    within_time(LONG, "streams", async {
        assert_echoes(&scene.near, 20, 1000).await;
        assert_echoes(&scene.near, 2, 40_000).await;
    })
    .await;
    let rtt = scene.near.connection().stats().rtt;
    assert!(rtt >= Duration::from_millis(190), "{rtt:?}");
    within_time(LONG, "a datagram", async {
        loop {
            // One in a hundred is lost.
            scene.near.send_datagram(b"far").unwrap();
            let answer = scene.far.recv_datagram();
            if let Ok(datagram) = tokio::time::timeout(Duration::from_secs(1), answer).await {
                assert_eq!(datagram.unwrap(), b"far"[..]);
                break;
            }
        }
        scene.near.close(5, "far away");
        let end = scene.far.closed().await;
        assert_eq!((end.code(), end.reason()), (Some(5), "far away"));
    })
    .await;
}

/// Has a session with a window of 1 MiB read until its window is wider, or at most so many bytes; returns how many it
/// read, and the window.
///
/// Over a path with a length, which decides what a session can use; on loopback all that the machine does changes it.
async fn window_after(auto_scale: bool, most: usize) -> (usize, u64) {
    let far = Faults {
        delay: Duration::from_millis(10),
        ..Faults::default()
    };
    let scene = Scene::with(far, |config| {
        config.session.max_data = 1 << 20;
        config.session.auto_scale = auto_scale;
    })
    .await;
    let window = || scene.far.stats().recv_window.unwrap();
    assert_eq!(window(), 1 << 20);
    let mut send = scene.near.open_uni().await.unwrap();
    let writing = tokio::spawn(async move {
        // Until the reader has seen enough.
        while send.write_all(&[7; 1 << 16]).await.is_ok() {}
    });
    let mut read = 0;
    within_time(LONG, "all reads", async {
        let mut recv = scene.far.accept_uni().await.unwrap();
        while window() == 1 << 20 && read < most {
            read += recv.read_chunk(1 << 16).await.unwrap().unwrap().len();
        }
    })
    .await;
    within_time(LONG, "the end", writing).await.unwrap();
    (read, window())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_of_a_session_grows_with_a_quick_reader() {
    let (read, window) = window_after(true, usize::MAX).await;
    assert!(window > 1 << 20);
    // Another session can still come.
    let most = ServerConfig::new(Identity::self_signed(["127.0.0.1"]).unwrap())
        .transport
        .receive_window
        / 2;
    assert!(window <= most, "{window} of {most}");
    // Where it may not grow it does not, though it could have more than once.
    assert_eq!(window_after(false, 3 * read).await.1, 1 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_cut_for_a_moment() {
    let scene = Scene::new(faults(0)).await;
    tokio::spawn(echo(scene.far.clone()));
    let stream = scene.near.open_bi().await.unwrap();
    let (mut send, mut recv) = stream.split();
    within_time(LONG, "the echo", async {
        send.write_all(b"before").await.unwrap();
        recv.read_exact(&mut [0; 6]).await.unwrap();
        scene.proxy.cut(true);
        send.write_all(b"meanwhile").await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        scene.proxy.cut(false);
        let mut read = [0; 9];
        recv.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"meanwhile");
        assert_echoes(&scene.near, 10, 10_000).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_cut_for_good() {
    let idle = Duration::from_secs(2);
    let scene = Scene::with(faults(0), |config| {
        config.transport.idle_timeout = Some(idle)
    })
    .await;
    let stream = scene.near.open_bi().await.unwrap();
    let (mut send, mut recv) = stream.split();
    send.write_all(b"x").await.unwrap();
    let mut far = scene.far.accept_bi().await.unwrap();
    scene.proxy.cut(true);
    let mut byte = [0];
    // Everything that waits comes to an end, at both ends, and says why.
    let lost = SessionError::Connection(ConnectionError::TimedOut);
    let (near_end, far_end, read, written, accepted, datagram) =
        within_time(LONG, "the time limit", async {
            tokio::join!(
                scene.near.closed(),
                scene.far.closed(),
                recv.read(&mut byte),
                send.stopped(),
                scene.near.accept_uni(),
                scene.far.recv_datagram(),
            )
        })
        .await;
    assert_eq!(near_end, lost);
    assert_eq!(far_end, lost);
    assert!(read.is_err());
    assert!(written.is_err());
    assert_eq!(accepted.unwrap_err(), lost);
    assert_eq!(datagram.unwrap_err(), lost);
    assert!(far.send.write_all(b"x").await.is_err());
    // Its own connection is all that a client loses.
    scene.proxy.cut(false);
    let again = scene
        .client
        .connect(format!("https://127.0.0.1:{}/", scene.proxy.port));
    let (again, _far) = within("another session", async {
        tokio::join!(again.into_future(), async {
            scene.server.accept().await.unwrap().accept().await.unwrap()
        })
    })
    .await;
    again.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_session_saves_a_round_trip() {
    let far = Faults {
        lost: 0,
        late: 0,
        ..FAR
    };
    let scene = Scene::new(far).await;
    let round_trip = 2 * FAR.delay;
    let server = scene.server.clone();
    tokio::spawn(async move {
        while let Some(request) = server.accept().await {
            tokio::spawn(async move { echo(request.accept().await.unwrap()).await });
        }
    });
    let url = format!("https://127.0.0.1:{}/", scene.proxy.port);
    // The shortest of each: on a busy machine anything may take longer.
    let [mut waited, mut shortest] = [Duration::MAX; 2];
    for early in [false, true].repeat(3) {
        let start = Instant::now();
        within_time(LONG, "an answer", async {
            let session = scene.client.connect(&url).early(early).await.unwrap();
            let mut stream = session.open_bi().await.unwrap();
            stream.send.write_all(b"first").await.unwrap();
            stream.send.finish().unwrap();
            assert_eq!(stream.recv.read_to_end(10).await.unwrap(), "first");
        })
        .await;
        let time = if early { &mut shortest } else { &mut waited };
        *time = start.elapsed().min(*time);
    }
    // QUIC and TLS take one, the request another; only who waits for its answer needs a third.
    assert!(waited >= 3 * round_trip, "{waited:?}");
    assert!(shortest >= 2 * round_trip, "{shortest:?}");
    assert!(shortest < 3 * round_trip, "{shortest:?}");
}
