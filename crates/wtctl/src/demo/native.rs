//! The native part: a client through everything that the stack does.

use std::time::Duration;

use tokio::time::timeout;
use wt::{CertificateHash, Client, ClientConfig, ServerVerification, Session};

use super::{
    PROTOCOL,
    report::{Failed, Outcome, Problem, Report},
};

/// Bytes of the echo on a bidirectional stream.
const BIDI: usize = 1024 * 1024;

/// Bytes of the echo on unidirectional streams.
const UNI: usize = 64 * 1024;

/// Datagrams that are sent; most of them have to come back, all of them do on loopback.
const DATAGRAMS: usize = 100;

/// How long the next datagram may take before it counts as lost.
const LOST_AFTER: Duration = Duration::from_millis(500);

/// Takes a client through all steps.
pub(super) async fn run(report: &Report, url: &str, hash: CertificateHash) -> Result<(), Failed> {
    let client = report.step("client", async { client(hash) }).await?;
    let session = report.step("session", connect(&client, url)).await?;
    report
        .step("subprotocol", async { subprotocol(&session) })
        .await?;
    report.step("bidirectional stream", bidi(&session)).await?;
    report.step("unidirectional stream", uni(&session)).await?;
    report.step("datagrams", datagrams(&session)).await?;
    let second = report
        .step("second session", second(&client, url, &session))
        .await?;
    report.step("both at once", both(&session, &second)).await?;
    report
        .step("close by the server", server_closes(&client, url))
        .await?;
    report
        .step("close by the client", close(client, session, second))
        .await
}

fn client(hash: CertificateHash) -> Outcome<Client> {
    let trust = ServerVerification::Hashes(vec![hash]);
    let client = Client::new(ClientConfig::new().with_verification(trust))?.with_pooling(true);
    Ok((
        client,
        "trusts the certificate by its hash alone".to_owned(),
    ))
}

async fn connect(client: &Client, url: &str) -> Outcome<Session> {
    let connect = client.connect(format!("{url}echo"));
    let session = connect.protocols(["not-spoken-here", PROTOCOL]).await?;
    let detail = format!(
        "is open: QUIC, TLS 1.3, HTTP/3, WebTransport {}",
        session.dialect()
    );
    Ok((session, detail))
}

fn subprotocol(session: &Session) -> Outcome<()> {
    match session.protocol() {
        Some(PROTOCOL) => Ok(((), format!("{PROTOCOL}, the second of two offered"))),
        other => Err(format!("the server chose {other:?}").into()),
    }
}

/// Returns bytes that differ from place to place.
fn pattern(len: usize) -> Vec<u8> {
    let bytes = (0..len as u32).map(|i| i.wrapping_mul(0x9e37_79b9).to_be_bytes()[0]);
    bytes.collect()
}

async fn echo(session: &Session, bytes: &[u8]) -> Result<(), Problem> {
    let (mut send, mut recv) = session.open_bi().await?.split();
    let write = async {
        send.write_all(bytes).await?;
        send.finish()
    };
    let (written, read) = tokio::join!(write, recv.read_to_end(bytes.len()));
    written?;
    same(&read?, bytes)
}

fn same(got: &[u8], sent: &[u8]) -> Result<(), Problem> {
    if got == sent {
        return Ok(());
    }
    Err(format!(
        "{} bytes came back for {}, or others",
        got.len(),
        sent.len()
    )
    .into())
}

async fn bidi(session: &Session) -> Outcome<()> {
    echo(session, &pattern(BIDI)).await?;
    Ok(((), format!("{} KiB there and back", BIDI / 1024)))
}

async fn uni(session: &Session) -> Outcome<()> {
    let bytes = pattern(UNI);
    let mut send = session.open_uni().await?;
    let write = async {
        send.write_all(&bytes).await?;
        Ok::<_, Problem>(send.finish()?)
    };
    let read = async {
        let mut recv = session.accept_uni().await?;
        Ok::<_, Problem>(recv.read_to_end(UNI).await?)
    };
    let ((), got) = tokio::try_join!(write, read)?;
    same(&got, &bytes)?;
    Ok(((), format!("{} KiB there, and back on another", UNI / 1024)))
}

async fn datagrams(session: &Session) -> Outcome<()> {
    let mut seen = [false; DATAGRAMS];
    for number in 0..DATAGRAMS {
        session
            .send_datagram_wait((number as u32).to_be_bytes())
            .await?;
    }
    while let Ok(datagram) = timeout(LOST_AFTER, session.recv_datagram()).await {
        let number = <[u8; 4]>::try_from(&datagram?[..]).map(u32::from_be_bytes)?;
        if let Some(seen) = seen.get_mut(number as usize) {
            *seen = true;
        }
        if seen.iter().all(|seen| *seen) {
            break;
        }
    }
    let back = seen.iter().filter(|seen| **seen).count();
    let detail = format!("{back} of {DATAGRAMS} came back");
    if back < DATAGRAMS / 2 {
        return Err(detail.into());
    }
    Ok(((), detail))
}

async fn second(client: &Client, url: &str, first: &Session) -> Outcome<Session> {
    let session = client.connect(format!("{url}echo/second")).await?;
    if session.connection().stable_id() != first.connection().stable_id() {
        return Err("it got a connection of its own".into());
    }
    Ok((session, "shares the connection".to_owned()))
}

async fn both(first: &Session, second: &Session) -> Outcome<()> {
    let bytes = pattern(UNI);
    tokio::try_join!(echo(first, &bytes), echo(second, &bytes))?;
    Ok(((), format!("{} KiB there and back on each", UNI / 1024)))
}

async fn server_closes(client: &Client, url: &str) -> Outcome<()> {
    let session = client
        .connect(format!("{url}close?code=42&reason=see%20you"))
        .await?;
    let end = session.closed().await;
    if end.is_closed_by_peer() && end.code() == Some(42) && end.reason() == "see you" {
        return Ok((
            (),
            "code 42, reason \"see you\"; the others go on".to_owned(),
        ));
    }
    Err(end.into())
}

async fn close(client: Client, first: Session, second: Session) -> Outcome<()> {
    // It closes both sessions and ends when the server knows.
    let connection = first.connection();
    connection.close(0, "the demo is over").await;
    let (first, second) = (first.closed().await, second.closed().await);
    if !(first.is_closed_locally() && second.is_closed_locally()) {
        return Err(first.into());
    }
    let end = connection.closed().await;
    client.close().await;
    if end.is_graceful() {
        return Ok(((), "code 0; the connection ended in order".to_owned()));
    }
    Err(end.into())
}
