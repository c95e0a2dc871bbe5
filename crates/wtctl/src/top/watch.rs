//! Reading the feed, and connecting again.

use std::time::Duration;

use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use wt::{
    Client, Session,
    client::Connect,
    monitor::feed::{Feed, Line},
};

use crate::{
    failure::{Failure, chain},
    reach::{Reach, no_session},
};

/// Pauses before attempts to connect again; the last one is repeated.
const PAUSES: [u64; 5] = [1, 2, 4, 8, 15];

/// How long the server may take to know that nobody watches any more.
pub(super) const GOODBYE: Duration = Duration::from_secs(1);

/// Something to show.
#[derive(Debug)]
pub(super) enum Update {
    /// A line of the feed.
    Line(Line),
    /// The session is over, why, and how many seconds it is to the next attempt.
    Lost { why: String, again_in: u64 },
    /// An attempt has begun.
    Connecting,
}

/// Reads a feed.
#[derive(Debug)]
pub(super) struct Watcher {
    client: Client,
    url: String,
    headers: Vec<(String, String)>,
    protocols: Vec<String>,
    /// How long the first line may take.
    patience: Duration,
}

impl Watcher {
    pub(super) fn new(client: Client, url: String, reach: &Reach) -> Self {
        let headers = reach.request.headers.iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.to_string(), value)
        });
        Self {
            client,
            url,
            headers: headers.collect(),
            protocols: reach.request.protocols.clone(),
            patience: reach.request.timeout,
        }
    }

    fn connect(&self) -> Connect {
        let connect = self.client.connect(&self.url);
        let connect = connect.protocols(self.protocols.iter().cloned());
        let headers = self.headers.iter();
        headers.fold(connect, |connect, (name, value)| {
            connect.header(name, value)
        })
    }

    /// Reads the feed of one session, and says how it ended.
    pub(super) async fn once(&self, session: Session, updates: mpsc::Sender<Update>) -> Failure {
        match read(&session, &updates, self.patience).await {
            Some(why) => Failure::during_work(why),
            // Nobody listens any more, and nobody asks why.
            None => Failure::told(),
        }
    }

    /// Says goodbye: who just goes keeps its place at the server until that finds out.
    pub(super) async fn leave(&self) {
        // A server that does not answer is not waited for.
        let _ = timeout(GOODBYE, self.client.close()).await;
    }

    /// Reads the feed, and connects again when a session ends, until nobody takes updates.
    pub(super) async fn watch(self, session: Session, updates: mpsc::Sender<Update>) {
        let mut next = Some(session);
        let mut attempt = 0;
        loop {
            let why = match next.take() {
                Some(session) => {
                    attempt = 0;
                    let ended = tokio::select! {
                        ended = read(&session, &updates, self.patience) => ended,
                        () = updates.closed() => None,
                    };
                    session.close(0, "");
                    ended
                }
                None => {
                    let _ = updates.send(Update::Connecting).await;
                    let connected = tokio::select! {
                        connected = self.connect() => connected,
                        () = updates.closed() => break,
                    };
                    match connected {
                        Ok(session) => {
                            next = Some(session);
                            continue;
                        }
                        Err(error) => Some(no_session(&error).to_string()),
                    }
                }
            };
            let Some(why) = why else { break };
            let pause = PAUSES[attempt.min(PAUSES.len() - 1)];
            attempt += 1;
            for again_in in (1..=pause).rev() {
                let why = why.clone();
                if updates.send(Update::Lost { why, again_in }).await.is_err() {
                    break;
                }
                sleep(Duration::from_secs(1)).await;
            }
            if updates.is_closed() {
                break;
            }
        }
        self.client.close().await;
    }
}

/// Passes the lines of a session on; says why there are no more, or nothing when nobody wants them.
async fn read(
    session: &Session,
    updates: &mpsc::Sender<Update>,
    patience: Duration,
) -> Option<String> {
    let mut stream = match timeout(patience, session.accept_uni()).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Some(words(&error)),
        Err(_) => {
            return Some(format!(
                "the server has sent no feed for {} s (is the path of the URL the right one?)",
                patience.as_secs_f64()
            ));
        }
    };
    loop {
        let line = match stream.read_until(b"\n", Line::LONGEST).await {
            Ok(line) if line.is_empty() => return Some("the server ended the feed".to_owned()),
            Ok(line) => line,
            Err(error) => {
                // How the session ended says more.
                let end = session.close_reason();
                return Some(end.map_or_else(|| chain(&error), |end| words(&end)));
            }
        };
        match Line::parse(&line) {
            Ok(line) => updates.send(Update::Line(line)).await.ok()?,
            Err(error) => {
                return Some(format!(
                    "this is no feed of wt: {error} (is the path of the URL the right one?)"
                ));
            }
        }
    }
}

fn words(end: &wt::SessionError) -> String {
    match end.code() {
        Some(Feed::FULL) if end.is_closed_by_peer() => {
            "the server has as many watchers as it takes".to_owned()
        }
        _ => chain(end),
    }
}
