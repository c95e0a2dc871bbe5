//! Messages in datagrams over a link that loses a tenth of all packets: each arrives, or its sender learns that it
//! did not.
//!
//! ```console
//! $ cargo run -p wt --example reliable_datagrams --features datagram
//! ```
//!
//! Client, server and the bad link between them run in this one process, on loopback.

use std::{
    error::Error,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::net::UdpSocket;
use wt::{
    Client, ClientConfig, Identity, Server, ServerConfig, ServerVerification, Session,
    datagram::{DatagramTransport, ReliabilityLayer, reliability::ReliabilityConfig},
};

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const MESSAGES: usize = 100;

#[tokio::main]
async fn main() -> Result {
    let identity = Identity::self_signed(["127.0.0.1"])?;
    let trust = ServerVerification::Hashes(vec![identity.certificate_hash()]);
    let server = Server::bind(&ServerConfig::new(identity).with_bind(([127, 0, 0, 1], 0).into()))?;
    let link = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("https://{}/", link.local_addr()?);
    let link = tokio::spawn(lose_packets(link, server.local_addr()?));

    let serving = tokio::spawn(serve(server));
    let client = Client::new(ClientConfig::new().with_verification(trust))?;
    let session = client.connect(url).await?;
    send(session.clone()).await?;
    session.close(0, "done");
    drop(session);

    let arrived = serving.await??;
    println!("{arrived} of {MESSAGES} messages arrived, in order");
    client.close().await;
    link.abort();
    Ok(())
}

/// Serves one client.
async fn serve(server: Server) -> Result<usize> {
    let request = server.accept().await.ok_or("the server was closed")?;
    let arrived = receive(request.accept().await?).await?;
    server.close(Duration::from_secs(1)).await;
    Ok(arrived)
}

/// Sends all messages, then asks what became of each.
async fn send(session: Session) -> Result {
    let layer = ReliabilityLayer::new(DatagramTransport::new(session)?)?;
    let mut deliveries = Vec::new();
    for n in 0..MESSAGES {
        deliveries.push(layer.send(format!("message {n}")).await?);
    }
    let mut slowest = Duration::ZERO;
    for (n, delivery) in deliveries.into_iter().enumerate() {
        match delivery.await {
            Ok(delivered) => slowest = slowest.max(delivered.time),
            Err(error) => println!("message {n}: {error}"),
        }
    }
    let stats = layer.stats();
    println!(
        "sent {} messages, {} of them again; round trip {:?}, the slowest took {slowest:?}",
        stats.sent, stats.retransmissions, stats.round_trip
    );
    Ok(())
}

/// Receives the messages in the order in which they were sent.
async fn receive(session: Session) -> Result<usize> {
    let config = ReliabilityConfig::new().with_ordered(true);
    let layer = ReliabilityLayer::with_config(DatagramTransport::new(session)?, &config)?;
    for n in 0..MESSAGES {
        let message = layer.receive().await?;
        if message != format!("message {n}") {
            return Err(format!("{message:?} in place of message {n}").into());
        }
    }
    // The last acknowledgements may be lost like anything else: stay until the sender leaves.
    let _ = layer.receive().await;
    Ok(MESSAGES)
}

/// A link between one client and the server that loses a tenth of all packets.
async fn lose_packets(front: UdpSocket, server: SocketAddr) -> Result {
    let back = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let (mut there, mut here) = ([0; 2048], [0; 2048]);
    let mut client = None;
    let mut lots = 1_u64;
    loop {
        let (packet, socket, to) = tokio::select! {
            received = front.recv_from(&mut there) => {
                let (len, from) = received?;
                client = Some(from);
                (&there[..len], &back, server)
            }
            received = back.recv_from(&mut here) => {
                let (len, _) = received?;
                let Some(client) = client else { continue };
                (&here[..len], &front, client)
            }
        };
        lots = lots
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        if !(lots >> 33).is_multiple_of(10) {
            socket.send_to(packet, to).await?;
        }
    }
}
