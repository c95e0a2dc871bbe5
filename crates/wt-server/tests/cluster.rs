//! Several servers with the same routes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    net::{Ipv6Addr, SocketAddr},
    time::Duration,
};

use common::{client, config, ended, tell, told};
use wt_server::{AppConfig, BindError, BoxError, Router, Server, ServerCluster, Session, Shutdown};

async fn hello(session: Session) -> Result<(), BoxError> {
    tell(&session, "hello").await?;
    session.closed().await;
    Ok(())
}

fn router() -> Router {
    Router::new().route("/", hello)
}

fn cluster(size: usize) -> ServerCluster {
    let shutdown = Shutdown::new(Duration::from_secs(2)).with_close(8, "");
    let configs = std::iter::repeat_with(config).take(size);
    let cluster = ServerCluster::new(router(), configs).unwrap();
    cluster.configure(AppConfig::new().with_shutdown(shutdown))
}

async fn session(server: &Server) -> Session {
    let url = format!("https://127.0.0.1:{}/", server.local_addr().unwrap().port());
    let session = client(server).connect(url).await.unwrap();
    assert_eq!(told(&session).await, "hello");
    session
}

#[tokio::test]
async fn servers_start_and_stop_together() {
    let cluster = cluster(2);
    assert!(!cluster.is_running().await);
    assert_eq!(cluster.stats().await, wt_server::ClusterStats::default());
    cluster.start_all().await.unwrap();
    cluster.start_all().await.unwrap();
    assert!(cluster.is_running().await);
    let servers = cluster.servers().await;
    assert_eq!((servers.len(), cluster.server_count().await), (2, 2));
    let sessions = [session(&servers[0]).await, session(&servers[1]).await];
    let stats = cluster.stats().await;
    assert_eq!(stats.server_count, 2);
    assert_eq!(stats.total_connections_accepted, 2);
    assert_eq!(stats.total_connections_active, 2);
    assert_eq!(stats.total_sessions_active, 2);
    assert_eq!(stats.total_connections_rejected, 0);

    cluster.stop_all().await;
    for session in &sessions {
        assert_eq!(ended(session).await.0, 8);
    }
    assert!(!cluster.is_running().await);
    assert_eq!(cluster.server_count().await, 0);
    // And again.
    cluster.start_all().await.unwrap();
    session(&cluster.servers().await[1]).await;
}

#[tokio::test]
async fn none_runs_when_one_cannot_start() {
    let taken = Server::bind(&config()).unwrap();
    let free = {
        let socket = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        socket.local_addr().unwrap()
    };
    let configs = [free, taken.local_addr().unwrap()].map(|bind| config().with_bind(bind));
    let cluster = ServerCluster::new(router(), configs).unwrap();
    let error = cluster.start_all().await.unwrap_err();
    assert!(matches!(error, BindError::Socket { .. }), "{error}");
    assert!(!cluster.is_running().await);
    assert_eq!(cluster.server_count().await, 0);
    // The first one's socket is closed again, a moment later.
    common::eventually(|| std::net::UdpSocket::bind(free).is_ok()).await;
}

#[tokio::test]
async fn servers_come_and_go() {
    let cluster = cluster(0);
    // Not running: it is remembered.
    assert_eq!(cluster.add_server(config()).await.unwrap(), None);
    cluster.start_all().await.unwrap();
    assert_eq!(cluster.server_count().await, 1);
    // Running: it starts.
    let bind = (Ipv6Addr::UNSPECIFIED, 0).into();
    let added = cluster.add_server(config().with_bind(bind)).await.unwrap();
    let added = added.unwrap();
    assert_ne!(added.port(), 0);
    let servers = cluster.servers().await;
    let session = session(&servers[1]).await;
    // One that cannot start is not added.
    let taken = config().with_bind(servers[0].local_addr().unwrap());
    cluster.add_server(taken).await.unwrap_err();
    assert_eq!(cluster.server_count().await, 2);

    let nobody = SocketAddr::new(added.ip(), 1);
    assert!(!cluster.remove_server(nobody).await);
    assert!(cluster.remove_server(added).await);
    assert_eq!(ended(&session).await.0, 8);
    assert_eq!(cluster.server_count().await, 1);
    // It is gone for good.
    cluster.stop_all().await;
    cluster.start_all().await.unwrap();
    assert_eq!(cluster.server_count().await, 1);
}
