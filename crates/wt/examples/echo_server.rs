//! Sends streams and datagrams back to whoever sent them.
//!
//! ```console
//! $ cargo run -p wt --example echo_server -- 127.0.0.1:4433
//! listening on 127.0.0.1:4433, try
//!   cargo run -p wt --example echo_client -- https://127.0.0.1:4433/ 5f1c...
//! ```
//!
//! The address may be left out. The certificate is a new one each time: clients trust it by its
//! hash, and so do browsers (`serverCertificateHashes`).

use std::{env, error::Error, net::SocketAddr};

use wt::{BiStream, Identity, IncomingStream, RecvStream, Server, ServerConfig, Session};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let address: SocketAddr = match env::args().nth(1) {
        Some(address) => address.parse()?,
        None => ([127, 0, 0, 1], 4433).into(),
    };
    let identity = Identity::self_signed(["localhost", "127.0.0.1", "::1"])?;
    let hash = identity.certificate_hash();
    let server = Server::bind(&ServerConfig::new(identity).with_bind(address))?;
    let address = server.local_addr()?;
    println!("listening on {address}, try");
    println!("  cargo run -p wt --example echo_client -- https://{address}/ {hash}");

    while let Some(request) = server.accept().await {
        tokio::spawn(async move {
            println!("{} asks for {}", request.remote_address(), request.path());
            match request.accept().await {
                Ok(session) => println!("{}", serve(session).await),
                Err(error) => println!("not accepted: {error}"),
            }
        });
    }
    Ok(())
}

/// Echoes until the session ends, and says how it ended.
async fn serve(session: Session) -> wt::SessionError {
    loop {
        tokio::select! {
            stream = session.accept() => match stream {
                Ok(IncomingStream::Bi(stream)) => drop(tokio::spawn(echo(stream))),
                Ok(IncomingStream::Uni(stream)) => drop(tokio::spawn(answer(session.clone(), stream))),
                Ok(_) => {}
                Err(end) => return end,
            },
            datagram = session.recv_datagram() => match datagram {
                // A datagram that cannot be sent is one that got lost.
                Ok(datagram) => drop(session.send_datagram(datagram)),
                Err(end) => return end,
            },
        }
    }
}

/// Sends the bytes of a stream back on it.
async fn echo(mut stream: BiStream) -> Result<()> {
    // After an error the stream is dropped, which resets it: the peer sees no clean end.
    tokio::io::copy(&mut stream.recv, &mut stream.send).await?;
    Ok(stream.send.finish()?)
}

/// Sends the bytes of a one-way stream back on one of our own.
async fn answer(session: Session, mut stream: RecvStream) -> Result<()> {
    let mut back = session.open_uni().await?;
    tokio::io::copy(&mut stream, &mut back).await?;
    Ok(back.finish()?)
}
