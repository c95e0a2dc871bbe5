//! What a client does beyond one connection.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    error::Error as _,
    future,
    net::{Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use common::{Running, check_echo, client, client_config, echo, identity, until, within};
use futures_util::future::join_all;
use http::{HeaderMap, HeaderName, HeaderValue};
use wt_client::{Client, ConnectError, Dial, Open, ProxyConfig, RetryPolicy};
use wt_core::SessionRequest;
use wt_server::Accept;

const MS: Duration = Duration::from_millis(1);

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let fields = fields.iter().map(|(name, value)| {
        let name = HeaderName::from_static(name);
        (name, HeaderValue::from_static(value))
    });
    fields.collect()
}

/// Accepts, and answers with the header fields that begin with `x-`.
async fn mirror(request: SessionRequest) {
    let mut answer = Accept::new();
    for (name, value) in request.headers() {
        if name.as_str().starts_with("x-") {
            answer.headers.append(name.clone(), value.clone());
        }
    }
    request.accept_with(answer).await.unwrap().closed().await;
}

#[tokio::test]
async fn fields_of_a_call_go_over_default_ones_and_those_over_configured_ones() {
    let identity = identity();
    let server = Running::start(&identity, 0, mirror).await;
    let mut config = client_config(&identity);
    config.headers = headers(&[("x-a", "config"), ("x-b", "config"), ("x-c", "config")]);
    let client = Client::new(config).unwrap();
    let another = client.clone();
    client.set_default_headers(headers(&[("x-b", "default"), ("x-c", "default")]));
    assert_eq!(another.default_headers().len(), 2);
    let connect = another.connect(server.url()).header("X-C", "call");
    let session = within(connect).await.unwrap();
    let got = session.response_headers();
    assert_eq!(got["x-a"], "config");
    assert_eq!(got["x-b"], "default");
    assert_eq!(got["x-c"], "call");
    // Set again, they replace what was there.
    client.set_default_headers(headers(&[("x-a", "new")]));
    let session = within(client.connect(server.url())).await.unwrap();
    let got = session.response_headers();
    assert_eq!(got["x-a"], "new");
    assert_eq!(got["x-b"], "config");
}

#[tokio::test]
async fn a_new_token_is_sent_when_the_session_is_made_again() {
    let identity = identity();
    let server = Running::start(&identity, 0, mirror).await;
    let client = client(&identity);
    client.set_default_headers(headers(&[("x-token", "one")]));
    let policy = RetryPolicy::new().with_delay(MS, MS);
    let connect = client.connect(server.url());
    let reconnecting = connect.reconnecting(policy).unwrap();
    let session = within(reconnecting.session()).await.unwrap();
    assert_eq!(session.response_headers()["x-token"], "one");
    client.set_default_headers(headers(&[("x-token", "two")]));
    session.close(0, "");
    within(session.closed()).await;
    let session = within(reconnecting.session()).await.unwrap();
    assert_eq!(session.response_headers()["x-token"], "two");
}

#[tokio::test]
async fn a_closed_client_stays_closed() {
    let identity = identity();
    let server = Running::echo(&identity, 0).await;
    let client = client(&identity).with_pooling(true);
    let session = within(client.connect(server.url())).await.unwrap();
    session.close(0, "");
    assert!(!client.is_closed());
    let another = client.clone();
    within(client.close()).await;
    within(client.close()).await;
    assert!(another.is_closed());
    let error = within(another.connect(server.url())).await.unwrap_err();
    assert!(matches!(error, ConnectError::Closed), "{error}");
    assert!(error.is_permanent());
}

#[tokio::test]
async fn close_ends_what_is_being_connected() {
    let (_socket, port) = common::silent_port();
    let mut config = client_config(&identity());
    config.limits.close_timeout = MS * 50;
    let client = Client::new(config).unwrap();
    let connect = client.connect(format!("https://127.0.0.1:{port}/"));
    let connecting = tokio::spawn(connect.into_future());
    until(|| client.diagnostics().connections.connecting == 1).await;
    within(client.close()).await;
    let error = within(connecting).await.unwrap().unwrap_err();
    assert!(matches!(error, ConnectError::Closed), "{error}");
}

#[tokio::test]
async fn no_more_connections_than_allowed_are_made() {
    let identity = identity();
    let server = Running::echo(&identity, 0).await;
    let mut config = client_config(&identity);
    config.limits.connections = Some(2);
    let client = Client::new(config).unwrap();
    let attempts = (0..8).map(|_| client.connect(server.url()).into_future());
    let (sessions, refused): (Vec<_>, Vec<_>) = within(join_all(attempts))
        .await
        .into_iter()
        .partition(Result::is_ok);
    assert_eq!((sessions.len(), refused.len()), (2, 6));
    for refused in refused {
        let error = refused.unwrap_err();
        assert!(matches!(
            error,
            ConnectError::TooManyConnections { limit: 2 }
        ));
        assert!(!error.is_permanent());
    }
    assert_eq!(server.server.connections().len(), 2);
    // Connections that are over make room.
    drop(sessions);
    let room = async {
        loop {
            match client.connect(server.url()).await {
                Ok(session) => return session,
                Err(ConnectError::TooManyConnections { .. }) => tokio::time::sleep(MS).await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    check_echo(&within(room).await, "there is room").await;
}

#[tokio::test]
async fn figures_tell_how_connecting_went() {
    let identity = identity();
    let server = Running::echo(&identity, 0).await;
    let client = client(&identity);
    let stats = client.stats();
    assert_eq!((stats.attempted, stats.avg_connect_time()), (0, None));
    assert!((stats.success_rate() - 1.0).abs() < f64::EPSILON);

    let one = within(client.connect(server.url())).await.unwrap();
    let two = within(client.connect(server.url())).await.unwrap();
    let refused = client.connect(format!("{}refused", server.url()));
    within(refused).await.unwrap_err();
    let (_socket, port) = common::silent_port();
    let given_up = client.connect(format!("https://127.0.0.1:{port}/"));
    tokio::time::timeout(MS * 20, given_up.into_future())
        .await
        .unwrap_err();

    let stats = client.stats();
    assert_eq!(
        (stats.attempted, stats.succeeded, stats.failed),
        (4, 2, 2),
        "{stats:?}"
    );
    assert!((stats.success_rate() - 0.5).abs() < f64::EPSILON);
    let (min, max) = (
        stats.min_connect_time.unwrap(),
        stats.max_connect_time.unwrap(),
    );
    let average = stats.avg_connect_time().unwrap();
    assert!(Duration::ZERO < min && min <= average && average <= max);
    assert_eq!(stats.total_connect_time, min + max);
    let fields = stats.fields();
    let field = |name| &fields.iter().find(|(key, _)| *key == name).unwrap().1;
    assert_eq!((&field("attempted")[..], &field("failed")[..]), ("4", "2"));
    assert_eq!(field("success_rate"), "0.5000");

    // That of the refused session goes when its last words are said.
    until(|| client.diagnostics().connections.connected == 2).await;
    let diagnostics = client.diagnostics();
    assert_eq!(diagnostics.sessions, 2);
    assert_eq!(diagnostics.connections.connecting, 0);
    assert!(diagnostics.issues().is_empty());
    for session in [one, two] {
        session.close(0, "");
    }
    until(|| client.diagnostics().connections.connected == 0).await;
}

#[tokio::test]
async fn too_many_failures_are_an_issue() {
    let client = client(&identity());
    for _ in 0..11 {
        // Only addresses that were given are tried: none of this family can be.
        let connect = client.connect("https://localhost/");
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        within(connect.addresses([nowhere])).await.unwrap_err();
    }
    let issues = client.diagnostics().issues();
    let words: Vec<_> = issues.iter().map(ToString::to_string).collect();
    assert_eq!(words, ["Low connection success rate: 0.00%"]);
}

#[tokio::test]
async fn a_proxy_is_refused_in_words_and_nothing_is_sent_past_it() {
    let identity = identity();
    let server = Running::echo(&identity, 0).await;
    let client = client(&identity);
    let proxied = client
        .clone()
        .with_proxy(ProxyConfig::new("https://proxy.example:3128"));
    let error = within(proxied.connect(server.url())).await.unwrap_err();
    assert!(matches!(&error, ConnectError::ProxyUnsupported { url } if url.contains("3128")));
    assert!(error.to_string().contains("CONNECT-UDP"), "{error}");
    assert!(error.is_permanent());
    assert_eq!(client.endpoint().open_connections(), 0);
    within(client.connect(server.url())).await.unwrap();
}

#[tokio::test]
async fn names_and_addresses_of_both_families_lead_to_servers() {
    let identity = identity();
    let four = Running::echo(&identity, 0).await;
    let six = Running::start_at(&identity, (Ipv6Addr::LOCALHOST, 0).into(), echo).await;
    let client = client(&identity);
    for url in [
        format!("https://127.0.0.1:{}/", four.port),
        format!("https://localhost:{}/", four.port),
        format!("https://[::1]:{}/", six.port),
    ] {
        let session = within(client.connect(&url)).await.unwrap();
        check_echo(&session, &url).await;
    }
    let connect = client.connect("https://no-such-host.invalid/");
    let error = within(connect).await.unwrap_err();
    let no_host = matches!(
        error,
        ConnectError::Resolve { .. } | ConnectError::NoAddress { .. }
    );
    assert!(no_host, "{error}");
}

#[tokio::test]
async fn the_first_address_that_answers_is_taken() {
    let identity = identity();
    let server = Running::echo(&identity, 0).await;
    let client = client(&identity);
    let (_socket, silent) = common::silent_port();
    let silent = SocketAddr::from(([127, 0, 0, 1], silent));
    let refused = SocketAddr::from(([127, 0, 0, 1], 0));
    let connect = client.connect("https://localhost:1/");
    let session = connect.addresses([silent, refused, server.address]);
    let session = within(session).await.unwrap();
    assert_eq!(session.remote_address().port(), server.port);
    assert_eq!(session.authority(), "localhost:1");
    check_echo(&session, "the third").await;

    // All at once, and the answer is what is known.
    let connect = client.connect("https://localhost:1/").timeout(MS * 400);
    let error = within(connect.addresses([silent])).await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert!(error.to_string().contains(&silent.to_string()), "{error}");
}

#[tokio::test]
async fn pooled_sessions_that_are_asked_for_at_once_share_a_connection() {
    let identity = identity();
    let server = Running::echo(&identity, 0).await;
    let client = client(&identity).with_pooling(true);
    let attempts = (0..16).map(|_| client.connect(server.url()).into_future());
    let sessions = within(join_all(attempts)).await;
    for session in &sessions {
        check_echo(session.as_ref().unwrap(), "shared").await;
    }
    assert_eq!(server.server.connections().len(), 1);
}

#[tokio::test]
async fn the_time_limit_covers_the_answer() {
    let identity = identity();
    let server = Running::start(&identity, 0, |request| async move {
        std::future::pending::<()>().await;
        drop(request);
    })
    .await;
    let connect = client(&identity).connect(server.url()).timeout(MS * 400);
    let error = within(connect).await.unwrap_err();
    assert!(matches!(error, ConnectError::TimedOut(limit) if limit == MS * 400));
    assert!(error.is_timeout());
}

#[tokio::test]
async fn connections_and_sessions_are_made_in_the_applications_way() {
    let identity = identity();
    let server = Running::start(&identity, 0, mirror).await;
    let dialled = Arc::new(AtomicUsize::new(0));
    let (count, address) = (dialled.clone(), server.address);
    let dialer = move |mut dial: Dial| {
        count.fetch_add(1, SeqCst);
        assert_eq!(dial.target.path, "/way");
        dial.addresses = vec![address];
        dial.run()
    };
    let opener = |mut open: Open| async {
        open.headers
            .insert("x-way", HeaderValue::from_static("own"));
        open.run().await
    };
    let usual = client(&identity);
    let own = usual.clone().with_dialer(dialer).with_opener(opener);
    let url = "https://localhost:1/way";
    let session = within(own.connect(url)).await.unwrap();
    assert_eq!(session.response_headers()["x-way"], "own");
    assert_eq!(session.remote_address().port(), server.port);
    // Whoever reconnects or pools goes the same way; other handles do not.
    let again = own.connect(url).reconnecting(RetryPolicy::new()).unwrap();
    within(again.session()).await.unwrap();
    let other = format!("{}way", server.url());
    let session = within(usual.connect(&other)).await.unwrap();
    assert!(!session.response_headers().contains_key("x-way"));
    assert_eq!(dialled.load(SeqCst), 2);

    let broken = usual.with_dialer(async |_| Err(ConnectError::custom("no way")));
    let error = within(broken.connect(url)).await.unwrap_err();
    assert_eq!(error.to_string(), "the application could not connect");
    assert_eq!(error.source().unwrap().to_string(), "no way");
    assert!(!error.is_permanent());
    // What it took is given back.
    assert_eq!(broken.diagnostics().connections.connecting, 0);
}

#[tokio::test]
async fn names_are_looked_up_in_the_applications_way() {
    let identity = identity();
    let server = Running::echo(&identity, 0).await;
    let address = server.address;
    let client = client(&identity);
    let known = client.clone().with_resolver(move |target| async move {
        match &target.host[..] {
            "localhost" => Ok(vec![address]),
            "nowhere" => Ok(Vec::new()),
            _ => Err(std::io::Error::other("not in the book")),
        }
    });
    let session = within(known.connect("https://localhost:1/")).await.unwrap();
    check_echo(&session, "by the book").await;
    let error = within(known.connect("https://nowhere/")).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::NoAddress { ref host } if host == "nowhere"),
        "{error}"
    );
    let error = within(known.connect("https://other/")).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Resolve { ref reason, .. } if reason == "not in the book"),
        "{error}"
    );
}

#[tokio::test]
async fn the_time_limit_covers_name_connection_and_session() {
    let identity = identity();
    let server = Running::echo(&identity, 0).await;
    let client = client(&identity);
    let limit = MS * 200;
    let name = client.clone().with_resolver(|_| future::pending());
    let dialer = client.clone().with_dialer(|_| future::pending());
    let opener = client.clone().with_opener(|_| future::pending());
    for (what, client) in [("name", name), ("dialer", dialer), ("opener", opener)] {
        // A name, so that it has to be looked up.
        let url = format!("https://localhost:{}/", server.port);
        let error = within(client.connect(url).timeout(limit))
            .await
            .unwrap_err();
        assert!(
            matches!(error, ConnectError::TimedOut(after) if after == limit),
            "{what}: {error}"
        );
        assert_eq!(client.diagnostics().connections.connecting, 0, "{what}");
    }
}
