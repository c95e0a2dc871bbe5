//! Being told to stop: SIGINT and SIGTERM, or Ctrl-C where there are no signals; and SIGHUP, which asks
//! to read files again.

use tokio::sync::watch;
use wt::Identity;

use crate::failure::Failure;

/// Tells everyone who holds a clone that the process was asked to stop.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Begins to listen. The first signal stops in order, a second one ends the process at once.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let mut signals = Signals::new().map_err(|error| Failure::cannot_start(&error))?;
        let (sender, receiver) = watch::channel(false);
        tokio::spawn(async move {
            signals.next().await;
            tracing::info!("asked to stop; once more stops at once");
            sender.send_replace(true);
            let status = signals.next().await;
            std::process::exit(128 + status);
        });
        Ok(Self(receiver))
    }

    /// Waits until the process is asked to stop. Cancel safe.
    pub(crate) async fn asked(&mut self) {
        if self.0.wait_for(|asked| *asked).await.is_err() {
            // Nobody is left who could ask.
            std::future::pending::<()>().await;
        }
    }

    /// Makes one that is asked by [`Asker::ask`].
    pub(crate) fn by_hand() -> (Asker, Self) {
        let (sender, receiver) = watch::channel(false);
        (Asker(sender), Self(receiver))
    }
}

/// Asks to stop.
#[derive(Debug)]
pub(crate) struct Asker(watch::Sender<bool>);

impl Asker {
    pub(crate) fn ask(&self) {
        self.0.send_replace(true);
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Returns the number of the next signal.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> i32 {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        2
    }
}

/// SIGHUP, where there are files to read again. Elsewhere it ends the process as it always did, for
/// instance when its terminal is closed.
#[derive(Debug)]
pub(crate) struct Hangup(#[cfg(unix)] Option<tokio::signal::unix::Signal>);

impl Hangup {
    /// Begins to listen if one of these was read from files.
    #[cfg(unix)]
    pub(crate) fn listen(identities: &[Identity]) -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let files = identities.iter().any(|identity| identity.files().is_some());
        let listening = files.then(|| signal(SignalKind::hangup())).transpose();
        let listening = listening.map_err(|error| Failure::cannot_start(&error))?;
        Ok(Self(listening))
    }

    #[cfg(not(unix))]
    pub(crate) fn listen(_identities: &[Identity]) -> Result<Self, Failure> {
        Ok(Self())
    }

    /// Waits for the next one. Cancel safe.
    pub(crate) async fn asked(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.0
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending().await
    }
}
