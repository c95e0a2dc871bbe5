//! Several clients for one server, several servers for one client, and sessions to borrow.
//!
//! ```console
//! $ cargo run -p wt --example fleet
//! fleet: 3 of 3 clients have a session, the server sees 3 of them
//! balancer: server 1 served 2, server 2 served 2, server 3 served 2
//! balancer: server 1 is gone
//! balancer: server 2 served 4, server 3 served 2
//! pool: 20 borrowers, at most 2 sessions
//! ```
//!
//! All of them are in one process.

use std::{collections::BTreeMap, error::Error, net::Ipv4Addr, time::Duration};

use wt::{
    BalancerConfig, Client, ClientConfig, ClientFleet, Identity, LoadBalancer, PoolConfig, Server,
    ServerConfig, ServerVerification, SessionPool, Strategy,
};

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result {
    let identity = Identity::self_signed(["127.0.0.1"])?;
    let verification = ServerVerification::Hashes(vec![identity.certificate_hash()]);
    let config = ClientConfig::new().with_verification(verification);
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(listen(&identity)?);
    }
    let client = Client::new(config.clone())?;

    fleet(config, &servers[0]).await?;
    balance(&client, &mut servers).await?;
    borrow(&client, &servers[0]).await?;

    client.close().await;
    Ok(())
}

/// Each client of a fleet has a socket of its own. One that fails does not disturb the others.
async fn fleet(config: ClientConfig, server: &Server) -> Result {
    let fleet = ClientFleet::bind(vec![config; 3])?;
    let results = fleet.connect_all(&url(server)?).await;
    let sessions: Vec<_> = results.into_iter().flatten().collect();
    println!(
        "fleet: {} of {} clients have a session, the server sees {} of them",
        sessions.len(),
        fleet.clients().len(),
        server.connections().len()
    );
    for session in &sessions {
        session.close(0, "done");
    }
    fleet.close_all().await;
    Ok(())
}

/// A load balancer spreads sessions, and goes past a server that is gone.
async fn balance(client: &Client, servers: &mut Vec<Server>) -> Result {
    let mut names = BTreeMap::new();
    let mut targets = Vec::new();
    for (number, server) in (1..).zip(servers.iter()) {
        names.insert(server.local_addr()?.to_string(), number);
        let connect = client.connect(url(server)?);
        targets.push(connect.timeout(Duration::from_millis(500)));
    }
    let config = BalancerConfig::new(Strategy::RoundRobin);
    let balancer = LoadBalancer::new(targets, config)?;
    for gone in [false, true] {
        if gone {
            let server = servers.remove(0);
            server.close(Duration::from_millis(100)).await;
            println!("balancer: server 1 is gone");
        }
        let mut served = BTreeMap::<i32, u32>::new();
        for _ in 0..6 {
            let session = balancer.session().await?;
            *served.entry(names[session.authority()]).or_default() += 1;
            session.close(0, "done");
        }
        let served = served
            .iter()
            .map(|(number, count)| format!("server {number} served {count}"));
        println!("balancer: {}", served.collect::<Vec<_>>().join(", "));
    }
    balancer.close().await;
    Ok(())
}

/// A pool lends sessions, each to one borrower at a time.
async fn borrow(client: &Client, server: &Server) -> Result {
    let pool = SessionPool::new(client.connect(url(server)?), PoolConfig::new(2))?;
    let mut borrowers = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let pool = pool.clone();
        borrowers.spawn(async move {
            let session = pool.acquire().await?;
            // It goes back when it is dropped, whatever the reason.
            session.open_uni().await?.finish()?;
            Ok::<_, Box<dyn Error + Send + Sync>>(())
        });
    }
    while let Some(borrowed) = borrowers.join_next().await {
        borrowed??;
    }
    println!(
        "pool: 20 borrowers, at most {} sessions",
        pool.stats().created
    );
    pool.close();
    Ok(())
}

fn url(server: &Server) -> Result<String> {
    Ok(format!("https://{}/", server.local_addr()?))
}

/// Starts a server that holds sessions until they end.
fn listen(identity: &Identity) -> Result<Server> {
    let address = (Ipv4Addr::LOCALHOST, 0).into();
    let server = Server::bind(&ServerConfig::new(identity.clone()).with_bind(address))?;
    let accepting = server.clone();
    tokio::spawn(async move {
        while let Some(request) = accepting.accept().await {
            tokio::spawn(async move {
                if let Ok(session) = request.accept().await {
                    session.closed().await;
                }
            });
        }
    });
    Ok(server)
}
