use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use proptest::prelude::*;

use super::{
    HeadError, RequestHead, ResponseHead, UnknownUpgradeToken, UpgradeToken, validate,
    validate_user_headers,
};
use crate::qpack::encode_fields;

const LIMIT: usize = 65_536;

/// An extended CONNECT that keeps all rules.
const CONNECT: [(&str, &str); 5] = [
    (":method", "CONNECT"),
    (":protocol", "webtransport-h3"),
    (":scheme", "https"),
    (":path", "/chat?room=1"),
    (":authority", "example.com:4433"),
];

const GET: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "https"),
    (":authority", "example.com"),
    (":path", "/"),
];

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fn fields(text: &[(&str, &str)]) -> Fields {
    text.iter()
        .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
        .collect()
}

fn block(fields: &Fields) -> BytesMut {
    let mut out = BytesMut::new();
    encode_fields(
        fields.iter().map(|(name, value)| (&name[..], &value[..])),
        &mut out,
    );
    out
}

fn request(fields: &Fields) -> Result<RequestHead, HeadError> {
    RequestHead::decode(&block(fields), LIMIT)
}

fn response(text: &[(&str, &str)]) -> Result<ResponseHead, HeadError> {
    ResponseHead::decode(&block(&fields(text)), LIMIT)
}

/// Adds a field at the end.
fn with(base: &[(&str, &str)], name: &str, value: &str) -> Fields {
    let mut all = fields(base);
    all.extend(fields(&[(name, value)]));
    all
}

/// Removes a field.
fn without(base: &[(&str, &str)], name: &str) -> Fields {
    let mut all = fields(base);
    all.retain(|field| field.0 != name.as_bytes());
    all
}

/// Replaces the value of a field.
fn replace(base: &[(&str, &str)], name: &str, value: &str) -> Fields {
    let mut all = fields(base);
    for field in &mut all {
        if field.0 == name.as_bytes() {
            field.1 = value.as_bytes().to_vec();
        }
    }
    all
}

#[track_caller]
fn refused(fields: &Fields, reason: &'static str) {
    assert_eq!(request(fields), Err(HeadError::Malformed(reason)));
}

#[test]
fn webtransport_request_is_what_decoding_yields() {
    let mut headers = HeaderMap::new();
    headers.append("origin", HeaderValue::from_static("https://example.com"));
    let head = RequestHead::webtransport(
        "example.com:4433",
        "/chat?room=1",
        UpgradeToken::WebTransportH3,
        headers,
    );
    assert_eq!(
        request(&with(&CONNECT, "origin", "https://example.com")),
        Ok(head.clone())
    );
    let mut out = BytesMut::new();
    head.encode(&mut out);
    assert_eq!(RequestHead::decode(&out, LIMIT), Ok(head));
}

#[test]
fn request_fields_are_written_in_order() {
    let head = RequestHead::webtransport(
        "example.com:4433",
        "/chat?room=1",
        UpgradeToken::WebTransportH3,
        HeaderMap::new(),
    );
    let mut out = BytesMut::new();
    head.encode(&mut out);
    assert_eq!(out, block(&fields(&CONNECT)));
}

#[test]
fn pseudo_headers_come_in_any_order() {
    // The order of Chromium.
    let fields = fields(&[
        (":scheme", "https"),
        (":method", "CONNECT"),
        (":authority", "127.0.0.1:4433"),
        (":path", "/"),
        (":protocol", "webtransport"),
        ("sec-webtransport-http3-draft02", "1"),
        ("origin", "null"),
    ]);
    let head = request(&fields).unwrap();
    assert_eq!(head.upgrade_token(), Some(UpgradeToken::WebTransport));
    assert_eq!(head.authority.as_deref(), Some("127.0.0.1:4433"));
    assert_eq!(head.headers.len(), 2);
}

#[test]
fn pseudo_header_after_a_field_is_refused() {
    let mut all = fields(&[("origin", "null")]);
    all.extend(fields(&CONNECT));
    refused(&all, "pseudo-header after a header field");
}

#[test]
fn repeated_pseudo_header_is_refused() {
    for (name, value) in CONNECT {
        refused(&with(&CONNECT, name, value), "repeated pseudo-header");
    }
}

#[test]
fn unknown_pseudo_header_is_refused() {
    for name in [":status", ":Method", ":", ":host", "::method"] {
        refused(&with(&CONNECT, name, "x"), "unknown pseudo-header");
    }
}

#[test]
fn method_is_required() {
    refused(&without(&CONNECT, ":method"), "no :method");
    refused(&Vec::new(), "no :method");
}

#[test]
fn method_is_a_token() {
    for method in ["", "GE(T", "a/b"] {
        refused(&replace(&GET, ":method", method), "invalid :method");
    }
    assert!(request(&replace(&GET, ":method", "PROPFIND")).is_ok());
}

#[test]
fn extended_connect_requires_scheme_path_and_authority() {
    refused(&without(&CONNECT, ":scheme"), "no :scheme");
    refused(&without(&CONNECT, ":path"), "no :path");
    refused(
        &without(&CONNECT, ":authority"),
        "CONNECT without :authority",
    );
}

#[test]
fn plain_connect_has_an_authority_only() {
    let head = request(&fields(&[
        (":method", "CONNECT"),
        (":authority", "example.com:80"),
    ]))
    .unwrap();
    assert_eq!(head.upgrade_token(), None);
    refused(
        &fields(&[(":method", "CONNECT")]),
        "CONNECT without :authority",
    );
    refused(
        &without(&CONNECT, ":protocol"),
        ":scheme or :path in CONNECT without :protocol",
    );
    let base = [(":method", "CONNECT"), (":authority", "example.com:80")];
    refused(
        &with(&base, ":path", "/"),
        ":scheme or :path in CONNECT without :protocol",
    );
    refused(
        &with(&base, ":scheme", "https"),
        ":scheme or :path in CONNECT without :protocol",
    );
}

#[test]
fn protocol_goes_with_connect_only() {
    refused(
        &with(&GET, ":protocol", "webtransport"),
        ":protocol without CONNECT",
    );
}

#[test]
fn protocol_is_a_token_with_an_optional_version() {
    for protocol in ["", "/", "a/", "/1", "a,b", "a/1/2"] {
        refused(
            &replace(&CONNECT, ":protocol", protocol),
            "invalid :protocol",
        );
    }
    let head = request(&replace(&CONNECT, ":protocol", "other/1.0")).unwrap();
    assert_eq!(head.upgrade_token(), None);
}

#[test]
fn other_methods_require_scheme_and_path() {
    assert!(request(&fields(&GET)).is_ok());
    refused(&without(&GET, ":scheme"), "no :scheme");
    refused(&without(&GET, ":path"), "no :path");
}

#[test]
fn scheme_has_the_characters_of_a_scheme() {
    for scheme in ["", "1https", "ht_tps", "https:"] {
        refused(&replace(&CONNECT, ":scheme", scheme), "invalid :scheme");
    }
    assert!(request(&replace(&CONNECT, ":scheme", "HTTPS")).is_ok());
}

#[test]
fn path_starts_with_a_slash() {
    for base in [&CONNECT[..], &GET] {
        refused(&replace(base, ":path", ""), "empty :path");
        refused(
            &replace(base, ":path", "chat"),
            ":path does not start with a slash",
        );
        refused(
            &replace(base, ":path", "?a"),
            ":path does not start with a slash",
        );
        refused(
            &replace(base, ":path", "*"),
            ":path does not start with a slash",
        );
        assert!(request(&replace(base, ":path", "/a%20b?c#d")).is_ok());
    }
}

#[test]
fn path_is_an_asterisk_for_options() {
    let mut options = replace(&GET, ":method", "OPTIONS");
    options[3].1 = b"*".to_vec();
    assert!(request(&options).is_ok());
}

#[test]
fn path_is_free_for_other_schemes() {
    let mut other = replace(&GET, ":scheme", "urn");
    other[3].1 = Vec::new();
    assert!(request(&other).is_ok());
}

#[test]
fn pseudo_headers_are_visible_ascii() {
    for (name, value) in CONNECT {
        for bad in [" ", "\t", "\0", "\r", "\n", "\u{7f}", "ü"] {
            let value = format!("{value}{bad}x");
            refused(
                &replace(&CONNECT, name, &value),
                "forbidden character in a pseudo-header",
            );
        }
    }
    let mut not_utf8 = fields(&CONNECT);
    not_utf8[3].1.push(0xff);
    refused(&not_utf8, "forbidden character in a pseudo-header");
}

#[test]
fn authority_is_not_empty() {
    for authority in ["", ":443"] {
        refused(
            &replace(&CONNECT, ":authority", authority),
            "empty authority",
        );
        refused(&replace(&GET, ":authority", authority), "empty authority");
    }
}

#[test]
fn authority_has_no_user_information() {
    for authority in ["user@example.com", "user:word@example.com", "@example.com"] {
        refused(
            &replace(&CONNECT, ":authority", authority),
            "authority with user information",
        );
    }
}

#[test]
fn authority_is_a_host_and_a_port() {
    for authority in [
        "example.com",
        "example.com:",
        "127.0.0.1:1",
        "[::1]",
        "[::1]:65535",
        "[::ffff:1.2.3.4]:80",
        "a_b~%20",
    ] {
        assert!(
            request(&replace(&CONNECT, ":authority", authority)).is_ok(),
            "{authority}"
        );
    }
    for authority in [
        "exa/mple", "a?b", "a#b", "a\\b", "[::1", "[]", "[1]", "[::g]", "a[b]",
    ] {
        refused(
            &replace(&CONNECT, ":authority", authority),
            "invalid authority",
        );
    }
    for authority in [
        "a:65536", "a:x", "a:+1", "a:1:2", "::1", "[::1]x", "[::1]:x",
    ] {
        let error = request(&replace(&CONNECT, ":authority", authority)).unwrap_err();
        assert!(
            matches!(
                error,
                HeadError::Malformed("invalid port in the authority" | "empty authority")
            ),
            "{authority}: {error}"
        );
    }
}

#[test]
fn host_agrees_with_the_authority() {
    assert!(request(&with(&CONNECT, "host", "example.com:4433")).is_ok());
    assert!(request(&with(&CONNECT, "host", "EXAMPLE.com:4433")).is_ok());
    refused(
        &with(&CONNECT, "host", "example.org:4433"),
        "host differs from :authority",
    );
    refused(
        &with(&CONNECT, "host", "example.com"),
        "host differs from :authority",
    );
}

#[test]
fn host_stands_in_for_the_authority() {
    let base = [(":method", "GET"), (":scheme", "https"), (":path", "/")];
    refused(&fields(&base), "neither :authority nor host");
    assert!(request(&with(&base, "host", "example.com")).is_ok());
    refused(&with(&base, "host", ""), "empty authority");
    refused(
        &with(&base, "host", "me@example.com"),
        "authority with user information",
    );
    let mut not_utf8 = with(&base, "host", "a");
    not_utf8[3].1.push(0xff);
    refused(&not_utf8, "invalid authority");
}

#[test]
fn host_comes_once() {
    let mut twice = with(&CONNECT, "host", "example.com:4433");
    twice.extend(fields(&[("host", "example.com:4433")]));
    refused(&twice, "several host fields");
}

#[test]
fn field_names_are_tokens_in_lower_case() {
    refused(&with(&CONNECT, "", "x"), "empty field name");
    for byte in 0..=255u8 {
        let mut all = fields(&CONNECT);
        all.push((vec![b'x', byte], b"v".to_vec()));
        if byte.is_ascii_uppercase() {
            refused(&all, "field name is not in lower case");
        } else if validate::is_token(byte) {
            assert!(request(&all).is_ok(), "{byte:#x}");
        } else {
            refused(&all, "forbidden character in a field name");
        }
    }
}

#[test]
fn field_values_hold_no_control_characters() {
    for byte in 0..=255u8 {
        let mut all = fields(&CONNECT);
        all.push((b"x".to_vec(), vec![b'a', byte, b'b']));
        if byte == b'\t' || (byte >= b' ' && byte != 0x7f) {
            assert_eq!(
                request(&all).unwrap().headers["x"].as_bytes(),
                [b'a', byte, b'b']
            );
        } else {
            refused(&all, "forbidden character in a field value");
        }
    }
}

#[test]
fn field_values_have_no_white_space_around_them() {
    for value in [" a", "a ", "\ta", "a\t", " "] {
        refused(
            &with(&CONNECT, "x", value),
            "field value starts or ends with white space",
        );
    }
    assert!(request(&with(&CONNECT, "x", "")).is_ok());
    assert!(request(&with(&CONNECT, "x", "a \t b")).is_ok());
}

#[test]
fn connection_specific_fields_are_refused() {
    for name in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
    ] {
        refused(&with(&CONNECT, name, "x"), "connection-specific field");
        assert_eq!(
            response(&[(":status", "200"), (name, "x")]),
            Err(HeadError::Malformed("connection-specific field"))
        );
    }
}

#[test]
fn te_says_trailers_only() {
    assert!(request(&with(&CONNECT, "te", "trailers")).is_ok());
    for value in ["", "gzip", "trailers, gzip"] {
        refused(
            &with(&CONNECT, "te", value),
            "te with another value than trailers",
        );
    }
    assert_eq!(
        response(&[(":status", "200"), ("te", "trailers")]),
        Err(HeadError::Malformed("te in a response"))
    );
}

#[test]
fn repeated_fields_keep_their_order() {
    let mut all = with(&CONNECT, "cookie", "a=1");
    all.extend(fields(&[("x", "1"), ("cookie", "b=2"), ("x", "2")]));
    let head = request(&all).unwrap();
    let values = |name| head.headers.get_all(name).iter().collect::<Vec<_>>();
    assert_eq!(values("cookie"), ["a=1", "b=2"]);
    assert_eq!(values("x"), ["1", "2"]);
}

#[test]
fn size_is_limited() {
    let all = block(&fields(&CONNECT));
    let size: usize = CONNECT
        .iter()
        .map(|(name, value)| name.len() + value.len() + 32)
        .sum();
    assert!(RequestHead::decode(&all, size).is_ok());
    assert_eq!(
        RequestHead::decode(&all, size - 1),
        Err(HeadError::TooLarge)
    );
    assert_eq!(
        ResponseHead::decode(&[0, 0, 0xd9], 41),
        Err(HeadError::TooLarge)
    );
}

#[test]
fn more_fields_than_a_map_holds_are_too_large() {
    let mut all = fields(&CONNECT);
    all.extend((0..40_000).map(|n| (format!("x{n}").into_bytes(), Vec::new())));
    assert_eq!(
        RequestHead::decode(&block(&all), usize::MAX),
        Err(HeadError::TooLarge)
    );
}

#[test]
fn broken_compression_is_told_apart() {
    assert_eq!(
        RequestHead::decode(&[], LIMIT),
        Err(HeadError::Decompression)
    );
    assert_eq!(
        RequestHead::decode(&[0, 0, 0x80], LIMIT),
        Err(HeadError::Decompression)
    );
    assert_eq!(
        ResponseHead::decode(&[1, 0], LIMIT),
        Err(HeadError::Decompression)
    );
}

#[test]
fn every_truncation_of_a_request_is_an_error() {
    let all = block(&fields(&CONNECT));
    for len in 0..all.len() {
        assert!(
            RequestHead::decode(&all[..len], LIMIT).is_err(),
            "{len} bytes"
        );
    }
}

#[test]
fn upgrade_tokens_have_a_spelling() {
    for token in [UpgradeToken::WebTransport, UpgradeToken::WebTransportH3] {
        assert_eq!(token.as_str().parse(), Ok(token));
        assert_eq!(token.as_str().to_ascii_uppercase().parse(), Ok(token));
        assert_eq!(token.to_string(), token.as_str());
    }
    for text in ["", "websocket", "webtransport-h2", "webtransport "] {
        assert_eq!(text.parse::<UpgradeToken>(), Err(UnknownUpgradeToken));
    }
}

#[test]
fn upgrade_token_needs_connect_and_https() {
    let mut head = request(&fields(&CONNECT)).unwrap();
    assert_eq!(head.upgrade_token(), Some(UpgradeToken::WebTransportH3));
    head.scheme = Some("http".to_owned());
    assert_eq!(head.upgrade_token(), None);
    head.scheme = Some("https".to_owned());
    head.method = Method::GET;
    assert_eq!(head.upgrade_token(), None);
}

fn any_headers() -> impl Strategy<Value = HeaderMap> {
    let value = prop::collection::vec(prop_oneof![0x21u8..0x7f, 0x80u8..], 0..30);
    prop::collection::vec(("[a-z][a-z0-9-]{0,20}", value), 0..8).prop_map(|fields| {
        fields
            .into_iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    HeaderValue::from_bytes(&value).unwrap(),
                )
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn request_round_trip(
        host in "[a-z][a-z0-9.-]{0,20}",
        port in any::<u16>(),
        path in "/[!-~]{0,40}",
        headers in any_headers(),
    ) {
        prop_assume!(validate_user_headers(&headers).is_ok());
        let authority = format!("{host}:{port}");
        let head = RequestHead::webtransport(authority, path, UpgradeToken::WebTransport, headers);
        let mut out = BytesMut::new();
        head.encode(&mut out);
        prop_assert_eq!(RequestHead::decode(&out, LIMIT), Ok(head));
    }

    #[test]
    fn what_callers_may_send_is_accepted(status in 200u16..600, headers in any_headers()) {
        prop_assume!(validate_user_headers(&headers).is_ok() && !headers.contains_key("te"));
        let head = ResponseHead::new(StatusCode::from_u16(status).unwrap(), headers);
        let mut out = BytesMut::new();
        head.encode(&mut out);
        prop_assert_eq!(ResponseHead::decode(&out, LIMIT), Ok(head));
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = RequestHead::decode(&bytes, LIMIT);
        let _ = ResponseHead::decode(&bytes, LIMIT);
    }

    #[test]
    fn random_fields_never_panic(
        section in prop::collection::vec(
            (
                prop_oneof![
                    prop::sample::select(vec![":method", ":scheme", ":path", ":authority", ":protocol", ":status", "host", "te"])
                        .prop_map(|name| name.as_bytes().to_vec()),
                    prop::collection::vec(any::<u8>(), 0..8),
                ],
                prop_oneof![
                    prop::sample::select(vec!["CONNECT", "https", "/", "*", "a:1", "[::1]:", "[", "]", ":", "200"])
                        .prop_map(|value| value.as_bytes().to_vec()),
                    prop::collection::vec(any::<u8>(), 0..8),
                ],
            ),
            0..8,
        ),
    ) {
        let all = block(&section);
        let _ = RequestHead::decode(&all, LIMIT);
        let _ = ResponseHead::decode(&all, LIMIT);
    }
}
