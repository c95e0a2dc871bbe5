//! One session at a time, with a history.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Running, check_echo, client, identity, within};
use wt_client::{Browser, Session};

/// A server, a browser for it, and the URL of a path there.
async fn browser() -> (Running, Browser, impl Fn(&str) -> String) {
    let identity = identity();
    let server = Running::echo(&identity, 0).await;
    let browser = Browser::new(client(&identity));
    let base = server.url();
    (server, browser, move |path| format!("{base}{path}"))
}

fn paths(browser: &Browser) -> Vec<&str> {
    let urls = browser.history();
    urls.map(|url| url.rsplit('/').next().unwrap()).collect()
}

async fn go(browser: &mut Browser, url: String) -> Session {
    within(browser.navigate(&url)).await.unwrap()
}

#[tokio::test]
async fn going_on_and_back_connects_and_closes_what_was_left() {
    let (_server, mut browser, url) = browser().await;
    assert!(browser.session().is_none() && browser.url().is_none());
    assert!(within(browser.back()).await.unwrap().is_none());
    assert!(within(browser.forward()).await.unwrap().is_none());
    assert!(within(browser.refresh()).await.unwrap().is_none());

    let a = go(&mut browser, url("a")).await;
    let b = go(&mut browser, url("b")).await;
    assert!(a.close_reason().unwrap().is_closed_locally());
    check_echo(&b, "b").await;
    assert!(browser.can_go_back() && !browser.can_go_forward());
    let back = within(browser.back()).await.unwrap().unwrap();
    assert_eq!(back.path(), "/a");
    assert!(b.close_reason().is_some());
    assert_eq!((paths(&browser), browser.position()), (vec!["a", "b"], 0));
    assert!(within(browser.back()).await.unwrap().is_none());
    check_echo(&back, "still there").await;
    let forward = within(browser.forward()).await.unwrap().unwrap();
    assert_eq!(forward.path(), "/b");
    assert!(within(browser.forward()).await.unwrap().is_none());
    assert_eq!(browser.url(), Some(&url("b")[..]));
}

#[tokio::test]
async fn what_lay_ahead_is_forgotten_when_going_elsewhere() {
    let (_server, mut browser, url) = browser().await;
    for path in ["a", "b", "c"] {
        go(&mut browser, url(path)).await;
    }
    within(browser.back()).await.unwrap();
    within(browser.back()).await.unwrap();
    go(&mut browser, url("d")).await;
    assert_eq!((paths(&browser), browser.position()), (vec!["a", "d"], 1));
}

#[tokio::test]
async fn the_same_url_keeps_an_open_session_and_replaces_a_closed_one() {
    let (_server, mut browser, url) = browser().await;
    let first = go(&mut browser, url("a?b")).await;
    let same = go(&mut browser, url("a?b#part")).await;
    assert_eq!(
        first.connection().stable_id(),
        same.connection().stable_id()
    );
    let id = first.connection().stable_id();
    let again = within(browser.refresh()).await.unwrap().unwrap();
    assert_ne!(again.connection().stable_id(), id);
    assert!(first.close_reason().is_some());

    again.close(0, "");
    assert!(browser.session().is_none());
    let new = go(&mut browser, url("a?b")).await;
    check_echo(&new, "open").await;
    assert_eq!(browser.history().len(), 1);
}

#[tokio::test]
async fn a_navigation_that_fails_changes_nothing() {
    let (server, mut browser, url) = browser().await;
    go(&mut browser, url("a")).await;
    go(&mut browser, url("b")).await;
    within(browser.back()).await.unwrap();
    let here = browser.session().unwrap().clone();
    for bad in [url("refused"), "no url".to_owned()] {
        within(browser.navigate(&bad)).await.unwrap_err();
        assert_eq!((paths(&browser), browser.position()), (vec!["a", "b"], 0));
        check_echo(&here, "still here").await;
    }
    // Neither does one that is given up.
    let (_socket, port) = common::silent_port();
    let nowhere = format!("https://127.0.0.1:{port}/");
    let limit = std::time::Duration::from_millis(20);
    let given_up = tokio::time::timeout(limit, browser.navigate(&nowhere)).await;
    given_up.unwrap_err();
    assert_eq!(browser.url(), Some(&url("a")[..]));
    check_echo(browser.session().unwrap(), "still here").await;

    // Nor going through the history when there is nobody any more.
    server.kill().await;
    within(here.closed()).await;
    let limit = std::time::Duration::from_millis(200);
    let gone = tokio::time::timeout(limit, browser.forward()).await;
    assert!(!matches!(gone, Ok(Ok(_))), "{gone:?}");
    assert_eq!((browser.position(), browser.can_go_forward()), (0, true));
}

#[tokio::test]
async fn the_history_has_a_limit_and_is_forgotten_on_close() {
    let (_server, browser, url) = browser().await;
    let mut browser = browser.with_max_history(3);
    for path in ["a", "b", "c", "d", "e"] {
        go(&mut browser, url(path)).await;
    }
    assert_eq!(paths(&browser), ["c", "d", "e"]);
    assert_eq!(browser.position(), 2);
    let with = browser.navigate_with("https://localhost:1/", |connect| {
        connect.addresses([([127, 0, 0, 1], 0).into()])
    });
    within(with).await.unwrap_err();

    let session = browser.session().unwrap().clone();
    browser.close();
    assert!(session.close_reason().unwrap().is_closed_locally());
    assert_eq!((browser.history().len(), browser.position()), (0, 0));
    go(&mut browser, url("again")).await;
    assert_eq!(paths(&browser), ["again"]);
}
