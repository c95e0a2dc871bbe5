//! Configurations by name, from the environment and in files.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, net::SocketAddr, time::Duration};

use http::HeaderValue;
use wt_core::{
    Dialect, DialectSet, Endpoint,
    config::{ClientConfig, Congestion, ProxyConfig, Rate, Retry, ServerConfig, StreamCredit},
    tls::{ClientAuth, Identity, ServerVerification},
};

fn server() -> ServerConfig {
    ServerConfig::new(Identity::self_signed(["localhost"]).unwrap())
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn every_field_is_read_and_set_by_its_name() {
    let mut config = server();
    let names = ServerConfig::keys();
    assert_eq!(names.len(), 5 + 19 + 5 + 28 + 5);
    let before = config.fields();
    assert_eq!(before.len(), names.len());
    for (name, value) in &before {
        config.set(name, value).unwrap();
    }
    assert_eq!(config.fields(), before, "what is written can be read");
    config.validate().unwrap();
    let mut client = ClientConfig::new();
    for (name, value) in client.fields() {
        client.set(&name, &value).unwrap();
        assert_eq!(client.get(&name), Some(value));
    }
    let changes = [
        ("bind", "127.0.0.1:0"),
        ("transport.idle_timeout", "1.5"),
        ("transport.keep_alive", "250ms"),
        ("transport.congestion", "reno"),
        ("transport.receive_window", "8 MiB"),
        ("transport.streams_bidi", "10..20"),
        ("transport.batch_packets", "off"),
        ("limits.connections", "7"),
        ("limits.early_age", "2m"),
        ("limits.connection_rate", "20/10s"),
        ("limits.retry", "always"),
        ("session.max_data", "2_000_000"),
        ("certificates.check_interval", "none"),
        ("certificates.renew_before", "36h"),
        ("dialects", "draft-07, draft-15"),
        ("alpn", "h3,x\\x2cy"),
    ];
    for (name, value) in changes {
        config.set(name, value).unwrap();
    }
    assert_eq!(config.bind, SocketAddr::from(([127, 0, 0, 1], 0)));
    assert_eq!(
        config.transport.idle_timeout,
        Some(Duration::from_millis(1500))
    );
    assert_eq!(
        config.transport.keep_alive,
        Some(Duration::from_millis(250))
    );
    assert_eq!(config.transport.congestion, Congestion::NewReno);
    assert_eq!(config.transport.receive_window, 8 << 20);
    assert_eq!(config.transport.streams_bidi, StreamCredit::new(10, 20));
    assert!(!config.transport.batch_packets);
    assert_eq!(config.limits.connections, Some(7));
    let rate = Rate::new(20, Duration::from_secs(10));
    assert_eq!(config.limits.connection_rate, Some(rate));
    assert_eq!(config.limits.retry, Retry::Always);
    assert_eq!(config.limits.early_age, Duration::from_secs(120));
    assert_eq!(config.session.max_data, 2_000_000);
    assert_eq!(config.certificates.check_interval, None);
    let renew_before = Duration::from_secs(36 * 60 * 60);
    assert_eq!(config.certificates.renew_before, renew_before);
    let dialects = DialectSet::only(Dialect::Draft07).with(Dialect::Draft15);
    assert_eq!(config.dialects, dialects);
    assert_eq!(config.alpn, [&b"h3"[..], b"x,y"]);
    config.set("transport.idle_timeout", "none").unwrap();
    assert_eq!(config.transport.idle_timeout, None);
}

#[test]
fn what_is_no_field_or_no_value_is_refused_and_changes_nothing() {
    let mut config = server();
    let before = config.fields();
    for (key, value, reason) in [
        ("transport.idle_timout", "1s", "unknown configuration key"),
        ("idle_timeout", "1s", "unknown configuration key"),
        ("transport", "x", "unknown configuration key"),
        (
            "transport.idle_timeout",
            "-1",
            "must be a time, such as 30s, 250ms, 5m or 1.5 (seconds)",
        ),
        ("transport.initial_mtu", "65536", "is too large"),
        (
            "transport.initial_mtu",
            "-1",
            "must be a whole number, such as 4096 or 4 KiB",
        ),
        (
            "transport.congestion",
            "vegas",
            "must be one of cubic, reno and bbr",
        ),
        ("key_log", "maybe", "must be true or false"),
        (
            "client_auth",
            "perhaps",
            "must be none, optional:FILE or required:FILE",
        ),
    ] {
        let error = config.set(key, value).unwrap_err();
        assert_eq!((&*error.key, &*error.reason), (key, reason));
        assert!(error.value.contains(value), "{error}");
    }
    assert_eq!(config.fields(), before);
    let mut client = ClientConfig::new();
    assert!(client.set("verification", "sha256:abc").is_err());
    assert!(client.set("verification", "/no/such/file").is_err());
    assert!(client.set("headers", "no colon").is_err());
}

#[test]
fn the_environment_goes_over_the_configuration() {
    let config = server()
        .with_variables(variables(&[
            ("WT_TRANSPORT_IDLE_TIMEOUT", "10s"),
            ("WT_LIMITS_SESSIONS_PER_CONNECTION", "3"),
            ("WT_BIND", "127.0.0.1:9"),
            ("WT_LIMITS_CONNECTIONS_PER_ADDRESS", "9"),
            ("WT_SESSION", "of Windows Terminal"),
            ("PATH", "/bin"),
        ]))
        .unwrap();
    assert_eq!(config.transport.idle_timeout, Some(Duration::from_secs(10)));
    assert_eq!(config.limits.sessions_per_connection, 3);
    assert_eq!(config.limits.connections_per_address, Some(9));
    assert_eq!(config.bind.port(), 9);
    let client = ClientConfig::new()
        .with_variables(variables(&[
            ("WT_HEADERS", "authorization: Bearer 1\nx-a: b"),
            ("WT_USER_AGENT", "none"),
            ("WT_VERIFICATION", "insecure"),
        ]))
        .unwrap();
    assert_eq!(client.headers["authorization"], "Bearer 1");
    assert_eq!((client.user_agent, client.headers.len()), (None, 2));
    assert_eq!(client.verification, ServerVerification::Insecure);
    // A value that is none, one that cannot work, and half an identity.
    let refused = |pairs: &[(&str, &str)]| server().with_variables(variables(pairs)).unwrap_err();
    assert_eq!(
        refused(&[("WT_LIMITS_LINGER", "soon")]).key,
        "limits.linger"
    );
    assert_eq!(
        refused(&[("WT_LIMITS_HANDSHAKES", "0")]).key,
        "limits.handshakes"
    );
    let half = refused(&[("WT_IDENTITY_KEY", "k.pem")]);
    assert_eq!(&*half.reason, "both must be provided together");
    let missing = [
        ("WT_IDENTITY_KEY", "no.pem"),
        ("WT_IDENTITY_CERTIFICATE", "no.pem"),
    ];
    assert_eq!(refused(&missing).key, "identity.certificate");
    // The real environment has nothing of ours.
    ClientConfig::new().with_env().unwrap();
}

#[test]
fn presets_are_for_trying_out_and_for_the_open_network() {
    let development = ServerConfig::for_development().unwrap();
    development.validate().unwrap();
    assert!(development.bind.ip().is_loopback() && development.key_log);
    let identity = development.identity.clone();
    let roots = identity.chain().to_vec();
    let address = SocketAddr::from(([0, 0, 0, 0], 443));
    let production =
        ServerConfig::for_production(address, identity.clone(), Some(roots.clone())).unwrap();
    assert_eq!(production.limits.connections, Some(3000));
    assert_eq!(production.client_auth, ClientAuth::Optional(roots.clone()));
    assert!(!production.key_log);
    assert!(ServerConfig::for_production(address, identity.clone(), Some(vec![])).is_err());
    let client = ClientConfig::for_development();
    assert!(client.key_log);
    assert_eq!(client.verification, ServerVerification::Insecure);
    let client = ClientConfig::for_production(Some(roots.clone()), Some(identity)).unwrap();
    assert_eq!(client.verification, ServerVerification::Roots(roots));
    assert!(client.identity.is_some());
    let client = ClientConfig::for_production(None, None).unwrap();
    assert_eq!(client.verification, ServerVerification::SystemRoots);
    assert!(ClientConfig::for_production(Some(vec![]), None).is_err());
}

#[test]
fn builders_set_what_they_say() {
    let identity = Identity::self_signed(["a.example"]).unwrap();
    let hash = identity.certificate_hash();
    let only = DialectSet::only(Dialect::Draft15);
    let server = server()
        .with_identity(identity)
        .with_dialects(only)
        .with_alpn(["h3", "h3-29"])
        .with_key_log(true);
    assert_eq!(server.identity.certificate_hash(), hash);
    assert_eq!(
        (server.dialects, server.alpn.len(), server.key_log),
        (only, 2, true)
    );
    let headers = [("x-a".parse().unwrap(), HeaderValue::from_static("b"))];
    let client = ClientConfig::new()
        .with_dialects(only)
        .with_alpn([b"h3"])
        .with_headers(headers.into_iter().collect())
        .with_user_agent("test/1".to_owned())
        .with_key_log(true);
    assert_eq!(
        (client.dialects, client.alpn.len(), client.key_log),
        (only, 1, true)
    );
    assert_eq!(client.headers["x-a"], "b");
    assert_eq!(client.user_agent.as_deref(), Some("test/1"));
}

#[test]
fn a_proxy_is_refused_honestly() {
    let mut config = ClientConfig::new();
    config.proxy = Some(ProxyConfig::new("https://proxy.example/"));
    let error = config.validate().unwrap_err();
    assert_eq!(error.key, "proxy.url");
    assert!(error.reason.contains("not supported"), "{error}");
    config.proxy.as_mut().unwrap().connect_timeout = Duration::ZERO;
    assert_eq!(config.validate().unwrap_err().key, "proxy.connect_timeout");
}

/// The environment of a process cannot be changed safely from within, so this test runs itself with another one.
#[tokio::test]
async fn secrets_are_written_where_the_environment_says() {
    const FILE: &str = "SSLKEYLOGFILE";
    const INNER: &str = "IN_A_PROCESS_OF_ITS_OWN";
    let mut server = server();
    server.set("bind", "127.0.0.1:0").unwrap();
    if std::env::var_os(INNER).is_some() {
        let hash = server.identity.certificate_hash();
        let client = ClientConfig::new()
            .with_verification(ServerVerification::Hashes(vec![hash]))
            .with_key_log(true);
        let server = Endpoint::server(&server).unwrap();
        let client = Endpoint::client(&client).unwrap();
        let address = server.local_addr().unwrap();
        let (accepted, connected) = tokio::join!(
            async { server.accept().await.unwrap().accept().await },
            client.connect(address, "localhost"),
        );
        accepted.unwrap();
        connected.unwrap();
        return;
    }
    let path = std::env::temp_dir().join(format!("wt-secrets-{}", std::process::id()));
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "secrets_are_written_where_the_environment_says"])
        .env(INNER, "1")
        .env(FILE, &path)
        .stdout(std::process::Stdio::null())
        .status();
    assert!(status.unwrap().success());
    let secrets = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    // Those of the client; the server was not asked to.
    let handshakes = secrets.matches("CLIENT_HANDSHAKE_TRAFFIC_SECRET").count();
    assert_eq!(handshakes, 1, "{secrets}");
}

/// Defaults that are those of PyWebTransport or better ones, as the documentation says them.
#[test]
fn defaults_are_as_documented() {
    let config = server();
    for (key, value) in [
        ("bind", "[::]:4433"),
        ("alpn", "h3"),
        ("client_auth", "none"),
        ("dialects", "draft-02,draft-07,draft-13/14,draft-15/16"),
        ("transport.idle_timeout", "30s"),
        ("transport.keep_alive", "none"),
        ("transport.congestion", "cubic"),
        ("transport.stream_receive_window", "1250000"),
        ("transport.receive_window", "16777216"),
        ("transport.streams_bidi", "16..1280"),
        ("transport.datagram_receive_buffer", "1048576"),
        ("session.max_data", "4194304"),
        ("session.auto_scale", "true"),
        ("session.max_streams_bidi", "1000"),
        ("limits.connections", "none"),
        ("limits.sessions_per_connection", "64"),
        ("limits.early_streams", "128"),
        ("limits.early_age", "5s"),
        ("limits.close_timeout", "5s"),
        ("limits.connections_per_address", "none"),
        ("limits.handshakes_per_address", "none"),
        ("limits.session_rate", "none"),
        ("limits.retry", "under-load"),
    ] {
        assert_eq!(config.get(key).as_deref(), Some(value), "{key}");
    }
    let client = ClientConfig::new();
    for (key, value) in [
        ("bind", "[::]:0"),
        ("verification", "system"),
        ("connect_timeout", "30s"),
        ("transport.keep_alive", "10s"),
        ("headers", ""),
    ] {
        assert_eq!(client.get(key).as_deref(), Some(value), "{key}");
    }
    assert!(client.get("user_agent").unwrap().starts_with("wt/"));
}

#[test]
fn a_server_s_file_is_read_and_written() {
    let folder = std::env::temp_dir().join(format!("wt-config-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let made = Identity::self_signed(["localhost"]).unwrap();
    let (chain_pem, key_pem) = made.to_pem();
    fs::write(&certificate, chain_pem).unwrap();
    fs::write(&key, key_pem).unwrap();
    let text = format!(
        r#"{{
            "bind": "127.0.0.1:4433",
            "identity": {{ "certificate": {certificate:?}, "key": {key:?} }},
            "identities": [{{ "certificate": {certificate:?}, "key": {key:?} }}],
            "certificates": {{ "max": 2, "check_interval": "1m", "renew": false }},
            "client_auth": "required:{}",
            "transport": {{ "idle_timeout": 12.5, "keep_alive": "4s", "congestion": "bbr" }},
            "limits": {{ "connections": 10, "linger": 1, "early_age": "100ms", "session_rate": "5/m" }}
        }}"#,
        certificate.display()
    );
    let config: ServerConfig = serde_json::from_str(&text).unwrap();
    config.validate().unwrap();
    assert_eq!(
        config.transport.idle_timeout,
        Some(Duration::from_millis(12_500))
    );
    assert_eq!(config.limits.linger, Duration::from_secs(1));
    let rate = Rate::new(5, Duration::from_secs(60));
    assert_eq!(config.limits.session_rate, Some(rate));
    assert_eq!(config.identities.len(), 1);
    let minute = Duration::from_secs(60);
    assert_eq!(config.certificates.check_interval, Some(minute));
    assert!(!config.certificates.renew);
    assert_eq!(config.identity.certificate_hash(), made.certificate_hash());
    let written = serde_json::to_string(&config).unwrap();
    assert!(!written.contains("PRIVATE KEY"), "no key is written");
    let again: ServerConfig = serde_json::from_str(&written).unwrap();
    assert_eq!(again.fields(), config.fields());
    assert_eq!(serde_json::to_string(&again).unwrap(), written);
    // The same files by the environment.
    let names = [&certificate, &key].map(|path| path.display().to_string());
    let config = server()
        .with_variables(variables(&[
            ("WT_IDENTITY_CERTIFICATE", &names[0]),
            ("WT_IDENTITY_KEY", &names[1]),
        ]))
        .unwrap();
    assert_eq!(config.identity.certificate_hash(), made.certificate_hash());
    fs::remove_dir_all(&folder).unwrap();
    let error = serde_json::to_string(&server()).unwrap_err();
    assert!(error.to_string().contains("to_pem"), "{error}");
}

#[test]
fn a_client_s_file_is_read_and_written() {
    let mut config = ClientConfig::new().with_connect_timeout(Duration::from_nanos(1_000_000_001));
    let identity = Identity::self_signed(["localhost"]).unwrap();
    config.verification = ServerVerification::Hashes(vec![identity.certificate_hash()]);
    for (name, value) in [("x-a", "1"), ("x-b", "2"), ("x-b", "3")] {
        config.headers.append(name, HeaderValue::from_static(value));
    }
    config.limits.early_bytes = 17;
    let written = serde_json::to_string(&config).unwrap();
    let again: ClientConfig = serde_json::from_str(&written).unwrap();
    assert_eq!(again.fields(), config.fields());
    assert_eq!(again.headers, config.headers);
    assert_eq!(serde_json::to_string(&again).unwrap(), written);
    config.verification = ServerVerification::Roots(identity.chain().to_vec());
    let written = serde_json::to_string(&config).unwrap();
    let again: ClientConfig = serde_json::from_str(&written).unwrap();
    assert_eq!(again.verification, config.verification);
    // Nothing at all is the defaults, and what is not known is no mistake that goes unnoticed.
    let defaults: ClientConfig = serde_json::from_str("{}").unwrap();
    assert_eq!(defaults.fields(), ClientConfig::new().fields());
    for text in [
        r#"{ "conect_timeout": 1 }"#,
        r#"{ "limits": { "early_age": "old" } }"#,
        r#"{ "limits": { "early_age": -1 } }"#,
        r#"{ "headers": { "a b": "c" } }"#,
        r#"{ "proxy": { "url": "https://p/", "port": 1 } }"#,
    ] {
        assert!(
            serde_json::from_str::<ClientConfig>(text).is_err(),
            "{text}"
        );
    }
    let proxy = r#"{ "proxy": { "url": "https://p/", "connect_timeout": 3 } }"#;
    let config: ClientConfig = serde_json::from_str(proxy).unwrap();
    assert_eq!(
        config.proxy.unwrap().connect_timeout,
        Duration::from_secs(3)
    );
}
