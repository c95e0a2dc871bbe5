//! What a watcher has to know.

use std::{fmt, str::FromStr};

/// A secret that stands in the query of a URL: `?token=SECRET`.
///
/// Pages cannot set header fields on WebTransport, so a page brings what it has to show in its URL. Mind that URLs get
/// around: into histories, and into the logs of proxies.
///
/// ```
/// use wt_monitor::feed::Token;
///
/// let token: Token = "5f1c-9a".parse()?;
/// assert!(token.is_in(Some("a=b&token=5f1c-9a")));
/// assert!(!token.is_in(Some("token=5f1c")));
/// assert!(!token.is_in(None));
/// # Ok::<(), wt_monitor::feed::TokenError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// A text that cannot be a [`Token`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a token has 1 to 128 letters, digits, `-`, `_` and `.`: no others mean the same in every URL"
)]
pub struct TokenError;

impl Token {
    /// The most characters of a token.
    const LONGEST: usize = 128;

    /// Returns whether the first `token` of a query is this one, in a time that does not tell how much of it is right.
    #[must_use]
    pub fn is_in(&self, query: Option<&str>) -> bool {
        let mut parameters = query.unwrap_or_default().split('&');
        let shown = parameters.find_map(|one| one.strip_prefix("token="));
        shown.is_some_and(|shown| same(shown.as_bytes(), self.0.as_bytes()))
    }

    /// Returns the query that brings it.
    #[must_use]
    pub fn to_query(&self) -> String {
        format!("token={}", self.0)
    }
}

/// Compares all bytes, wherever the first difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    let pairs = a.iter().zip(b);
    let differences = pairs.fold(0, |differences, (a, b)| differences | (a ^ b));
    a.len() == b.len() && std::hint::black_box(differences) == 0
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if (1..=Self::LONGEST).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(TokenError)
        }
    }
}

/// Does not show the secret.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_first_token_of_the_query_counts() {
        let token: Token = "a-B_1.x".parse().unwrap();
        assert_eq!(token.to_query(), "token=a-B_1.x");
        for (query, right) in [
            (Some("token=a-B_1.x"), true),
            (Some("x=1&token=a-B_1.x&y"), true),
            (Some("token=no&token=a-B_1.x"), false),
            (Some("token=a-B_1.xx"), false),
            (Some("token=a-B_1."), false),
            (Some("token="), false),
            (Some("xtoken=a-B_1.x"), false),
            (Some(""), false),
            (None, false),
        ] {
            assert_eq!(token.is_in(query), right, "{query:?}");
        }
        assert_eq!(format!("{token:?}"), "Token(..)");
    }

    #[test]
    fn tokens_mean_the_same_in_every_url() {
        for text in [
            "",
            "a b",
            "a&b",
            "ä",
            "a=b",
            "a%20",
            "a+b",
            &"a".repeat(129),
        ] {
            assert_eq!(text.parse::<Token>(), Err(TokenError), "{text:?}");
        }
        assert!("a".repeat(128).parse::<Token>().is_ok());
    }
}
