use super::*;
use crate::tls::{CertificateHash, ClientAuth, Identity, ServerVerification};

fn server() -> ServerConfig {
    ServerConfig::new(Identity::self_signed(["localhost"]).unwrap())
}

/// What `validate` says of a server's configuration after `change`.
fn refused_on_server(change: impl FnOnce(&mut ServerConfig)) -> ConfigError {
    let mut config = server();
    change(&mut config);
    config.validate().unwrap_err()
}

fn refused_on_client(change: impl FnOnce(&mut ClientConfig)) -> ConfigError {
    let mut config = ClientConfig::new();
    change(&mut config);
    config.validate().unwrap_err()
}

#[test]
fn defaults_are_valid() {
    server().validate().unwrap();
    ClientConfig::new().validate().unwrap();
}

/// RFC 9114, 6.1 and 6.2.
#[test]
fn the_defaults_are_enough_for_http3() {
    let server = TransportConfig::default();
    // A connection begins with fewer, which it is not idle with for long.
    assert!(server.streams_bidi.max >= 100);
    for transport in [server, TransportConfig::client()] {
        assert!(transport.streams_uni.initial >= 3);
        assert!(transport.stream_receive_window >= 1024);
    }
}

#[test]
fn error_says_key_value_and_reason() {
    let error = refused_on_server(|config| config.limits.early_age = Duration::ZERO);
    assert_eq!(
        error.to_string(),
        "invalid configuration for `limits.early_age`: 0ns: must be longer than zero"
    );
}

#[test]
fn limits_of_zero_are_refused_where_nothing_would_work() {
    type Change = fn(&mut Limits);
    let cases: [(&str, Change); 6] = [
        ("limits.connections", |limits| limits.connections = Some(0)),
        ("limits.sessions_per_connection", |limits| {
            limits.sessions_per_connection = 0
        }),
        ("limits.pending_requests", |limits| {
            limits.pending_requests = 0
        }),
        ("limits.pending_headers", |limits| {
            limits.pending_headers = 0
        }),
        ("limits.datagram_queue", |limits| limits.datagram_queue = 0),
        ("limits.field_section_size", |limits| {
            limits.field_section_size = 0
        }),
    ];
    for (key, change) in cases {
        assert_eq!(
            refused_on_server(|config| change(&mut config.limits)).key,
            key
        );
        assert_eq!(
            refused_on_client(|config| change(&mut config.limits)).key,
            key
        );
    }
}

#[test]
fn early_arrivals_can_be_turned_off() {
    let mut config = server();
    config.limits.early_streams = 0;
    config.limits.early_datagrams = 0;
    config.limits.early_bytes = 0;
    config.validate().unwrap();
}

#[test]
fn endless_times_are_refused() {
    type Change = fn(&mut ClientConfig);
    let cases: [(&str, Change); 6] = [
        ("connect_timeout", |config| {
            config.connect_timeout = Duration::MAX
        }),
        ("transport.idle_timeout", |config| {
            config.transport.idle_timeout = Some(Duration::MAX)
        }),
        ("limits.header_timeout", |config| {
            config.limits.header_timeout = Duration::MAX
        }),
        ("limits.settings_timeout", |config| {
            config.limits.settings_timeout = Duration::MAX
        }),
        ("limits.early_age", |config| {
            config.limits.early_age = Duration::MAX
        }),
        ("limits.close_timeout", |config| {
            config.limits.close_timeout = Duration::MAX
        }),
    ];
    for (key, change) in cases {
        assert_eq!(refused_on_client(change).key, key);
    }
}

#[test]
fn certificate_settings_that_cannot_work_are_refused() {
    type Change = fn(&mut CertificateConfig);
    let cases: [(&str, Change); 4] = [
        ("certificates.max", |certificates| certificates.max = 0),
        ("certificates.check_interval", |certificates| {
            certificates.check_interval = Some(Duration::ZERO)
        }),
        ("certificates.renew_before", |certificates| {
            certificates.renew_before = Duration::ZERO
        }),
        ("certificates.expiry_warning", |certificates| {
            certificates.expiry_warning = Duration::MAX
        }),
    ];
    for (key, change) in cases {
        let error = refused_on_server(|config| change(&mut config.certificates));
        assert_eq!(error.key, key);
    }
}

#[test]
fn transport_values_that_cannot_work_are_refused() {
    type Change = fn(&mut TransportConfig);
    let cases: [(&str, Change); 13] = [
        ("transport.keep_alive", |quic| {
            quic.keep_alive = quic.idle_timeout
        }),
        ("transport.keep_alive", |quic| {
            quic.keep_alive = Some(Duration::ZERO)
        }),
        ("transport.stream_receive_window", |quic| {
            quic.stream_receive_window = 0
        }),
        ("transport.receive_window", |quic| {
            quic.receive_window = quic.stream_receive_window - 1
        }),
        ("transport.send_window", |quic| quic.send_window = u64::MAX),
        ("transport.streams_bidi", |quic| {
            quic.streams_bidi = StreamCredit::new(10, 9)
        }),
        ("transport.streams_uni", |quic| {
            quic.streams_uni = StreamCredit::new(2, 9)
        }),
        ("transport.streams_uni", |quic| {
            quic.streams_uni.max = u64::MAX
        }),
        ("transport.datagram_receive_buffer", |quic| {
            quic.datagram_receive_buffer = 0
        }),
        ("transport.datagram_send_buffer", |quic| {
            quic.datagram_send_buffer = 0
        }),
        ("transport.initial_mtu", |quic| quic.initial_mtu = 1199),
        ("transport.mtu_upper_bound", |quic| {
            quic.mtu_upper_bound = 9000
        }),
        ("transport.max_incoming", |quic| quic.max_incoming = 0),
    ];
    for (key, change) in cases {
        assert_eq!(
            refused_on_server(|config| change(&mut config.transport)).key,
            key
        );
    }
}

#[test]
fn session_window_has_a_least_size() {
    let error = refused_on_server(|config| config.session.max_data = (1 << 20) - 1);
    assert_eq!(
        (&*error.key, error.value.as_str()),
        ("session.max_data", "1048575")
    );
}

#[test]
fn more_session_streams_than_can_be_encoded_are_refused() {
    let error = refused_on_server(|config| config.session.max_streams_uni = (1 << 60) + 1);
    assert_eq!(error.key, "session.max_streams_uni");
}

#[test]
fn server_needs_streams_for_sessions_and_client_does_not() {
    let none = StreamCredit::new(0, 0);
    let error = refused_on_server(|config| config.transport.streams_bidi = none);
    assert_eq!(error.key, "transport.streams_bidi");
    let mut client = ClientConfig::new();
    client.transport.streams_bidi = none;
    client.validate().unwrap();
}

#[test]
fn alpn_needs_identifiers_that_tls_can_carry() {
    assert_eq!(refused_on_server(|config| config.alpn.clear()).key, "alpn");
    let error = refused_on_client(|config| config.alpn = vec![b"h3".to_vec(), Vec::new()]);
    assert_eq!(
        (&*error.key, error.value.as_str()),
        ("alpn", r#"["h3", ""]"#)
    );
}

#[test]
fn verification_by_nothing_is_refused() {
    for verification in [
        ServerVerification::Hashes(vec![]),
        ServerVerification::Roots(vec![]),
    ] {
        let error = refused_on_client(|config| config.verification = verification);
        assert_eq!(error.key, "verification");
    }
    for client_auth in [ClientAuth::Optional(vec![]), ClientAuth::Required(vec![])] {
        let error = refused_on_server(|config| config.client_auth = client_auth);
        assert_eq!(error.key, "client_auth");
    }
    let hash = CertificateHash::from_bytes([7; 32]);
    ClientConfig::new()
        .with_verification(ServerVerification::Hashes(vec![hash]))
        .validate()
        .unwrap();
}

#[test]
fn user_agent_has_to_be_a_field_value() {
    let error = refused_on_client(|config| config.user_agent = Some("a\nb".to_owned()));
    assert_eq!(
        (&*error.key, error.value.as_str()),
        ("user_agent", r#""a\nb""#)
    );
}
