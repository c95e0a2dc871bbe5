//! Watches a client and a server: figures, alerts, and how they do.
//!
//! ```console
//! $ cargo run -p wt --features monitor --example monitor
//! server idle: Server is running but has no active connections.
//! client healthy: Client is operating normally.
//! ! warning: low_success_rate: Low connection success rate: 25.00%
//! ...
//! ```
//!
//! Server and client are one program here, joined by loopback.

use std::{error::Error, time::Duration};

use futures_util::StreamExt;
use wt::{
    Client, ClientConfig, ClientMonitor, Monitor, Server, ServerConfig, ServerMonitor,
    ServerVerification,
    http::StatusCode,
    monitor::{Measure, MonitorConfig, Rule, Severity},
};

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Refuses whoever comes to `/full`, and lets the others in.
async fn serve(server: &Server) -> Result {
    while let Some(request) = server.accept().await {
        if request.path() == "/full" {
            request.reject(StatusCode::SERVICE_UNAVAILABLE)?;
        } else {
            let session = request.accept().await?;
            tokio::spawn(async move { session.closed().await });
        }
    }
    Ok(())
}

/// The rules that clients have anyway, and one more.
fn client_rules() -> MonitorConfig {
    let many = Rule::above("many_sessions", Measure::last("sessions"), 4.0)
        .with_severity(Severity::Info)
        .with_message("{count} sessions are open");
    MonitorConfig::client().with_rule(many)
}

/// Prints alerts as they are raised and clear, until the monitor is gone.
fn print_alerts(monitor: &Monitor) -> tokio::task::JoinHandle<()> {
    let mut alerts = monitor.subscribe_alerts();
    tokio::spawn(async move {
        while let Some(alert) = alerts.next().await {
            match alert {
                Ok(alert) => println!("! {alert}"),
                Err(lagged) => println!("! {lagged}"),
            }
        }
    })
}

/// Takes a sample now. Between `start` and `stop` that happens by itself, here each 30 s.
fn look(name: &str, monitor: &Monitor) {
    monitor.sample();
    println!("{name} {}", monitor.health());
}

async fn dial(client: &Client, server: &Server, monitor: &Monitor) -> Result {
    let good = format!("https://{}/", server.local_addr()?);
    let session = client.connect(&good).await?;
    look("client", monitor);

    // A bad time: of 15 attempts 3 succeed.
    let mut sessions = Vec::new();
    for attempt in 0..15 {
        let path = if attempt % 5 == 0 { "" } else { "full" };
        sessions.extend(client.connect(format!("{good}{path}")).await);
    }
    look("client", monitor);

    // It passes. The alert clears when the attempts of the newest samples are well, whatever was before.
    while !monitor.active().is_empty() {
        sessions.push(client.connect(&good).await?);
        if sessions.len() > 4 {
            sessions.drain(..).for_each(|session| session.close(0, ""));
        }
        monitor.sample();
    }
    println!("client {}", monitor.health());
    session.close(0, "done");
    Ok(())
}

#[tokio::main]
async fn main() -> Result {
    let mut config = ServerConfig::for_development()?;
    config.set("bind", "127.0.0.1:0")?;
    let server = Server::bind(&config)?;
    let trust = ServerVerification::Hashes(vec![config.identity.certificate_hash()]);
    let client = Client::new(ClientConfig::new().with_verification(trust))?;

    let of_server = ServerMonitor::new(server.clone())?;
    let of_client = ClientMonitor::with_config(client.clone(), client_rules())?;
    of_server.start()?;
    of_client.start()?;
    let alerts = print_alerts(&of_client);
    look("server", &of_server);

    let talk = async {
        let dialled = dial(&client, &server, &of_client).await;
        look("server", &of_server);
        client.close().await;
        server.close(Duration::from_secs(5)).await;
        dialled
    };
    let (served, dialled) = tokio::join!(serve(&server), talk);
    served?;
    dialled?;
    look("server", &of_server);

    // All of it as one value, for a page or an exporter.
    let report = of_client.report();
    println!("alerts of the client: {}", report.alerts.len());
    for figure in report.window {
        if let Some(rate) = figure.rate {
            println!("  {} {rate:.1} a second, {}", figure.name, figure.trend);
        }
    }
    of_client.stop().await;
    of_server.stop().await;
    // The streams of those who listen end with the last handle.
    drop(of_client);
    Ok(alerts.await?)
}
