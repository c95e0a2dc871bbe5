//! Who may open a session, and how often.
//!
//! ```console
//! $ cargo run -p wt --example auth_and_rate_limit
//! without a token: 401 Unauthorized, www-authenticate: Bearer
//! with a wrong one: 403 Forbidden
//! with the right one: hello, ann
//! once more: hello, ann
//! and again: 429 Too Many Requests, retry-after: 30
//! ```

use std::time::Duration;

use wt::{
    Client, ClientConfig, Identity, ServerApp, ServerConfig, ServerVerification, Session,
    http::{HeaderMap, header},
    server::{
        BoxError,
        extract::Extension,
        middleware::{Auth, AuthError, RateLimit},
    },
};

#[derive(Clone)]
struct User(&'static str);

/// Says whose token it is. It could as well ask a database.
async fn check(headers: HeaderMap) -> Result<User, AuthError> {
    let token = headers.get(header::AUTHORIZATION);
    match token.map(|value| value.as_bytes()) {
        Some(b"Bearer 5f1c") => Ok(User("ann")),
        Some(_) => Err(AuthError::Forbidden),
        None => Err(AuthError::Unauthorized),
    }
}

async fn greet(session: Session, Extension(User(name)): Extension<User>) -> Result<(), BoxError> {
    let mut stream = session.open_uni().await?;
    stream
        .write_all(format!("hello, {name}").as_bytes())
        .await?;
    stream.finish()?;
    // The end of the handler closes the session: leave it to the client, which reads first.
    session.closed().await;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let identity = Identity::self_signed(["localhost", "127.0.0.1"])?;
    let hash = identity.certificate_hash();
    let config = ServerConfig::new(identity).with_bind(([127, 0, 0, 1], 0).into());
    let by_token = RateLimit::new(2, Duration::from_secs(60)).by_key(|request| {
        let token = request.headers().get(header::AUTHORIZATION)?;
        Some(token.to_str().ok()?.to_owned())
    });
    let running = ServerApp::new(config)
        .route("/", greet)
        // The one added last sees the request first: only known tokens are counted.
        .layer(by_token)
        .layer(Auth::new(check))
        .start()
        .await?;

    let verification = ServerVerification::Hashes(vec![hash]);
    let client = Client::new(ClientConfig::new().with_verification(verification))?;
    let url = format!("https://{}/", running.local_addr()?);
    for (what, token) in [
        ("without a token", None),
        ("with a wrong one", Some("Bearer 0")),
        ("with the right one", Some("Bearer 5f1c")),
        ("once more", Some("Bearer 5f1c")),
        ("and again", Some("Bearer 5f1c")),
    ] {
        println!("{what}: {}", ask(&client, &url, token).await?);
    }
    client.close().await;
    Ok(running.shut_down().await?)
}

/// Opens a session, and returns the greeting or how it was refused.
async fn ask(client: &Client, url: &str, token: Option<&str>) -> Result<String, BoxError> {
    let mut connect = client.connect(url);
    if let Some(token) = token {
        connect = connect.header("authorization", token);
    }
    match connect.await {
        Ok(session) => {
            let greeting = session.accept_uni().await?.read_to_end(1024).await?;
            session.close(0, "");
            Ok(String::from_utf8(greeting.to_vec())?)
        }
        Err(wt::client::ConnectError::Session(wt::core::ConnectError::Refused {
            status,
            headers,
        })) => {
            let fields = headers.iter();
            let fields = fields.map(|(name, value)| format!(", {name}: {value:?}"));
            Ok(format!(
                "{status}{}",
                fields.collect::<String>().replace('"', "")
            ))
        }
        Err(error) => Err(error.into()),
    }
}
