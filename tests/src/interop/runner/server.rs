//! The server's part.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::task::JoinSet;
use wt::{Accept, Identity, Server, ServerConfig, Session, SessionRequest};

use super::exchange::{answer, ask, is_plain};
use super::{Case, Failure, Task, Wanted, want};
use crate::interop::{end_asked, wants_key_log};

/// Time for sessions and connections to end when all is done.
const GRACE: Duration = Duration::from_secs(3);

/// Plays one case.
pub(super) async fn run(task: Task) -> Result<(), Failure> {
    let (cert, key) = (task.certs.join("cert.pem"), task.certs.join("priv.key"));
    let mut config = ServerConfig::new(Identity::from_pem_files(cert, key)?).with_bind(task.listen);
    config.key_log = wants_key_log();
    let server = Server::bind(&config)?;
    println!("listening on {}", server.local_addr()?);
    let outcome = tokio::select! {
        outcome = play(Arc::new(task), &server) => outcome,
        asked = end_asked() => asked.map_err(Into::into),
    };
    server.close(GRACE).await;
    outcome
}

/// Serves sessions until those that are asked for have had their part.
async fn play(task: Arc<Task>, server: &Server) -> Result<(), Failure> {
    let mut wanted = Wanted::new();
    for path in &task.requests {
        want(&mut wanted, path)?;
    }
    let mut parts = JoinSet::new();
    let mut running = 0;
    loop {
        tokio::select! {
            request = server.accept() => {
                let Some(request) = request else { return Ok(()) };
                let Some(endpoint) = endpoint(&request, &task, &wanted) else {
                    request.reject(StatusCode::NOT_FOUND)?;
                    continue;
                };
                let files = wanted.remove(&endpoint).unwrap_or_default();
                parts.spawn(serve(request, task.clone(), endpoint, files));
                running += 1;
            }
            Some(outcome) = parts.join_next() => {
                running -= 1;
                match task.case {
                    // It runs on, whatever became of one session.
                    Case::Answer => if let Err(error) = outcome? {
                        eprintln!("session over: {error}");
                    },
                    Case::Handshake | Case::Ask(_) => outcome??,
                }
                if task.case != Case::Answer && running == 0 && wanted.is_empty() {
                    return Ok(());
                }
            }
        }
    }
}

/// The endpoint that a request is for, if it is one that is served.
fn endpoint(request: &SessionRequest, task: &Task, wanted: &Wanted) -> Option<String> {
    let name = request.path().trim_matches('/');
    let served = match task.case {
        Case::Ask(_) => wanted.contains_key(name),
        Case::Handshake | Case::Answer => is_plain(name),
    };
    served.then(|| name.to_owned())
}

async fn serve(
    request: SessionRequest,
    task: Arc<Task>,
    endpoint: String,
    files: Vec<String>,
) -> Result<(), Failure> {
    let session = accept(request, &task.protocols).await?;
    let folder = |parent: &PathBuf| parent.join(&endpoint);
    match task.case {
        Case::Handshake => {
            task.save_protocol(session.protocol())?;
            session.closed().await;
        }
        Case::Answer => {
            answer(&session, &folder(&task.www)).await;
        }
        Case::Ask(kind) => {
            ask(&session, kind, &files, &folder(&task.downloads)).await?;
            session.close(0, "");
        }
    }
    Ok(())
}

/// Accepts with the client's first choice among the subprotocols that are spoken here.
async fn accept(request: SessionRequest, spoken: &[String]) -> Result<Session, Failure> {
    let mut offered = request.protocols().iter();
    let choice = offered.find(|protocol| spoken.contains(protocol)).cloned();
    let answer = choice.map_or_else(Accept::new, |choice| Accept::new().protocol(choice));
    Ok(request.accept_with(answer).await?)
}
