//! The paths that the end-to-end tests of PyWebTransport 0.8 ask a server for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use serde_json::{Number, Value, json};
use tokio::task::JoinSet;
use wt::messaging::pubsub::{Access, Denied, MemoryBroker, PubSubService};
use wt::messaging::rpc::{Methods, Rpc, RpcConfig, RpcError, RpcErrorCode};
use wt::{BiStream, Session, SessionRequest};

use super::{Failure, echo};

/// What an echo begins with.
const PREFIX: &[u8] = b"ECHO: ";

/// The largest stream that is echoed.
const LIMIT: usize = 16 << 20;

/// Time for a last datagram to arrive.
const GRACE: Duration = Duration::from_millis(500);

/// What all sessions of the site share.
#[derive(Clone, Debug)]
pub struct Site {
    pubsub: PubSubService,
    started: Instant,
    sessions: Arc<AtomicU64>,
}

impl Default for Site {
    fn default() -> Self {
        // PyWebTransport's own broker refuses nothing; this is how a refusal is tried.
        let pubsub =
            PubSubService::new(MemoryBroker::new()).with_authorize(|_, access| match access {
                Access::Subscribe(pattern) if pattern.as_str() == "secret" => {
                    Err(Denied::new("not for Python"))
                }
                _ => Ok(()),
            });
        Self {
            pubsub,
            started: Instant::now(),
            sessions: Arc::default(),
        }
    }
}

impl Site {
    /// Serves one session.
    ///
    /// # Errors
    ///
    /// When the session could not be accepted or its answer not be sent.
    pub async fn serve(&self, request: SessionRequest) -> Result<(), Failure> {
        let path = request.path().to_owned();
        let known = [
            "/",
            "/echo",
            "/structured-echo/json",
            "/structured-echo/msgpack",
            "/rpc",
            "/pubsub",
            "/health",
            "/stats",
        ];
        if !known.contains(&path.as_str()) {
            return Ok(request.reject(StatusCode::NOT_FOUND)?);
        }
        let session = request.accept().await?;
        self.sessions.fetch_add(1, Relaxed);
        let served = self.session(&path, &session).await;
        self.sessions.fetch_sub(1, Relaxed);
        served
    }

    async fn session(&self, path: &str, session: &Session) -> Result<(), Failure> {
        match path {
            "/pubsub" => {
                self.pubsub.serve(session).await;
            }
            "/rpc" => {
                let rpc = Rpc::accept(session, methods(), RpcConfig::new()).await?;
                rpc.closed().await;
                session.closed().await;
            }
            "/health" => {
                session.send_datagram(self.figures("healthy").to_string())?;
                // The end would overtake the datagram.
                let _ = tokio::time::timeout(GRACE, session.closed()).await;
                session.close(0, "");
            }
            "/stats" => {
                let mut stream = session.open_bi().await?;
                let figures = format!("{:#}", self.figures("running"));
                stream.send.write_all(figures.as_bytes()).await?;
                stream.send.finish()?;
                session.closed().await;
            }
            // Messages go back in the framing in which they came, as they come.
            _ if path.starts_with("/structured-echo/") => echo::serve(session).await,
            _ => echo_prefixed(session).await,
        }
        Ok(())
    }

    fn figures(&self, status: &str) -> Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        json!({
            "status": status,
            "timestamp": now.unwrap_or_default().as_secs_f64(),
            "uptime": self.started.elapsed().as_secs_f64(),
            "active_sessions": self.sessions.load(Relaxed),
            "active_streams": 0,
        })
    }
}

/// The methods that the tests call.
fn methods() -> Methods {
    let sleep = async |seconds: Number| {
        let duration = Duration::try_from_secs_f64(seconds.as_f64().unwrap_or(-1.0));
        tokio::time::sleep(duration?).await;
        Ok(format!("Completed after {seconds} seconds."))
    };
    Methods::new()
        .method("add", async |a: i64, b: i64| Ok(a + b))
        .method("get_user", async |id: i64| {
            Ok(json!({ "id": id, "name": format!("User {id}") }))
        })
        .method("log_message", async |_text: String| Ok(()))
        .method("divide", async |a: f64, b: f64| {
            if b == 0.0 {
                let message = "Error executing 'divide': division by zero";
                return Err(RpcError::new(RpcErrorCode::INTERNAL_ERROR, message));
            }
            Ok(a / b)
        })
        .method("slow_operation", sleep)
}

/// Answers streams and datagrams with `ECHO: ` and what they had; unidirectional streams are read.
async fn echo_prefixed(session: &Session) {
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            stream = session.accept_bi() => {
                let Ok(stream) = stream else { return };
                streams.spawn(answer(stream));
            }
            stream = session.accept_uni() => {
                let Ok(mut stream) = stream else { return };
                streams.spawn(async move {
                    while let Ok(Some(_)) = stream.read_chunk(usize::MAX).await {}
                });
            }
            datagram = session.recv_datagram() => {
                let Ok(datagram) = datagram else { return };
                // One that does not fit is lost, as datagrams are.
                let _ = session.send_datagram([PREFIX, &datagram].concat());
            }
            Some(_) = streams.join_next() => {}
        }
    }
}

async fn answer(mut stream: BiStream) {
    let Ok(body) = stream.recv.read_to_end(LIMIT).await else {
        return;
    };
    // An error says that nobody wants the rest.
    let _ = stream.send.write_all(PREFIX).await;
    let _ = stream.send.write_chunk(body).await;
    let _ = stream.send.finish();
    let _ = stream.send.closed().await;
}
