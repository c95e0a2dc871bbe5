//! The code of `docs/from-pywebtransport.md`, so that it keeps compiling. Made to be read there.

#![allow(
    dead_code,
    clippy::unused_async,
    reason = "these are pieces to show, not a program"
)]

use std::{error::Error, time::Duration};

use futures_util::StreamExt;
use tokio::io::{AsyncBufReadExt, BufReader};
use wt::{
    Accept, BiStream, Client, ClientConfig, ConnectError, ErrorCode, Event, Fault, Identity,
    ReadError, RecvStream, Server, ServerConfig, ServerVerification, Session, SessionError,
    SessionRequest, http::StatusCode,
};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

fn main() {
    println!("see docs/from-pywebtransport.md");
}

async fn client() -> Result {
    let client = Client::new(ClientConfig::new())?;
    let session = client
        .connect("https://example.com/chat?room=7")
        .header("authorization", "Bearer 5f1c")
        .timeout(Duration::from_secs(5))
        .await?;

    session.close(0, "done");
    client.close().await;
    Ok(())
}

async fn refused(client: Client) -> Result {
    match client.connect("https://example.com/secret").await {
        Err(error) if error.status() == Some(StatusCode::FORBIDDEN) => println!("not for us"),
        other => drop(other?),
    }
    Ok(())
}

fn verification(hash: &str) -> Result<ClientConfig> {
    let config =
        ClientConfig::new().with_verification(ServerVerification::Hashes(vec![hash.parse()?]));
    Ok(config)
}

fn roots() -> Result<ClientConfig> {
    let config =
        ClientConfig::new().with_verification(ServerVerification::roots_from_pem_file("ca.pem")?);
    Ok(config)
}

async fn server() -> Result {
    let identity = Identity::from_pem_files("cert.pem", "key.pem")?;
    let server = Server::bind(&ServerConfig::new(identity).with_bind(([0, 0, 0, 0], 4433).into()))?;
    while let Some(request) = server.accept().await {
        tokio::spawn(route(request));
    }

    server.close(Duration::from_secs(5)).await;
    Ok(())
}

async fn route(request: SessionRequest) {
    let answered = match request.path() {
        "/chat" => request.accept_with(Accept::new().protocol("chat-1")).await,
        _ => return drop(request.reject(StatusCode::NOT_FOUND)),
    };
    if let Ok(session) = answered {
        let end = serve(session).await;
        println!("{end}");
    }
}

async fn serve(session: Session) -> SessionError {
    session.closed().await
}

async fn streams(session: Session) -> Result {
    let mut stream = session.open_bi().await?;
    stream.send.write_all(b"question").await?;
    stream.send.finish()?;
    let answer = stream.recv.read_to_end(1 << 20).await?;
    println!("{} bytes", answer.len());
    Ok(())
}

async fn timeout(session: &Session) -> Result<BiStream> {
    let stream = tokio::time::timeout(Duration::from_secs(10), session.open_bi()).await??;
    Ok(stream)
}

async fn lines(stream: RecvStream) -> Result {
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next_line().await? {
        println!("{line}");
    }
    Ok(())
}

async fn resets(mut stream: BiStream) -> Result {
    match stream.recv.read_chunk(64 * 1024).await {
        Ok(Some(chunk)) => println!("{} bytes", chunk.len()),
        Ok(None) => println!("the end"),
        Err(ReadError::Reset(code)) => println!("reset with {:?}", code.to_application()),
        Err(error) => return Err(error.into()),
    }
    stream.abort(7);
    Ok(())
}

async fn datagrams(session: Session) -> Result {
    session.send_datagram(b"ping")?;
    let pong = session.recv_datagram().await?;
    println!(
        "{} of at most {:?} bytes",
        pong.len(),
        session.max_datagram_size()
    );
    Ok(())
}

async fn end(session: Session) {
    let end = session.closed().await;
    println!("code {:?}, reason {:?}", end.code(), end.reason());
}

fn codes() {
    let code = ErrorCode::from_application(42);
    assert_eq!(code.get(), 0x52e4_a40f_a906);
    assert_eq!(code.to_application(), Some(42));
}

fn certificate() -> Result {
    let identity = Identity::self_signed(["localhost", "127.0.0.1"])?;
    println!("{}", identity.certificate_hash());
    Ok(())
}

async fn events(session: Session) {
    let mut events = session.events();
    while let Some(Ok(event)) = events.next().await {
        match event {
            Event::StreamOpened { stream, .. } => println!("stream {stream}"),
            Event::SessionClosed { error, .. } => println!("closed: {error}"),
            other => println!("{other}"),
        }
    }
}

fn configuration() -> Result<ServerConfig> {
    let mut config = ServerConfig::for_development()?;
    config.limits.sessions_per_connection = 8;
    config.set("transport.idle_timeout", "60s")?;
    Ok(config.with_env()?)
}

fn errors(error: &ConnectError) {
    if error.is_retriable() {
        println!("{}: {error}; trying again", error.category());
    }
}
