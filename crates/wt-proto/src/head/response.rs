//! Response heads: RFC 9114, 4.3.2.

use bytes::BytesMut;
use http::{HeaderMap, StatusCode};

use super::{
    HeadError,
    validate::{self, Message},
};
use crate::qpack::{self, FieldLines};

/// The head of a response: status and header fields.
///
/// See RFC 9114, 4.3.2.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResponseHead {
    /// `:status`
    pub status: StatusCode,
    /// The header fields, those of one name in their order.
    pub headers: HeaderMap,
}

impl ResponseHead {
    /// Creates a response.
    pub fn new(status: StatusCode, headers: HeaderMap) -> Self {
        Self { status, headers }
    }

    /// Returns the size of the field section as RFC 9114, 4.2.2 counts it: names and values uncompressed, and 32 bytes
    /// for each field.
    pub fn size(&self) -> u64 {
        validate::size(self.lines())
    }

    /// Writes the head as a field section: `:status`, then the header fields.
    pub fn encode(&self, out: &mut BytesMut) {
        qpack::encode_fields(self.lines(), out);
    }

    fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let status = (&b":status"[..], self.status.as_str().as_bytes());
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        [status].into_iter().chain(headers)
    }

    /// Reads a head from a field section and checks it.
    ///
    /// `max_size` bounds the size of the section as RFC 9114, 4.2.2 counts it.
    pub fn decode(block: &[u8], max_size: usize) -> Result<Self, HeadError> {
        let mut status = None;
        let mut headers = HeaderMap::new();
        for field in FieldLines::new(block, max_size)? {
            let field = field?;
            if !field.name.starts_with(b":") {
                validate::append(&mut headers, &field, Message::Response)?;
            } else if !headers.is_empty() {
                return Err(HeadError::Malformed("pseudo-header after a header field"));
            } else if field.name != ":status" {
                return Err(HeadError::Malformed("unknown pseudo-header"));
            } else if status.is_some() {
                return Err(HeadError::Malformed("repeated pseudo-header"));
            } else {
                status = Some(decode_status(&field.value)?);
            }
        }
        let status = status.ok_or(HeadError::Malformed("no :status"))?;
        Ok(Self { status, headers })
    }
}

fn decode_status(value: &[u8]) -> Result<StatusCode, HeadError> {
    let status =
        StatusCode::from_bytes(value).map_err(|_| HeadError::Malformed("invalid :status"))?;
    // RFC 9114, 4.5: there is no protocol to switch to.
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(HeadError::Malformed("status 101"));
    }
    Ok(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 65_536;

    fn response(fields: &[(&str, &str)]) -> Result<ResponseHead, HeadError> {
        let mut out = BytesMut::new();
        let fields = fields
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        qpack::encode_fields(fields, &mut out);
        ResponseHead::decode(&out, LIMIT)
    }

    #[test]
    fn response_round_trip() {
        let head = response(&[
            (":status", "200"),
            ("wt-protocol", "\"chat\""),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
        ])
        .unwrap();
        assert_eq!(head.status, StatusCode::OK);
        assert_eq!(head.headers.len(), 3);
        let mut out = BytesMut::new();
        head.encode(&mut out);
        assert_eq!(ResponseHead::decode(&out, LIMIT), Ok(head));
    }

    #[test]
    fn smallest_response() {
        let mut out = BytesMut::new();
        ResponseHead::new(StatusCode::OK, HeaderMap::new()).encode(&mut out);
        assert_eq!(out, &[0x00, 0x00, 0xd9][..]);
    }

    #[test]
    fn status_is_required_once() {
        assert_eq!(response(&[]), Err(HeadError::Malformed("no :status")));
        assert_eq!(
            response(&[("x", "y")]),
            Err(HeadError::Malformed("no :status"))
        );
        assert_eq!(
            response(&[(":status", "200"), (":status", "200")]),
            Err(HeadError::Malformed("repeated pseudo-header"))
        );
    }

    #[test]
    fn status_has_three_digits() {
        for status in ["", "20", "2000", "2 0", "abc", "020", "+20", "-20"] {
            assert_eq!(
                response(&[(":status", status)]),
                Err(HeadError::Malformed("invalid :status")),
                "{status}"
            );
        }
        for status in ["100", "103", "204", "299", "404", "599"] {
            assert!(response(&[(":status", status)]).is_ok(), "{status}");
        }
    }

    #[test]
    fn status_101_is_refused() {
        assert_eq!(
            response(&[(":status", "101")]),
            Err(HeadError::Malformed("status 101"))
        );
    }

    #[test]
    fn response_pseudo_headers_follow_the_same_rules() {
        assert_eq!(
            response(&[("x", "y"), (":status", "200")]),
            Err(HeadError::Malformed("pseudo-header after a header field"))
        );
        for name in [":method", ":path", ":protocol", ":"] {
            assert_eq!(
                response(&[(":status", "200"), (name, "x")]),
                Err(HeadError::Malformed("unknown pseudo-header"))
            );
        }
    }
}
