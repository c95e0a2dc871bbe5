//! The example of a chat behind a real Chromium. What happens stands in `tests/browser/chat.mjs`.

use wt::{Identity, ServerConfig};
use wt_tests::browser;

#[path = "../../crates/wt/examples/chat.rs"]
#[allow(dead_code, reason = "of an example only the server is used")]
mod chat;

#[tokio::test]
async fn pages_in_a_room_hear_each_other_and_strangers_are_refused() {
    if !browser::available(browser::Browser::Chromium) {
        return;
    }
    let identity = Identity::self_signed(["localhost", "127.0.0.1", "::1"]).unwrap();
    let hash = identity.certificate_hash().to_hex();
    let config = ServerConfig::new(identity).with_bind(([127, 0, 0, 1], 0).into());
    // The pages come from a port that is free.
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    drop(free);
    let origin = format!("http://localhost:{port}");
    let running = chat::app(config, &[&origin])
        .unwrap()
        .start()
        .await
        .unwrap();
    let url = format!("https://127.0.0.1:{}", running.local_addr().unwrap().port());
    let pages = tokio::task::spawn_blocking(move || {
        let args = ["--url", &url, "--hash", &hash, "--port", &port];
        browser::case("chat.mjs", &args);
    });
    pages.await.unwrap();
    running.shut_down().await.unwrap();
}
