//! The client's part.

use url::Url;
use wt::core::ConnectionError;
use wt::{Client, ClientConfig, ServerVerification, Session, SessionError};

use super::exchange::{answer, ask};
use super::{Case, Failure, Task, Wanted, want};
use crate::interop::wants_key_log;

/// Plays one case on one connection, with a session for each endpoint.
pub(super) async fn run(task: Task) -> Result<(), Failure> {
    // The runner's certificates are of its own making, and it does not ask for a check.
    let mut config = ClientConfig::new().with_verification(ServerVerification::Insecure);
    config.key_log = wants_key_log();
    let client = Client::new(config)?.with_pooling(true);
    let outcome = play(&task, &client).await;
    // The server may learn of the end only from what is sent now.
    client.close().await;
    outcome
}

async fn play(task: &Task, client: &Client) -> Result<(), Failure> {
    let (origin, wanted) = requests(&task.requests)?;
    let mut sessions = Vec::new();
    for (endpoint, files) in wanted {
        let connect = client.connect(format!("{origin}/{endpoint}"));
        let session = connect.protocols(task.protocols.iter().cloned()).await?;
        sessions.push((session, endpoint, files));
    }
    let mut parts = tokio::task::JoinSet::new();
    for (session, endpoint, files) in sessions {
        if task.case == Case::Handshake {
            task.save_protocol(session.protocol())?;
        }
        let (case, source, target) = (
            task.case,
            task.www.join(&endpoint),
            task.downloads.join(&endpoint),
        );
        parts.spawn(async move {
            match case {
                Case::Handshake => {}
                Case::Answer => return ended(answer(&session, &source).await),
                Case::Ask(kind) => ask(&session, kind, &files, &target).await?,
            }
            close(&session).await
        });
    }
    while let Some(outcome) = parts.join_next().await {
        outcome??;
    }
    Ok(())
}

async fn close(session: &Session) -> Result<(), Failure> {
    session.close(0, "");
    session.closed().await;
    Ok(())
}

/// Whether the server ended a session as one does whose part is done: in order, by a reset of CONNECT, or
/// with its connection.
fn ended(end: SessionError) -> Result<(), Failure> {
    match end {
        SessionError::Violation(_) => Err(end.into()),
        SessionError::Connection(
            ConnectionError::LocallyClosed | ConnectionError::ClosedByPeer { .. },
        ) => Ok(()),
        SessionError::Connection(_) => Err(end.into()),
        _ => Ok(()),
    }
}

/// The origin, which all URLs share, and what is wanted of its endpoints.
fn requests(urls: &[String]) -> Result<(String, Wanted), Failure> {
    let mut origin = None;
    let mut wanted = Wanted::new();
    for text in urls {
        let url: Url = text.parse()?;
        let this = url.origin().ascii_serialization();
        if origin.get_or_insert(this.clone()) != &this {
            return Err(format!("{text} is of another server than the URLs before it").into());
        }
        want(&mut wanted, url.path())?;
    }
    Ok((origin.ok_or("REQUESTS is empty")?, wanted))
}
