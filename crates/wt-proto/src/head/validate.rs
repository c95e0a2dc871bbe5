//! The rules for single fields: RFC 9114, 4.2 and RFC 9110, 5.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HOST},
};

use super::HeadError;
use crate::qpack::Field;

/// Which kind of message a field belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Request,
    Response,
}

/// Returns the size of a field section as RFC 9114, 4.2.2 counts it.
pub(super) fn size<'a>(lines: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> u64 {
    lines
        .map(|(name, value)| (name.len() + value.len() + 32) as u64)
        .sum()
}

/// Adds a header field to those of its message; fields of one name keep their order.
pub(super) fn append(
    headers: &mut HeaderMap,
    field: &Field,
    message: Message,
) -> Result<(), HeadError> {
    if let Some(reason) = name_fault(&field.name) {
        return Err(HeadError::Malformed(reason));
    }
    let name = HeaderName::from_lowercase(&field.name)
        .map_err(|_| HeadError::Malformed("invalid field name"))?;
    if let Some(reason) = value_fault(&field.value) {
        return Err(HeadError::Malformed(reason));
    }
    // Shared, it would keep all that the message was decoded to for the life of a session.
    let value = HeaderValue::from_bytes(&field.value)
        .map_err(|_| HeadError::Malformed("forbidden character in a field value"))?;
    if let Some(reason) = connection_fault(&name, &value, message) {
        return Err(HeadError::Malformed(reason));
    }
    if headers.capacity() == 0 {
        // By itself the first field makes room for six, and a session keeps its fields for life.
        *headers = HeaderMap::with_capacity(1);
    }
    headers
        .try_append(name, value)
        .map_err(|_| HeadError::TooLarge)?;
    Ok(())
}

/// Names the fault of a field name that is no token in lower case.
fn name_fault(name: &[u8]) -> Option<&'static str> {
    if name.is_empty() {
        Some("empty field name")
    } else if name.iter().any(u8::is_ascii_uppercase) {
        Some("field name is not in lower case")
    } else if !name.iter().all(|&byte| is_token(byte)) {
        Some("forbidden character in a field name")
    } else {
        None
    }
}

/// Names the fault of a field value, except for characters that `HeaderValue` refuses by itself.
fn value_fault(value: &[u8]) -> Option<&'static str> {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    (is_space(value.first()) || is_space(value.last()))
        .then_some("field value starts or ends with white space")
}

/// Names the fault of a field that belongs to a connection of HTTP/1.1: RFC 9114, 4.2.
fn connection_fault(
    name: &HeaderName,
    value: &HeaderValue,
    message: Message,
) -> Option<&'static str> {
    match name.as_str() {
        "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" => {
            Some("connection-specific field")
        }
        "te" => match message {
            Message::Request if value.as_bytes().eq_ignore_ascii_case(b"trailers") => None,
            Message::Request => Some("te with another value than trailers"),
            Message::Response => Some("te in a response"),
        },
        _ => None,
    }
}

/// Answers whether a token may hold this byte: RFC 9110, 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// Names the fault of an authority for `http` and `https`: RFC 9114, 4.3.1 and RFC 3986, 3.2.
pub(super) fn authority_fault(authority: &str) -> Option<&'static str> {
    if authority.contains('@') {
        return Some("authority with user information");
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(literal) => {
            let Some((address, port)) = literal.split_once(']') else {
                return Some("invalid authority");
            };
            let is_address = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
            if !address.contains(':') || !address.bytes().all(is_address) {
                return Some("invalid authority");
            }
            (address, port)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            let (host, port) = authority.split_at(end);
            if !host.bytes().all(is_reg_name) {
                return Some("invalid authority");
            }
            (host, port)
        }
    };
    if host.is_empty() {
        return Some("empty authority");
    }
    let port_is_fine = match port.strip_prefix(':') {
        Some(digits) => {
            digits.bytes().all(|byte| byte.is_ascii_digit())
                && (digits.is_empty() || digits.parse::<u16>().is_ok())
        }
        None => port.is_empty(),
    };
    (!port_is_fine).then_some("invalid port in the authority")
}

/// Answers whether a registered name may hold this byte: RFC 3986, 3.2.2.
fn is_reg_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'%'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
        )
}

/// Checks header fields a caller wants to send along with a request or a response.
///
/// Refused are the fields of an HTTP/1.1 connection (`connection`, `keep-alive`, `proxy-connection`,
/// `transfer-encoding`, `upgrade`, and `te` unless it says `trailers`), `host` and `content-length`, which follow from
/// the message itself, `content-type`, since no content follows, and names and values no HTTP/3 peer accepts.
///
/// # Errors
///
/// Names the first field that may not be sent.
pub fn validate_user_headers(headers: &HeaderMap) -> Result<(), InvalidHeader> {
    for (name, value) in headers {
        let fault = if *name == HOST || *name == CONTENT_LENGTH {
            Some("follows from the message itself")
        } else if *name == CONTENT_TYPE {
            Some("speaks of content, and there is none")
        } else {
            name_fault(name.as_str().as_bytes())
                .or_else(|| value_fault(value.as_bytes()))
                .or_else(|| connection_fault(name, value, Message::Request))
        };
        if let Some(reason) = fault {
            return Err(InvalidHeader {
                name: name.clone(),
                reason,
            });
        }
    }
    Ok(())
}

/// A header field that a caller may not send.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("header field `{name}` may not be sent: {reason}")]
pub struct InvalidHeader {
    name: HeaderName,
    reason: &'static str,
}

impl InvalidHeader {
    /// Answers which field it is.
    pub fn name(&self) -> &HeaderName {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_may_not_set_what_follows_from_the_message() {
        for name in [
            "connection",
            "keep-alive",
            "proxy-connection",
            "transfer-encoding",
            "upgrade",
            "host",
            "content-length",
            "content-type",
            "te",
            "a\"b",
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("x-fine", HeaderValue::from_static("1"));
            let name = HeaderName::from_lowercase(name.as_bytes()).unwrap();
            headers.insert(name.clone(), HeaderValue::from_static("1"));
            assert_eq!(validate_user_headers(&headers).unwrap_err().name(), name);
        }
    }

    #[test]
    fn callers_may_not_send_white_space_around_values() {
        let mut headers = HeaderMap::new();
        headers.insert("x", HeaderValue::from_static("1 "));
        assert_eq!(
            validate_user_headers(&headers).unwrap_err().to_string(),
            "header field `x` may not be sent: field value starts or ends with white space"
        );
    }

    #[test]
    fn callers_may_set_other_fields() {
        let mut headers = HeaderMap::new();
        for name in [
            "origin",
            "authorization",
            "cookie",
            "wt-available-protocols",
            "x-fine",
        ] {
            headers.append(name, HeaderValue::from_static("1"));
        }
        headers.insert("te", HeaderValue::from_static("trailers"));
        assert_eq!(validate_user_headers(&headers), Ok(()));
    }

    #[test]
    fn tokens_are_those_of_the_specification() {
        let tokens: String = (0..=255u8)
            .filter(|byte| is_token(*byte))
            .map(char::from)
            .collect();
        assert_eq!(
            tokens,
            "!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz|~"
        );
    }
}
