//! How urgent a session is beside others: the Priority field (RFC 9218; draft-16, 3.4).

use std::convert::Infallible;

use http::{HeaderMap, HeaderName};
use sfv::{
    BareItemFromInput, KeyRef, Parser,
    visitor::{
        DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor, ItemVisitor, ParameterVisitor,
    },
};

/// The field of requests and responses.
pub const PRIORITY: HeaderName = HeaderName::from_static("priority");

/// The urgency of what says nothing of it.
pub const DEFAULT_URGENCY: u8 = 3;

/// Reads how urgent a message says that it is: from 0, the most urgent, to 7; `None` when it does not say.
///
/// Values that are no urgency count as absent, as does a field that is no Dictionary (RFC 9218, 4).
#[must_use]
pub fn urgency(headers: &HeaderMap) -> Option<u8> {
    let lines: Vec<&[u8]> = headers
        .get_all(PRIORITY)
        .iter()
        .map(http::HeaderValue::as_bytes)
        .collect();
    let value = lines.join(&b", "[..]);
    Parser::new(&value)
        .parse_dictionary_with_visitor(Urgency(None))
        .ok()
        .flatten()
}

/// Takes `u` and ignores everything else.
struct Urgency(Option<u8>);

/// The value of a key: that of the urgency, or one that is ignored.
struct Member<'a>(Option<&'a mut Option<u8>>);

impl<'de> DictionaryVisitor<'de> for Urgency {
    type Out = Option<u8>;
    type Error = Infallible;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Self::Error> {
        if key.as_str() == "u" {
            // The last one of several counts.
            self.0 = None;
            Ok(Member(Some(&mut self.0)))
        } else {
            Ok(Member(None))
        }
    }

    fn finish(self) -> Result<Self::Out, Self::Error> {
        Ok(self.0)
    }
}

impl<'de> EntryVisitor<'de> for Member<'_> {
    type Error = Infallible;

    fn item(self) -> Result<impl ItemVisitor<'de>, Self::Error> {
        Ok(self)
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Self::Error> {
        Ok(Ignored)
    }
}

impl<'de> ItemVisitor<'de> for Member<'_> {
    type Out = ();
    type Error = Infallible;

    fn bare_item(
        self,
        item: BareItemFromInput<'de>,
    ) -> Result<impl ParameterVisitor<'de, Out = Self::Out>, Self::Error> {
        if let (Some(urgency), BareItemFromInput::Integer(value)) = (self.0, item) {
            *urgency = u8::try_from(i64::from(value)).ok().filter(|u| *u <= 7);
        }
        Ok(Ignored)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(lines: &[&str]) -> Option<u8> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(PRIORITY, HeaderValue::from_str(line).unwrap());
        }
        urgency(&headers)
    }

    #[test]
    fn urgency_is_a_number_from_0_to_7() {
        for n in 0..=7 {
            assert_eq!(read(&[&format!("u={n}")]), Some(n));
        }
        for value in ["u=8", "u=-1", "u=1.5", "u=?1", "u", "u=(1 2)", "u=\"1\""] {
            assert_eq!(read(&[value]), None, "{value}");
        }
    }

    #[test]
    fn everything_else_in_the_field_is_ignored() {
        assert_eq!(read(&["i, u=1;x=2, new=(1 2)"]), Some(1));
        assert_eq!(read(&["i"]), None);
        assert_eq!(read(&[""]), None);
        assert_eq!(read(&[]), None);
        // RFC 9651, 3.2: several lines are one field, and the last of several members counts.
        assert_eq!(read(&["u=1", "i, u=5"]), Some(5));
        assert_eq!(read(&["u=1, u=9"]), None);
    }

    #[test]
    fn a_field_that_is_no_dictionary_is_absent() {
        for value in ["u=1,", "U=1", "=1", "u=1 2"] {
            assert_eq!(read(&[value]), None, "{value}");
        }
    }
}
