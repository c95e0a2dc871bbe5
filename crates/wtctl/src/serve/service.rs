//! The server from its start to its end.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use tokio::task::JoinSet;
use wt::{
    Identity, Server, ServerConfig,
    core::{
        RefusalCause,
        config::StreamCredit,
        takeover::{Handover, PendingTakeover, Takeover},
    },
    server::Shutdown,
};

use super::{
    answer::{Refused, answer},
    dashboard::Watch,
    protection::Protection,
};
use crate::{failure::Failure, stop::Stop};

/// Names that every certificate in memory is for.
pub(crate) const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Streams of each kind that a client may have open in a session.
///
/// 1000 are promised at all times. Credit is renewed in portions, of which the largest is an eighth,
/// so that a client may see that much less for a moment.
const STREAMS: u64 = 1200;

/// The same for a connection, whose CONNECT and HTTP/3 streams count too.
const CONNECTION_STREAMS: StreamCredit = StreamCredit::new(1280, 8192);

/// Connections at a time; further clients are refused.
pub(super) const CONNECTIONS: usize = 1 << 16;

/// How a server is to be.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    /// The certificate that is shown, and those for clients that ask for one of their names.
    pub(crate) identity: Identity,
    pub(crate) others: Vec<Identity>,
    /// The subprotocols that it speaks.
    pub(crate) protocols: Vec<String>,
    /// What clients may take.
    pub(crate) protection: Option<Protection>,
    /// The feed for who looks after it.
    pub(super) watch: Option<Watch>,
}

impl Settings {
    /// Makes those of a server without protection and feed.
    pub(crate) const fn new(
        listen: SocketAddr,
        identity: Identity,
        protocols: Vec<String>,
    ) -> Self {
        Self {
            listen,
            identity,
            others: Vec::new(),
            protocols,
            protection: None,
            watch: None,
        }
    }
}

/// A server that listens and has not begun to answer.
#[derive(Debug)]
pub(crate) struct Service {
    server: Server,
    /// What another process takes the port over by.
    handover: Option<Handover>,
    protocols: Arc<[String]>,
    refused: Refused,
    watch: Option<Watch>,
}

impl Settings {
    fn config(&self) -> ServerConfig {
        let mut config = ServerConfig::new(self.identity.clone())
            .with_identities(self.others.clone())
            .with_bind(self.listen);
        config.transport.streams_bidi = CONNECTION_STREAMS;
        config.transport.streams_uni = CONNECTION_STREAMS;
        config.session.max_streams_bidi = STREAMS;
        config.session.max_streams_uni = STREAMS;
        config.limits.connections = Some(CONNECTIONS);
        if let Some(protection) = &self.protection {
            protection.apply(&mut config.limits);
        }
        config
    }
}

impl Service {
    fn new(settings: Settings, server: Server) -> Self {
        Self {
            server,
            handover: None,
            protocols: settings.protocols.into(),
            refused: Refused::default(),
            watch: settings.watch,
        }
    }

    pub(crate) fn bind(settings: Settings) -> Result<Self, Failure> {
        let server = Server::bind(&settings.config());
        let server = server.map_err(|error| Failure::cannot_start(&error))?;
        Ok(Self::new(settings, server))
    }

    /// Makes a server on the port of the process that listens at `path`, if there is one; clients
    /// come once this is [completed](Self::complete).
    pub(super) async fn take_over(
        settings: Settings,
        path: &Path,
    ) -> Result<(Self, PendingTakeover), Failure> {
        let takeover = Takeover::begin(path).await;
        let taken = takeover.and_then(|it| Server::take_over(&settings.config(), it));
        let (server, pending) = taken.map_err(|error| Failure::cannot_start(&error))?;
        Ok((Self::new(settings, server), pending))
    }

    /// Takes the port, and listens for the next process that wants it.
    pub(super) async fn complete(&mut self, pending: PendingTakeover) -> Result<(), Failure> {
        let handover = pending.complete().await;
        self.handover = Some(handover.map_err(|error| Failure::cannot_start(&error))?);
        Ok(())
    }

    pub(crate) const fn server(&self) -> &Server {
        &self.server
    }

    pub(super) const fn watch(&self) -> Option<&Watch> {
        self.watch.as_ref()
    }

    pub(crate) fn local_addr(&self) -> Result<SocketAddr, Failure> {
        let address = self.server.local_addr();
        address.map_err(|error| Failure::cannot_start(&error))
    }

    async fn handed_over(&self) {
        match &self.handover {
            Some(handover) => handover.handed_over().await,
            None => std::future::pending().await,
        }
    }

    /// Serves until `stop`, or until another process has taken the port over; then lets sessions
    /// finish and closes the rest with code 0, within `grace`.
    pub(crate) async fn run(self, mut stop: Stop, grace: Duration) {
        let mut sessions = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.asked() => break,
                () = self.handed_over() => {
                    tracing::info!("succeeded by another process");
                    break;
                }
                request = self.server.accept() => match request {
                    Some(request) => {
                        let (protocols, refused) = (self.protocols.clone(), self.refused.clone());
                        let watch = self.watch.clone();
                        sessions.spawn(answer(request, protocols, refused, watch, stop.clone()));
                    }
                    None => break,
                },
                Some(ended) = sessions.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "the task of a session failed");
                    }
                }
            }
        }
        // A tenth is left for the end of the process.
        let shutdown = Shutdown::new(grace.mul_f32(0.9));
        let handed_over = self.handover.as_ref().is_some_and(Handover::is_handed_over);
        let shutdown = shutdown.with_handed_over(handed_over);
        let closing = self.server.shut_down(&shutdown);
        tokio::join!(closing, self.refuse_the_rest());
        sessions.shutdown().await;
        self.report();
    }

    /// Refuses the requests that still come, until the server is closed.
    async fn refuse_the_rest(&self) {
        while let Some(request) = self.server.accept().await {
            self.refused.shutting_down(request);
        }
    }

    /// Logs how often each cause led to a refusal.
    fn report(&self) {
        // Of what the application refused, the paths know the cause.
        let refusals = self.server.refusals();
        let of_stack = refusals
            .iter()
            .filter(|(cause, _)| *cause != RefusalCause::Application)
            .map(|(cause, count)| (cause.to_string(), count));
        for (cause, count) in of_stack.chain(self.refused.counts()) {
            tracing::info!(cause, count, "refused in all");
        }
        let count = self.server.stats().addresses_validated;
        if count > 0 {
            tracing::info!(count, "clients had to show their address (QUIC Retry)");
        }
    }
}
