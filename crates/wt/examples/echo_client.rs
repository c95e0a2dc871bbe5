//! Sends a line over each kind of stream and as a datagram, and prints what comes back.
//!
//! ```console
//! $ cargo run -p wt --example echo_client -- https://127.0.0.1:4433/ 5f1c...
//! bidirectional stream: hello
//! unidirectional streams: hello
//! datagram: hello
//! ```
//!
//! Without a hash the certificate has to lead to a root of the system, as on the public web.

use std::{env, error::Error};

use wt::{Client, ClientConfig, ServerVerification};

const LIMIT: usize = 64 * 1024;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let url = args.next().ok_or("usage: echo_client URL [HASH]")?;
    let mut config = ClientConfig::new();
    if let Some(hash) = args.next() {
        config = config.with_verification(ServerVerification::Hashes(vec![hash.parse()?]));
    }
    let client = Client::new(config)?;
    let session = client.connect(url).await?;

    let mut stream = session.open_bi().await?;
    stream.send.write_all(b"hello").await?;
    stream.send.finish()?;
    let answer = stream.recv.read_to_end(LIMIT).await?;
    println!("bidirectional stream: {}", String::from_utf8_lossy(&answer));

    let mut send = session.open_uni().await?;
    send.write_all(b"hello").await?;
    send.finish()?;
    let answer = session.accept_uni().await?.read_to_end(LIMIT).await?;
    println!(
        "unidirectional streams: {}",
        String::from_utf8_lossy(&answer)
    );

    // Datagrams may get lost anywhere but on this machine.
    session.send_datagram(b"hello")?;
    let answer = session.recv_datagram().await?;
    println!("datagram: {}", String::from_utf8_lossy(&answer));

    session.close(0, "done");
    drop(session);
    client.close().await;
    Ok(())
}
