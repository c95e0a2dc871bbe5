//! Regular expressions that whole paths match.

use regex_lite::Regex;

use super::RouteError;

/// Compiles `pattern` below `prefix`, which is a path with parameters.
pub(super) fn compile(prefix: &str, pattern: &str) -> Result<Regex, RouteError> {
    let error = |error: regex_lite::Error| RouteError::Pattern {
        pattern: pattern.to_owned(),
        reason: error.to_string(),
    };
    // By itself first: parentheses may not reach out of it.
    Regex::new(pattern).map_err(error)?;
    let prefix = from_path(prefix);
    Regex::new(&format!("^{prefix}(?:{pattern})$")).map_err(error)
}

/// Compiles the expression for all paths below `prefix`.
pub(super) fn below(prefix: &str) -> Result<Regex, RouteError> {
    compile(prefix, "(?:/.*)?")
}

/// Matches `path` and returns the groups by name or number.
pub(super) fn groups(regex: &Regex, path: &str) -> Option<Vec<(String, Option<String>)>> {
    let captures = regex.captures(path)?;
    let names = regex.capture_names().enumerate().skip(1);
    let groups = names.map(|(index, name)| {
        let name = name.map_or_else(|| index.to_string(), str::to_owned);
        let value = captures.get(index).map(|found| found.as_str().to_owned());
        (name, value)
    });
    Some(groups.collect())
}

/// Writes a path with parameters as a regular expression.
fn from_path(path: &str) -> String {
    let mut regex = String::new();
    let mut rest = path;
    while let Some(at) = rest.find(['{', '}']) {
        let (literal, brace) = rest.split_at(at);
        regex.push_str(&regex_lite::escape(literal));
        if brace.starts_with("{{") || brace.starts_with("}}") {
            regex.push_str(&regex_lite::escape(&brace[..1]));
            rest = &brace[2..];
        } else if let Some((name, after)) = brace[1..].split_once('}') {
            regex.push_str(&format!("(?<{name}>[^/]+)"));
            rest = after;
        } else {
            // The router of paths refuses it.
            rest = &brace[1..];
        }
    }
    regex + &regex_lite::escape(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_paths_match() {
        let regex = compile("", r"/v(\d+)/(?<name>[a-z]+)(/x)?").unwrap();
        let found = groups(&regex, "/v12/abc").unwrap();
        assert_eq!(
            found,
            [
                ("1".to_owned(), Some("12".to_owned())),
                ("name".to_owned(), Some("abc".to_owned())),
                ("3".to_owned(), None),
            ]
        );
        for path in ["/v12/abc/", "/v12/abcd/y", "x/v1/a", "/v1/a\n"] {
            assert_eq!(groups(&regex, path), None, "{path:?}");
        }
    }

    #[test]
    fn prefixes_are_literal_but_for_their_parameters() {
        let regex = compile("/a.b/{{x}}/{room}", "/(?<n>[0-9])|/y").unwrap();
        let found = groups(&regex, "/a.b/{x}/r%20s/7").unwrap();
        assert_eq!(found[0], ("room".to_owned(), Some("r%20s".to_owned())));
        assert_eq!(found[1], ("n".to_owned(), Some("7".to_owned())));
        assert!(groups(&regex, "/a.b/{x}/r/y").is_some());
        assert!(groups(&regex, "/aXb/{x}/r/y").is_none());
        assert!(groups(&regex, "/y").is_none());
    }

    #[test]
    fn parentheses_do_not_reach_out() {
        assert!(compile("/a", "/x)|(?:/y").is_err());
        assert!(compile("/{n}", "/(?<n>x)").is_err());
    }
}
