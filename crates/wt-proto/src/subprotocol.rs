//! Negotiation of an application protocol for a session: draft-16, 3.3.
//!
//! The client lists the protocols it speaks, the most preferred first; the server answers with one of them. Both
//! fields are structured fields (RFC 9651), and one that holds anything but strings counts as absent.

use std::{borrow::Cow, convert::Infallible};

use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{
    BareItemFromInput, ItemSerializer, ListSerializer, Parser, StringRef,
    visitor::{
        EntryVisitor, Ignored, InnerListVisitor, ItemVisitor, ListVisitor, ParameterVisitor,
    },
};

/// The request field that lists the protocols a client speaks.
pub const WT_AVAILABLE_PROTOCOLS: HeaderName = HeaderName::from_static("wt-available-protocols");

/// The response field that names the protocol a server chose.
pub const WT_PROTOCOL: HeaderName = HeaderName::from_static("wt-protocol");

/// A protocol whose name cannot be sent: it holds something else than printable ASCII.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("protocol {protocol:?} is not printable ASCII")]
pub struct InvalidProtocol {
    protocol: String,
}

impl InvalidProtocol {
    /// Answers which protocol it is.
    pub fn protocol(&self) -> &str {
        &self.protocol
    }
}

/// Writes the value of [`WT_AVAILABLE_PROTOCOLS`], a List of Strings.
///
/// An empty list gives an empty value; RFC 9651, 4.1 would send no field at all then.
///
/// # Errors
///
/// Names the first protocol that is not printable ASCII.
pub fn encode_offer(protocols: &[impl AsRef<str>]) -> Result<HeaderValue, InvalidProtocol> {
    let mut list = ListSerializer::new();
    for protocol in protocols {
        let _ = list.bare_item(sf_string(protocol.as_ref())?);
    }
    let value = list.finish().unwrap_or_default();
    Ok(HeaderValue::try_from(value).expect("a List of Strings is printable ASCII"))
}

/// Reads the protocols a client offers, the most preferred first.
///
/// Several field lines make one list. Parameters are ignored. A field that is no List of Strings counts as absent, so
/// the answer is empty then.
pub fn decode_offer(headers: &HeaderMap) -> Vec<String> {
    let mut lines = headers.get_all(WT_AVAILABLE_PROTOCOLS).iter();
    let Some(first) = lines.next() else {
        return Vec::new();
    };
    let mut value = Cow::Borrowed(first.as_bytes());
    for line in lines {
        let joined = value.to_mut();
        joined.extend_from_slice(b", ");
        joined.extend_from_slice(line.as_bytes());
    }
    Parser::new(&value[..])
        .parse_list_with_visitor(Strings(Vec::new()))
        .unwrap_or_default()
}

/// Writes the value of [`WT_PROTOCOL`], a String.
///
/// # Errors
///
/// The protocol is not printable ASCII.
pub fn encode_choice(protocol: &str) -> Result<HeaderValue, InvalidProtocol> {
    let value = ItemSerializer::new()
        .bare_item(sf_string(protocol)?)
        .finish();
    Ok(HeaderValue::try_from(value).expect("a String is printable ASCII"))
}

/// Reads the protocol a server chose.
///
/// Parameters are ignored. A field that is no String, or that comes twice, counts as absent.
pub fn decode_choice(headers: &HeaderMap) -> Option<String> {
    let mut lines = headers.get_all(WT_PROTOCOL).iter();
    let value = lines.next()?;
    if lines.next().is_some() {
        return None;
    }
    let choice: Cow<'_, StringRef> = Parser::new(value.as_bytes()).parse_item().ok()?;
    Some(choice.as_str().to_owned())
}

fn sf_string(protocol: &str) -> Result<&StringRef, InvalidProtocol> {
    StringRef::from_str(protocol).map_err(|_| InvalidProtocol {
        protocol: protocol.to_owned(),
    })
}

/// Collects the members of a list in which only Strings may stand.
struct Strings(Vec<String>);

/// Takes the next member.
struct Member<'a>(&'a mut Vec<String>);

#[derive(Debug, thiserror::Error)]
#[error("list member is not a String")]
struct NotAString;

impl<'de> ListVisitor<'de> for Strings {
    type Out = Vec<String>;
    type Error = Infallible;

    fn entry(&mut self) -> Result<impl EntryVisitor<'de>, Self::Error> {
        Ok(Member(&mut self.0))
    }

    fn finish(self) -> Result<Self::Out, Self::Error> {
        Ok(self.0)
    }
}

impl<'de> EntryVisitor<'de> for Member<'_> {
    type Error = NotAString;

    fn item(self) -> Result<impl ItemVisitor<'de>, Self::Error> {
        Ok(self)
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Self::Error> {
        Err::<Ignored, _>(NotAString)
    }
}

impl<'de> ItemVisitor<'de> for Member<'_> {
    type Out = ();
    type Error = NotAString;

    fn bare_item(
        self,
        item: BareItemFromInput<'de>,
    ) -> Result<impl ParameterVisitor<'de, Out = Self::Out>, Self::Error> {
        let BareItemFromInput::String(protocol) = item else {
            return Err(NotAString);
        };
        self.0.push(protocol.as_str().to_owned());
        Ok(Ignored)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONE: [&str; 0] = [];

    fn headers(name: &HeaderName, lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        headers
    }

    fn offer(lines: &[&str]) -> Vec<String> {
        decode_offer(&headers(&WT_AVAILABLE_PROTOCOLS, lines))
    }

    fn choice(line: &str) -> Option<String> {
        decode_choice(&headers(&WT_PROTOCOL, &[line]))
    }

    #[test]
    fn offer_is_a_list_of_strings() {
        let value = encode_offer(&["chat.v2", "chat.v1"]).unwrap();
        assert_eq!(value, "\"chat.v2\", \"chat.v1\"");
        assert_eq!(offer(&[value.to_str().unwrap()]), ["chat.v2", "chat.v1"]);
    }

    #[test]
    fn choice_is_a_string() {
        let value = encode_choice("chat.v2").unwrap();
        assert_eq!(value, "\"chat.v2\"");
        assert_eq!(choice(value.to_str().unwrap()).as_deref(), Some("chat.v2"));
    }

    #[test]
    fn quotes_and_backslashes_are_escaped() {
        let value = encode_offer(&["a\"b\\c"]).unwrap();
        assert_eq!(value, "\"a\\\"b\\\\c\"");
        assert_eq!(offer(&[value.to_str().unwrap()]), ["a\"b\\c"]);
    }

    #[test]
    fn protocol_outside_printable_ascii_is_refused() {
        for protocol in ["ü", "a\tb", "\n", "\u{7f}", "\0"] {
            assert_eq!(encode_choice(protocol).unwrap_err().protocol(), protocol);
            assert_eq!(
                encode_offer(&["fine", protocol]).unwrap_err().protocol(),
                protocol
            );
        }
    }

    #[test]
    fn empty_offer() {
        assert_eq!(encode_offer(&NONE).unwrap(), "");
        assert_eq!(offer(&[""]), NONE);
        assert_eq!(offer(&[]), NONE);
    }

    #[test]
    fn several_lines_are_one_list() {
        assert_eq!(offer(&["\"a\", \"b\"", "\"c\""]), ["a", "b", "c"]);
    }

    #[test]
    fn white_space_around_members_is_ignored() {
        assert_eq!(offer(&["  \"a\"\t,\t \"b\" "]), ["a", "b"]);
    }

    #[test]
    fn parameters_are_ignored() {
        assert_eq!(offer(&["\"a\";q=1;x, \"b\";y=\"z\""]), ["a", "b"]);
        assert_eq!(choice("\"a\";q=0.5").as_deref(), Some("a"));
    }

    #[test]
    fn any_other_type_empties_the_offer() {
        for line in [
            "token",
            "\"a\", token",
            "\"a\", 1",
            "\"a\", 1.5",
            "\"a\", ?1",
            "\"a\", :YQ==:",
            "\"a\", @1659578233",
            "\"a\", %\"b\"",
            "\"a\", (\"b\")",
            "(\"a\" \"b\")",
            "()",
        ] {
            assert_eq!(offer(&[line]), NONE, "{line}");
        }
        assert_eq!(offer(&["\"a\"", "token"]), NONE);
    }

    #[test]
    fn broken_syntax_empties_the_offer() {
        for line in [
            "\"a",
            "\"a\",",
            ",",
            "\"a\" \"b\"",
            "\"a\\b\"",
            "\"\u{e4}\"",
            "\"a\";",
            "\"a\", \"b\";Q=1",
        ] {
            assert_eq!(offer(&[line]), NONE, "{line}");
        }
    }

    #[test]
    fn any_other_type_voids_the_choice() {
        for line in [
            "",
            "chat",
            "1",
            "?1",
            ":YQ==:",
            "(\"a\")",
            "\"a\", \"b\"",
            "\"a",
            "\"a\" b",
            "@1",
            "%\"a\"",
        ] {
            assert_eq!(choice(line), None, "{line}");
        }
        assert_eq!(decode_choice(&HeaderMap::new()), None);
    }

    #[test]
    fn repeated_choice_is_void() {
        assert_eq!(
            decode_choice(&headers(&WT_PROTOCOL, &["\"a\"", "\"a\""])),
            None
        );
    }

    proptest! {
        #[test]
        fn round_trip(protocols in prop::collection::vec("[ -~]{0,20}", 0..6)) {
            let value = encode_offer(&protocols).unwrap();
            prop_assert_eq!(offer(&[value.to_str().unwrap()]), protocols.clone());
            for protocol in protocols {
                let value = encode_choice(&protocol).unwrap();
                prop_assert_eq!(choice(value.to_str().unwrap()), Some(protocol));
            }
        }

        #[test]
        fn random_values_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let mut headers = HeaderMap::new();
                headers.insert(WT_AVAILABLE_PROTOCOLS, value.clone());
                headers.insert(WT_PROTOCOL, value);
                let _ = decode_offer(&headers);
                let _ = decode_choice(&headers);
            }
        }
    }
}
