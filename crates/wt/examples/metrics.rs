//! A server with metrics for Prometheus, which are fetched as Prometheus would.
//!
//! ```console
//! $ cargo run -p wt --features prometheus --example metrics
//! wt_handler_duration_seconds_count{route="/echo/{room}",outcome="returned"} 1
//! wt_handshakes_total{endpoint="game",dialect="draft-15/16",outcome="established"} 1
//! wt_streams_total{endpoint="game",by="peer"} 1
//! ```

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use wt::{
    Client, ClientConfig, Identity, ServerApp, ServerConfig, ServerVerification, Session,
    monitor::{
        http::{HttpConfig, HttpListener, Pages},
        metrics::{Exporter, Prometheus},
    },
    server::BoxError,
};

/// Sends streams back. The end of the session ends the handler.
async fn echo(session: Session) -> Result<(), BoxError> {
    while let Ok(mut stream) = session.accept_bi().await {
        tokio::io::copy(&mut stream.recv, &mut stream.send).await?;
        stream.send.finish()?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let identity = Identity::self_signed(["localhost", "127.0.0.1"])?;
    let hash = identity.certificate_hash();
    let config = ServerConfig::new(identity).with_bind(([127, 0, 0, 1], 0).into());

    // These five are all that it takes. A real one has a port of its choice.
    let prometheus = Prometheus::install()?;
    let app = ServerApp::new(config)
        .route("/echo/{room}", echo)
        .start()
        .await?;
    let publishing = Exporter::new()
        .endpoint("game", app.server().endpoint().clone())
        .start()?;
    let pages = Pages::new().metrics(&prometheus);
    let listener = HttpListener::bind("127.0.0.1:0".parse()?, pages, HttpConfig::default()).await?;

    let verification = ServerVerification::Hashes(vec![hash]);
    let client = Client::new(ClientConfig::new().with_verification(verification))?;
    let session = client
        .connect(format!("https://{}/echo/lobby", app.local_addr()?))
        .await?;
    let mut stream = session.open_bi().await?;
    stream.send.write_all(b"hello").await?;
    stream.send.finish()?;
    stream.recv.read_to_end(1024).await?;
    session.close(0, "done");
    client.close().await;
    app.shut_down().await?;

    // So that nobody has to wait for the next interval.
    publishing.stop().await;
    let mut page = TcpStream::connect(listener.local_addr()).await?;
    page.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await?;
    let mut text = String::new();
    page.read_to_string(&mut text).await?;
    let shown = |line: &&str| {
        [
            "wt_handler_duration_seconds_count",
            "wt_handshakes_total",
            "wt_streams_total",
        ]
        .iter()
        .any(|name| line.starts_with(name) && !line.ends_with(" 0"))
    };
    let mut lines: Vec<_> = text.lines().filter(shown).collect();
    lines.sort_unstable();
    for line in &lines {
        println!("{line}");
    }
    if lines.len() != 3 {
        return Err(format!("three metrics should have changed:\n{text}").into());
    }
    listener.close().await;
    Ok(())
}
