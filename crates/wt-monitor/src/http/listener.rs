//! The socket and the tasks of its connections.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::oneshot,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};
use wt_core::http::Request;

use super::{HttpConfig, HttpError, Pages};

/// How long to wait when the system gives no connection, for want of file descriptors for instance.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that wait in the system's queue.
const BACKLOG: u32 = 128;

fn listen(address: SocketAddr, share: bool) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // Connections that are over do not keep the port from the next process. Elsewhere this would let anyone have it.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    #[cfg(unix)]
    socket.set_reuseport(share)?;
    #[cfg(not(unix))]
    let _ = share;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A TCP socket that serves [`Pages`] by HTTP/1.
///
/// One task takes connections and owns theirs; each carries one request. Dropping the listener ends all of them at once.
#[derive(Debug)]
pub struct HttpListener {
    address: SocketAddr,
    /// Dropped or used, it asks the task to finish.
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl HttpListener {
    /// Listens on `address`, whose port may be 0, and serves `pages` from now on. Needs a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, nothing listens.
    ///
    /// # Errors
    ///
    /// [`HttpError`] when the address cannot be listened on, or a page or a limit cannot work.
    pub async fn bind(
        address: SocketAddr,
        pages: Pages,
        config: HttpConfig,
    ) -> Result<Self, HttpError> {
        config.validate()?;
        let pages = pages.check()?;
        let failed = |source| HttpError::Bind {
            address,
            source: Arc::new(source),
        };
        let listener = listen(address, config.share_port).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (stop, stopped) = oneshot::channel();
        Ok(Self {
            address,
            stop: Some(stop),
            task: tokio::spawn(run(listener, pages, config, stopped)),
        })
    }

    /// Returns the address that it listens on.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections and waits until those that are there have their answers, for as long as a request may
    /// take.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, requests that are being answered are dropped too.
    pub async fn close(mut self) {
        self.stop = None;
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the task of an HTTP listener failed");
        }
    }
}

impl Drop for HttpListener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Takes connections until `stop`, at most so many at a time.
async fn run(
    listener: TcpListener,
    pages: Arc<Pages>,
    config: HttpConfig,
    mut stop: oneshot::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        let has_room = connections.len() < config.max_connections;
        tokio::select! {
            _ = &mut stop => break,
            accepted = listener.accept(), if has_room => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(serve(stream, peer, pages.clone(), config.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot take an HTTP connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "the task of an HTTP connection failed");
                }
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Answers the one request of a connection.
async fn serve(stream: TcpStream, peer: SocketAddr, pages: Arc<Pages>, config: HttpConfig) {
    let service = service_fn(move |request: Request<Incoming>| {
        let pages = pages.clone();
        // Nobody reads the body of a GET.
        let request = request.map(drop);
        async move { Ok::<_, Infallible>(pages.answer(&request).await.map(Full::new)) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(config.max_header_bytes)
        .timer(TokioTimer::new())
        .header_read_timeout(config.request_timeout)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(config.request_timeout, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%peer, %error, "an HTTP connection failed"),
        Err(_) => tracing::debug!(%peer, "an HTTP connection took too long"),
    }
}
