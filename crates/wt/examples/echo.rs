//! An echo server and its client, in one process.
//!
//! ```console
//! $ cargo run -p wt --example echo
//! stream: hello
//! datagram: hello
//! ```

use wt::{
    Client, ClientConfig, Identity, ServerApp, ServerConfig, ServerVerification, Session,
    server::BoxError,
};

/// Sends streams and datagrams back. The end of the session ends the handler, by an error.
async fn echo(session: Session) -> Result<(), BoxError> {
    loop {
        tokio::select! {
            stream = session.accept_bi() => {
                let mut stream = stream?;
                tokio::io::copy(&mut stream.recv, &mut stream.send).await?;
                stream.send.finish()?;
            }
            datagram = session.recv_datagram() => session.send_datagram(datagram?)?,
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let identity = Identity::self_signed(["localhost", "127.0.0.1"])?;
    let hash = identity.certificate_hash();
    let config = ServerConfig::new(identity).with_bind(([127, 0, 0, 1], 0).into());
    let running = ServerApp::new(config).route("/echo", echo).start().await?;

    let verification = ServerVerification::Hashes(vec![hash]);
    let client = Client::new(ClientConfig::new().with_verification(verification))?;
    let url = format!("https://{}/echo", running.local_addr()?);
    let session = client.connect(url).await?;

    let mut stream = session.open_bi().await?;
    stream.send.write_all(b"hello").await?;
    stream.send.finish()?;
    let answer = stream.recv.read_to_end(1024).await?;
    println!("stream: {}", String::from_utf8_lossy(&answer));

    session.send_datagram("hello")?;
    let answer = session.recv_datagram().await?;
    println!("datagram: {}", String::from_utf8_lossy(&answer));

    session.close(0, "done");
    client.close().await;
    Ok(running.shut_down().await?)
}
