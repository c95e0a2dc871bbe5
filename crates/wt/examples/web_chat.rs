//! A server for pages in plain JavaScript: calls in both directions, and a chat by publish-subscribe.
//!
//! ```console
//! $ cargo run -p wt --example web_chat --features messaging
//! the server asks ann to accept: be kind
//! welcome, ann: there are 0 others
//! the server asks bob to accept: be kind
//! welcome, bob: there are 1 others
//! ann hears: bob: hello
//! bob hears: bob: hello
//! $ cargo run -p wt --example web_chat --features messaging -- 127.0.0.1:4433
//! open http://localhost:8000/#https://127.0.0.1:4433/chat,f6b3a819...
//! ```
//!
//! Without an address, two clients in the same process talk to each other and it ends; with one, it
//! serves pages until Ctrl-C. The page is `web/index.html`, and `web/wt.js` is what it is made with:
//!
//! ```console
//! $ python3 -m http.server 8000 --directory crates/wt/examples/web
//! ```

use std::{env, net::SocketAddr};

use tokio::sync::watch;
use wt::{
    Client, ClientConfig, Identity, ServerApp, ServerConfig, ServerVerification, Session,
    messaging::{
        pubsub::{MemoryBroker, PubSub, PubSubService, Subscription},
        rpc::{Methods, Request, Rpc, RpcConfig, RpcError},
    },
    server::{BoxError, extract::State, middleware::Origins},
};

/// What who enters has to accept.
const RULES: &str = "be kind";

/// Serves one page: a stream for calls first, and once it has entered, streams to the broker.
async fn chat(session: Session, State(service): State<PubSubService>) -> Result<(), BoxError> {
    let (entered, mut door) = watch::channel(false);
    let others = service.stats();
    let methods =
        Methods::new().method_with("enter", move |request: Request, (name,): (String,)| {
            let entered = entered.clone();
            async move {
                let page = request.peer().ok_or_else(|| RpcError::new(2, "gone"))?;
                if !page.call::<bool>("accept", (RULES,)).await? {
                    return Err(RpcError::new(1, "who does not accept the rules stays out"));
                }
                entered.send_replace(true);
                Ok(format!(
                    "welcome, {name}: there are {} others",
                    others.clients
                ))
            }
        });
    let rpc = Rpc::accept(&session, methods, RpcConfig::new()).await?;
    tokio::select! {
        // It fails when nobody can enter any more.
        _ = door.wait_for(|entered| *entered) => {}
        _ = rpc.closed() => return Ok(()),
    }
    service.serve(&session).await;
    Ok(())
}

/// Puts it together; `pages` are the origins whose pages may enter.
pub(crate) fn app(
    config: ServerConfig,
    pages: &[&str],
) -> Result<ServerApp<PubSubService>, BoxError> {
    let service = PubSubService::new(MemoryBroker::new());
    Ok(ServerApp::with_state(config, service)
        .route("/chat", chat)
        .layer(Origins::new(pages)?.or_none()))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let identity = Identity::self_signed(["localhost", "127.0.0.1", "::1"])?;
    let hash = identity.certificate_hash();
    let config = ServerConfig::new(identity);
    if let Some(address) = env::args().nth(1) {
        let address: SocketAddr = address.parse()?;
        let page = "http://localhost:8000";
        println!("open {page}/#https://{address}/chat,{}", hash.to_hex());
        app(config, &[page])?.bind(address).serve().await?;
        return Ok(());
    }

    let app = app(config, &[])?.bind(([127, 0, 0, 1], 0).into());
    let running = app.start().await?;
    let url = format!("https://{}/chat", running.local_addr()?);
    let verification = ServerVerification::Hashes(vec![hash]);
    let client = Client::new(ClientConfig::new().with_verification(verification))?;

    let mut ann = Guest::enter(&client, &url, "ann").await?;
    let mut bob = Guest::enter(&client, &url, "bob").await?;
    bob.pubsub.publish("rooms/lobby", "bob: hello").await?;
    ann.hear("bob: hello").await?;
    bob.hear("bob: hello").await?;
    ann.session.close(0, "bye");
    bob.session.close(0, "bye");
    client.close().await;
    Ok(running.shut_down().await?)
}

/// Someone who chats, and does what the page does.
struct Guest {
    name: &'static str,
    session: Session,
    pubsub: PubSub,
    lobby: Subscription,
}

impl Guest {
    async fn enter(client: &Client, url: &str, name: &'static str) -> Result<Self, BoxError> {
        let session = client.connect(url).await?;
        let methods = Methods::new().method("accept", move |rules: String| async move {
            println!("the server asks {name} to accept: {rules}");
            Ok(true)
        });
        let rpc = Rpc::open(&session, methods, RpcConfig::new()).await?;
        println!("{}", rpc.call::<String>("enter", (name,)).await?);
        let pubsub = PubSub::open(&session).await?;
        let lobby = pubsub.subscribe("rooms/lobby").await?;
        Ok(Self {
            name,
            session,
            pubsub,
            lobby,
        })
    }

    async fn hear(&mut self, expected: &str) -> Result<(), BoxError> {
        let message = self.lobby.recv().await.ok_or("the broker is gone")?;
        let text = message.text().unwrap_or_default();
        println!("{} hears: {text}", self.name);
        match text == expected {
            true => Ok(()),
            false => Err(format!("not {expected:?}").into()),
        }
    }
}
