//! Floods: what a client holds in memory under much that means nothing.

use wt_tests::{
    raw::{self, Raw, RawServer, megabyte, wire, within_time},
    target::Target,
};

use crate::{LONG, TARGET};

/// A client of its own process, whose memory can be measured.
struct Measured {
    client: Target,
    raw: Raw,
    control: quinn::SendStream,
    sessions: Vec<raw::Session>,
    _server: RawServer,
}

impl Measured {
    async fn new() -> Self {
        let server = RawServer::start();
        let client = Target::start(TARGET, &[&format!("connect={}", server.port)]);
        let raw = server.accept().await;
        let control = raw
            .uni(&[vec![0], wire::settings(wire::SERVER_SETTINGS)].concat())
            .await;
        let sessions = vec![raw.accept_session().await, raw.accept_session().await];
        Self {
            client,
            raw,
            control,
            sessions,
            _server: server,
        }
    }

    /// Asserts that both sessions echo, and that the client did not grow beyond `mib` MiB.
    async fn assert_unharmed(&mut self, mib: u64) {
        for session in &self.sessions {
            self.raw.echo(session.id, b"still here").await;
        }
        self.client
            .until(raw::WAIT, |facts| facts.sessions == 2)
            .await;
        self.client.assert_grown_at_most(mib);
    }
}

#[tokio::test]
async fn a_client_under_megabytes_without_meaning() {
    let mut scene = Measured::new().await;
    let megabyte = megabyte();
    within_time(LONG, "the megabytes", async {
        scene
            .control
            .write_all(&wire::head(0x21, 100 << 20))
            .await
            .unwrap();
        let connect = &mut scene.sessions[0].send;
        connect
            .write_all(&wire::head(0x21, 100 << 20))
            .await
            .unwrap();
        for _ in 0..100 {
            scene.control.write_chunk(megabyte.clone()).await.unwrap();
            connect.write_chunk(megabyte.clone()).await.unwrap();
        }
        let capsule = wire::frame(wire::DATA, &wire::head(0x21, 1 << 30));
        connect.write_all(&capsule).await.unwrap();
        for _ in 0..100 {
            connect
                .write_all(&wire::head(wire::DATA, 1 << 20))
                .await
                .unwrap();
            connect.write_chunk(megabyte.clone()).await.unwrap();
        }
    })
    .await;
    scene.assert_unharmed(24).await;
}

#[tokio::test]
async fn a_client_under_streams_and_datagrams() {
    let mut scene = Measured::new().await;
    let id = scene.sessions[0].id;
    let code = quinn::VarInt::from_u32(7);
    within_time(LONG, "the storm", async {
        for n in 0..10_000_u64 {
            match n % 4 {
                0 => drop(
                    scene
                        .raw
                        .uni(&wire::stream(wire::WT_UNI, id, b"x"))
                        .await
                        .reset(code),
                ),
                1 => {
                    let bytes = wire::stream(wire::WT_BIDI, 4000, b"x");
                    let (mut send, mut recv) = scene.raw.bi(&bytes).await;
                    let _ = (send.reset(code), recv.stop(code));
                }
                2 => drop(scene.raw.uni(&[0x40]).await.reset(code)),
                _ => drop(scene.raw.uni(&wire::varints(&[0x21, n])).await.finish()),
            }
            let session = [id, 4000][n as usize % 2];
            scene
                .raw
                .datagram(wire::datagram(session, &[0; 1000]))
                .await;
        }
    })
    .await;
    scene.assert_unharmed(24).await;
}
