//! The server for runners whose clients ask for well-known paths.

use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use wt::{Identity, Server, ServerConfig, SessionRequest};

use super::wpt::Stash;
use super::{Failure, baton, echo, end_asked, pywebtransport, wants_key_log, wpt};

/// Time for sessions to end when the server is stopped.
const GRACE: Duration = Duration::from_secs(5);

/// A server with `/echo`, `/webtransport/devious-baton` and `/webtransport/handlers/NAME.py`.
#[derive(Debug)]
pub struct Site {
    server: Server,
    certificate_sha256: String,
    pywebtransport: Option<pywebtransport::Site>,
}

impl Site {
    /// Binds it.
    ///
    /// # Errors
    ///
    /// When the address or the certificate cannot be used.
    pub fn bind(listen: SocketAddr, identity: Identity) -> Result<Self, Failure> {
        let certificate_sha256 = identity.certificate_hash().to_hex();
        let mut config = ServerConfig::new(identity).with_bind(listen);
        config.key_log = wants_key_log();
        Ok(Self {
            server: Server::bind(&config)?,
            certificate_sha256,
            pywebtransport: None,
        })
    }

    /// Has it serve the paths of PyWebTransport's end-to-end tests instead.
    #[must_use]
    pub fn for_pywebtransport(mut self) -> Self {
        self.pywebtransport = Some(pywebtransport::Site::default());
        self
    }

    /// The line that says where it listens, as JSON or for people.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn start_line(&self, as_json: bool) -> Result<String, Failure> {
        let address = self.server.local_addr()?;
        let url = format!("https://localhost:{}/", address.port());
        let hash = &self.certificate_sha256;
        Ok(if as_json {
            // Nothing in it needs escaping, and the order is that of the contract.
            let port = address.port();
            format!(
                r#"{{"event":"listening","address":"{address}","port":{port},"url":"{url}","certificate_sha256":"{hash}"}}"#
            )
        } else {
            format!("listening on {address}, {url}, certificate SHA-256 {hash}")
        })
    }

    /// Serves until SIGINT or SIGTERM, then ends sessions in order.
    ///
    /// # Errors
    ///
    /// What the system says when signals cannot be waited for.
    pub async fn run(self) -> Result<(), Failure> {
        tokio::select! {
            () = self.serve() => {}
            asked = end_asked() => asked?,
        }
        self.server.close(GRACE).await;
        Ok(())
    }

    async fn serve(&self) {
        let stash = Stash::default();
        while let Some(request) = self.server.accept().await {
            let (stash, pywebtransport) = (stash.clone(), self.pywebtransport.clone());
            tokio::spawn(async move {
                let path = request.path().to_owned();
                let served = match pywebtransport {
                    Some(site) => site.serve(request).await,
                    None => dispatch(request, stash).await,
                };
                if let Err(error) = served {
                    eprintln!("{path}: {error}");
                }
            });
        }
    }
}

async fn dispatch(request: SessionRequest, stash: Stash) -> Result<(), Failure> {
    let path = request.path().to_owned();
    match path.as_str() {
        "/echo" => {
            let session = request.accept().await?;
            echo::serve(&session).await;
            Ok(())
        }
        "/webtransport/devious-baton" => baton::serve(request).await,
        _ => match path.strip_prefix("/webtransport/handlers/") {
            Some(name) => wpt::serve(request, name, stash).await,
            None => Ok(request.reject(StatusCode::NOT_FOUND)?),
        },
    }
}
