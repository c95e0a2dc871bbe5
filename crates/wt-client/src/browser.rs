//! One session at a time, with a history.

use std::collections::VecDeque;

use wt_core::Session;

use crate::{
    client::Client,
    connect::{Connect, ConnectError},
    target::Target,
};

/// Holds one session at a time and remembers where it has been, as a web browser does.
///
/// Navigation happens whole or not at all: the old session is closed when the new one is there, and
/// when there is none, session and history stay as they were.
///
/// # Examples
///
/// ```no_run
/// use wt_client::{Browser, Client};
///
/// # async fn run(client: Client) -> Result<(), Box<dyn std::error::Error>> {
/// let mut browser = Browser::new(client);
/// browser.navigate("https://example.com/lobby").await?;
/// browser.navigate("https://example.com/room/7").await?;
/// let lobby = browser.back().await?.expect("there is a page before");
/// assert_eq!(lobby.path(), "/lobby");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[doc(alias = "WebTransportBrowser")]
pub struct Browser {
    client: Client,
    history: VecDeque<String>,
    /// Where in the history the session is; 0 when it is empty.
    position: usize,
    max_history: usize,
    session: Option<Session>,
}

impl Browser {
    /// How many URLs are remembered unless [`Self::with_max_history`] says otherwise.
    pub const MAX_HISTORY: usize = 50;

    /// Makes a browser without session and history.
    #[must_use]
    pub const fn new(client: Client) -> Self {
        Self {
            client,
            history: VecDeque::new(),
            position: 0,
            max_history: Self::MAX_HISTORY,
            session: None,
        }
    }

    /// Sets how many URLs are remembered, at least one; beyond it the oldest is forgotten.
    #[must_use]
    pub fn with_max_history(mut self, max: usize) -> Self {
        self.max_history = max.max(1);
        self
    }

    /// Goes to a URL. What lay ahead in the history is forgotten.
    ///
    /// If the session is at that URL already, and open, it stays.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, everything is as before.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`]. Session and history are as before.
    pub async fn navigate(&mut self, url: &str) -> Result<Session, ConnectError> {
        self.navigate_with(url, |connect| connect).await
    }

    /// Goes to a URL in the way that `with` says, with header fields or subprotocols for instance;
    /// otherwise like [`Self::navigate`]. Going back there later does without.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, everything is as before.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`]. Session and history are as before.
    pub async fn navigate_with(
        &mut self,
        url: &str,
        with: impl FnOnce(Connect) -> Connect,
    ) -> Result<Session, ConnectError> {
        let target = Target::parse(url)?;
        let here = self.url().map(Target::parse);
        let stays = here == Some(Ok(target));
        if stays && let Some(session) = self.session() {
            return Ok(session.clone());
        }
        let session = with(self.client.connect(url)).await?;
        if !stays {
            self.history.truncate(self.position + 1);
            self.history.push_back(url.to_owned());
            if self.history.len() > self.max_history {
                self.history.pop_front();
            }
            self.position = self.history.len() - 1;
        }
        Ok(self.replace(session))
    }

    /// Goes one step back in the history; `None` when there is nothing before.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, everything is as before.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`]. Session and history are as before.
    pub async fn back(&mut self) -> Result<Option<Session>, ConnectError> {
        match self.position.checked_sub(1) {
            Some(position) => self.go(position).await,
            None => Ok(None),
        }
    }

    /// Goes one step forward in the history; `None` when there is nothing ahead.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, everything is as before.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`]. Session and history are as before.
    pub async fn forward(&mut self) -> Result<Option<Session>, ConnectError> {
        self.go(self.position + 1).await
    }

    /// Connects to the same URL again; `None` when the history is empty.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, everything is as before.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`]. Session and history are as before.
    pub async fn refresh(&mut self) -> Result<Option<Session>, ConnectError> {
        self.go(self.position).await
    }

    async fn go(&mut self, position: usize) -> Result<Option<Session>, ConnectError> {
        let Some(url) = self.history.get(position) else {
            return Ok(None);
        };
        let session = self.client.connect(url).await?;
        self.position = position;
        Ok(Some(self.replace(session)))
    }

    fn replace(&mut self, session: Session) -> Session {
        if let Some(old) = self.session.replace(session.clone()) {
            old.close(0, "");
        }
        session
    }

    /// Returns the session; `None` before the first one and when it is over.
    #[must_use]
    #[doc(alias = "current_session")]
    pub fn session(&self) -> Option<&Session> {
        self.session
            .as_ref()
            .filter(|session| session.close_reason().is_none())
    }

    /// Returns the URL that the session is, or was, at.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        self.history.get(self.position).map(String::as_str)
    }

    /// Returns the URLs of the history, the oldest first.
    #[doc(alias = "get_history")]
    pub fn history(&self) -> impl ExactSizeIterator<Item = &str> {
        self.history.iter().map(String::as_str)
    }

    /// Returns where in the history the session is, from 0 on.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.position
    }

    /// Returns whether there is something before in the history.
    #[must_use]
    pub const fn can_go_back(&self) -> bool {
        self.position > 0
    }

    /// Returns whether there is something ahead in the history.
    #[must_use]
    pub fn can_go_forward(&self) -> bool {
        self.position + 1 < self.history.len()
    }

    /// Closes the session with code 0 and forgets the history. The client stays open.
    pub fn close(&mut self) {
        if let Some(session) = self.session.take() {
            session.close(0, "");
        }
        self.history.clear();
        self.position = 0;
    }
}
