//! `wtctl doctor`: arguments, servers that are not there, and what the request carries.

#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod common;

use common::{fails, soon, wtctl};
use http::StatusCode;
use serde_json::Value;
use wt::{Accept, Identity, Server, ServerConfig};

#[tokio::test]
async fn errors_have_one_line_and_say_what_to_do() {
    for (args, words) in [
        (&["http://localhost/"][..], "https"),
        (&["https://localhost:0/"], "port 0"),
        (&["https://a/", "--browser", "mosaic"], "chromium"),
        (&["https://a/", "--insecure", "--ca", "x"], "cannot be used"),
        (&[], "<URL>"),
    ] {
        let said = fails(2, &[&["doctor"], args].concat()).await;
        assert!(said.contains(words), "{args:?}: {said}");
    }
    let missing = ["doctor", "https://127.0.0.1:1/", "--ca", "/nowhere/ca.pem"];
    let said = fails(2, &missing).await;
    assert!(said.contains("/nowhere/ca.pem"), "{said}");
    let nobody = ["doctor", "https://127.0.0.1:1/", "--timeout", "300ms"];
    let said = fails(1, &nobody).await;
    assert!(said.contains("no answer from 127.0.0.1:1"), "{said}");
}

#[tokio::test]
async fn json_says_that_nobody_is_there() {
    let output = wtctl(&[
        "doctor",
        "https://127.0.0.1:1/",
        "--timeout",
        "300ms",
        "--json",
    ])
    .await;
    assert_eq!(output.status.code(), Some(1));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&json["good"], &json["url"]),
        (&false.into(), &"https://127.0.0.1:1/".into())
    );
    let error = json["error"].as_str().unwrap();
    assert!(error.contains("no answer from 127.0.0.1:1"), "{error}");
}

/// A server that takes sessions from one origin only.
fn picky() -> (Server, String) {
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let config = ServerConfig::new(identity).with_bind(([127, 0, 0, 1], 0).into());
    let server = Server::bind(&config).unwrap();
    let url = format!("https://{}/room?n=1", server.local_addr().unwrap());
    let accepting = server.clone();
    tokio::spawn(async move {
        while let Some(request) = accepting.accept().await {
            tokio::spawn(async move {
                let origin = request.headers().get("origin").cloned();
                if origin.is_none_or(|origin| origin != "https://page.example") {
                    let _ = request.reject(StatusCode::FORBIDDEN);
                    return;
                }
                let last = request.protocols().last().cloned();
                let accept = last.map_or_else(Accept::new, |last| Accept::new().protocol(last));
                let session = request.accept_with(accept).await.unwrap();
                session.closed().await;
            });
        }
    });
    (server, url)
}

#[tokio::test]
async fn requests_carry_an_origin_as_those_of_pages_do() {
    let (server, url) = picky();
    let output = wtctl(&["doctor", &url]).await;
    let words = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{words}");
    for part in [
        "status 403 Forbidden",
        "-> let the server accept the Origin https://127.0.0.1:",
    ] {
        assert!(words.contains(part), "no {part:?} in:\n{words}");
    }
    let page = ["-H", "Origin: https://page.example"];
    let offer = ["--protocol", "b", "--protocol", "a", "--json"];
    let output = wtctl(&[&["doctor", &url][..], &page, &offer].concat()).await;
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{json}");
    for dialect in json["dialects"].as_array().unwrap() {
        assert_eq!(dialect["protocol"], "a", "{json}");
        assert_eq!(dialect["status"], 200);
    }
    // All of its connections are gone.
    soon(async {
        while !server.connections().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
}
