//! Sends a file over a stream, shows how far it is, and checks that all of it arrived.
//!
//! ```console
//! $ cargo run -p wt --example file_transfer -- photo.jpg
//! sending photo.jpg, 3145728 bytes
//!  25 %
//!  50 %
//!  75 %
//! 100 %
//! received photo.jpg, 3145728 bytes in 0.04 s: the same bytes
//! ```
//!
//! Without a file it makes one up. Server and client are one program here, joined by loopback.

use std::{
    env,
    error::Error,
    fs,
    net::Ipv4Addr,
    path::Path,
    time::{Duration, Instant},
};

use wt::{
    BiStream, Client, ClientConfig, Identity, Server, ServerConfig, ServerVerification,
    core::bytes::Bytes,
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The largest name that the server reads, in bytes.
const NAME_LIMIT: usize = 256;

/// The largest file that the server takes, in bytes.
const FILE_LIMIT: usize = 64 * 1024 * 1024;

/// How much is written at a time.
const CHUNK: usize = 64 * 1024;

#[tokio::main]
async fn main() -> Result<()> {
    let (name, file) = match env::args().nth(1) {
        Some(path) => {
            let name = Path::new(&path)
                .file_name()
                .ok_or("not the name of a file")?;
            (
                name.to_string_lossy().into_owned(),
                Bytes::from(fs::read(&path)?),
            )
        }
        None => ("made-up.bin".to_owned(), made_up(3 * 1024 * 1024)),
    };

    let identity = Identity::self_signed(["localhost", "127.0.0.1"])?;
    let hash = identity.certificate_hash();
    let server =
        Server::bind(&ServerConfig::new(identity).with_bind((Ipv4Addr::LOCALHOST, 0).into()))?;
    let address = server.local_addr()?;
    let serving = tokio::spawn(async move {
        let received = serve(&server).await;
        // Clients hear what was said to them before the server goes.
        server.close(Duration::from_secs(5)).await;
        received
    });

    let trust = ServerVerification::Hashes(vec![hash]);
    let client = Client::new(ClientConfig::new().with_verification(trust))?;
    let session = client.connect(format!("https://{address}/upload")).await?;
    println!("sending {name}, {} bytes", file.len());
    let started = Instant::now();
    let answer = send(session.open_bi().await?, &name, &file).await?;
    let took = started.elapsed().as_secs_f64();
    session.close(0, "done");
    drop(session);
    client.close().await;

    let received = serving.await??;
    if answer != file.len().to_string() || received != file {
        return Err(
            format!("the server has other bytes than were sent; it said {answer:?}").into(),
        );
    }
    println!("received {name}, {answer} bytes in {took:.2} s: the same bytes");
    Ok(())
}

/// Sends the name of the file in a line, then its bytes, and returns the answer.
async fn send(mut stream: BiStream, name: &str, file: &Bytes) -> Result<String> {
    stream
        .send
        .write_all(format!("{name}\n").as_bytes())
        .await?;
    let (mut sent, mut shown) = (0, 0);
    while sent < file.len() {
        let chunk = file.slice(sent..file.len().min(sent + CHUNK));
        sent += chunk.len();
        // Waits as long as the server does not read: what is shown is what has left, or is about to.
        stream.send.write_chunk(chunk).await?;
        let percent = sent * 100 / file.len();
        if percent / 25 > shown {
            shown = percent / 25;
            println!("{:>3} %", shown * 25);
        }
    }
    stream.send.finish()?;
    let answer = stream.recv.read_to_end(NAME_LIMIT).await?;
    Ok(String::from_utf8(answer.to_vec())?)
}

/// Takes one file of one client, and says how many bytes it was.
async fn serve(server: &Server) -> Result<Bytes> {
    let request = server.accept().await.ok_or("no client came")?;
    let session = request.accept().await?;
    let mut stream = session.accept_bi().await?;
    let name = stream.recv.read_line(NAME_LIMIT).await?.ok_or("no name")?;
    let file = stream.recv.read_to_end(FILE_LIMIT).await?;
    let stats = stream.stats();
    println!("{name}: {} reads, {}", stats.reads.count, stats.state);
    stream
        .send
        .write_all(file.len().to_string().as_bytes())
        .await?;
    stream.send.finish()?;
    // The client closes the session when it has the answer.
    session.closed().await;
    Ok(file)
}

/// Bytes that tell their place.
fn made_up(len: usize) -> Bytes {
    (0..len)
        .map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8)
        .collect()
}
