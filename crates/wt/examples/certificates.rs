//! Certificates by name that change while sessions are open.
//!
//! ```console
//! $ cargo run -p wt --example certificates
//! www.shop.example is shown the certificate for shop.example
//! anybody else is shown the certificate for localhost
//! replaced: new clients are shown another certificate
//! the session goes on: hello
//! a new client trusts the new certificate
//! the first one to expire has 12 days left
//! ```
//!
//! Server and client are one program here, joined by loopback.

use std::{error::Error, time::Duration};

use wt::{
    CertificateEvent, CertificateHash, Certificates, Client, ClientConfig, Events, Identity,
    Server, ServerConfig, ServerVerification, Session,
};

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// One certificate for everybody, and one for those who ask for a shop.
fn configure() -> Result<ServerConfig> {
    let localhost = Identity::self_signed(["localhost", "127.0.0.1"])?;
    let shop = Identity::self_signed(["shop.example", "*.shop.example"])?;
    let mut config = ServerConfig::new(localhost).with_identities([shop]);
    // Certificates from files would be read again that often.
    config.certificates.check_interval = Some(Duration::from_secs(10));
    Ok(config.with_bind(([127, 0, 0, 1], 0).into()))
}

/// Waits for the next certificate, whatever brings it, and returns the hash that pages need from then on.
async fn next(events: &mut Events<CertificateEvent>) -> Result<CertificateHash> {
    while let Some(event) = events.recv().await {
        match event? {
            CertificateEvent::Changed { new, change, .. } => {
                println!("{change}: new clients are shown another certificate");
                return Ok(new);
            }
            // The old one stays.
            CertificateEvent::Failed { error, .. } => println!("{error}"),
            _ => {}
        }
    }
    Err("the server is gone".into())
}

/// Prints who is shown what.
fn print_names(certificates: &Certificates) {
    for (client, name) in [
        ("www.shop.example", "www.shop.example"),
        ("anybody else", "elsewhere.example"),
    ] {
        let shown = certificates.for_name(name);
        println!("{client} is shown the certificate for {}", shown.names()[0]);
    }
}

/// Prints how long all certificates last, and what is wrong with them.
fn report(server: &Server) {
    let seen = server.diagnostics();
    if let Some(first) = seen.first_to_expire() {
        let days = first.days_left(seen.at);
        println!("the first one to expire has {days} days left");
    }
    for issue in seen.issues() {
        println!("{issue}");
    }
}

async fn connect(server: &Server, hash: CertificateHash) -> Result<Session> {
    let trust = ServerVerification::Hashes(vec![hash]);
    let client = Client::new(ClientConfig::new().with_verification(trust))?;
    let url = format!("https://{}/", server.local_addr()?);
    Ok(client.connect(url).await?)
}

async fn echo(server: Server) {
    while let Some(request) = server.accept().await {
        tokio::spawn(async move {
            let Ok(session) = request.accept().await else {
                return;
            };
            while let Ok(mut stream) = session.accept_bi().await {
                if tokio::io::copy(&mut stream.recv, &mut stream.send)
                    .await
                    .is_ok()
                {
                    let _ = stream.send.finish();
                }
            }
        });
    }
}

async fn say(session: &Session, words: &str) -> Result<String> {
    let mut stream = session.open_bi().await?;
    stream.send.write_all(words.as_bytes()).await?;
    stream.send.finish()?;
    let back = stream.recv.read_to_end(1000).await?;
    Ok(String::from_utf8_lossy(&back).into_owned())
}

#[tokio::main]
async fn main() -> Result {
    let server = Server::bind(&configure()?)?;
    let certificates = server.certificates();
    print_names(certificates);
    let serving = tokio::spawn(echo(server.clone()));

    let mut events = certificates.events();
    let old = certificates.identity();
    let session = connect(&server, old.certificate_hash()).await?;
    // The server does this by itself a day before the end of a self-signed certificate, and when files change.
    certificates.set_default(Identity::self_signed(["localhost", "127.0.0.1"])?);
    let hash = next(&mut events).await?;
    println!("the session goes on: {}", say(&session, "hello").await?);
    say(&connect(&server, hash).await?, "hello").await?;
    println!("a new client trusts the new certificate");
    report(&server);

    server.close(Duration::from_secs(5)).await;
    serving.await?;
    Ok(())
}
