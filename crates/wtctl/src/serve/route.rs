//! What the path of a session means.

use std::{borrow::Cow, fmt::Display, str::FromStr, time::Duration};

use http::StatusCode;
use percent_encoding::percent_decode_str;

/// Streams of each kind that `/push` opens at most.
const MAX_PUSH: u64 = 10_000;

/// The longest wait of `/slow`, in milliseconds.
const MAX_SLOW: u64 = 10 * 60 * 1000;

/// What a session does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Echo,
    Discard,
    Source { bytes: u64 },
    Push { uni: u64, bidi: u64, size: u64 },
    Close { code: u32, reason: String },
    Reset { code: u32 },
    Drain,
    Headers,
    Refuse(StatusCode),
    Slow(Duration),
}

/// Why there is no such session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoRoute {
    UnknownPath,
    /// What is wrong with a parameter.
    BadParameter(String),
}

impl NoRoute {
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::UnknownPath => StatusCode::NOT_FOUND,
            Self::BadParameter(_) => StatusCode::BAD_REQUEST,
        }
    }
}

impl Route {
    /// Returns its path without what clients choose.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Echo => "/echo",
            Self::Discard => "/discard",
            Self::Source { .. } => "/source",
            Self::Push { .. } => "/push",
            Self::Close { .. } => "/close",
            Self::Reset { .. } => "/reset",
            Self::Drain => "/drain",
            Self::Headers => "/headers",
            Self::Refuse(_) => "/status",
            Self::Slow(_) => "/slow",
        }
    }

    /// Reads a path and a query. Parameters that a path does not know are ignored, numbers that are
    /// left out are 0.
    pub(super) fn parse(path: &str, query: Option<&str>) -> Result<Self, NoRoute> {
        let query = Query(query.unwrap_or_default());
        Ok(match path {
            "/" | "/echo" => Self::Echo,
            "/discard" => Self::Discard,
            "/source" => Self::Source {
                bytes: query.number("bytes", u64::MAX)?,
            },
            "/push" => Self::Push {
                uni: query.number("uni", MAX_PUSH)?,
                bidi: query.number("bidi", MAX_PUSH)?,
                size: query.number("size", u64::MAX)?,
            },
            "/close" => Self::Close {
                code: query.number("code", u32::MAX)?,
                reason: query.text("reason")?.unwrap_or_default().into_owned(),
            },
            "/reset" => Self::Reset {
                code: query.number("code", u32::MAX)?,
            },
            "/drain" => Self::Drain,
            "/headers" => Self::Headers,
            "/slow" => Self::Slow(Duration::from_millis(query.number("ms", MAX_SLOW)?)),
            _ if path.starts_with("/echo/") => Self::Echo,
            _ => match path.strip_prefix("/status/") {
                Some(status) => Self::Refuse(refusal(status)?),
                None => return Err(NoRoute::UnknownPath),
            },
        })
    }
}

/// Reads a status that refuses: 2xx would accept, 1xx would not answer.
fn refusal(text: &str) -> Result<StatusCode, NoRoute> {
    let status = StatusCode::from_bytes(text.as_bytes()).ok();
    status
        .filter(|status| (300..600).contains(&status.as_u16()))
        .ok_or_else(|| NoRoute::BadParameter(format!("{text:?} is not a status from 300 to 599")))
}

/// The parameters of a path, of which the first of a name counts.
struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// Returns the text of a parameter, percent-decoded; `None` when it is left out.
    fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, NoRoute> {
        let mut parts = self.0.split('&');
        let value = parts.find_map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            percent_decode_str(key).eq(name.bytes()).then_some(value)
        });
        let text = value.map(|value| percent_decode_str(value).decode_utf8());
        text.transpose()
            .map_err(|_| NoRoute::BadParameter(format!("{name} is not UTF-8")))
    }

    /// Returns a number that is at most `max`; 0 when it is left out.
    fn number<T>(&self, name: &str, max: T) -> Result<T, NoRoute>
    where
        T: FromStr + PartialOrd + Default + Display + Copy,
    {
        let Some(text) = self.text(name)? else {
            return Ok(T::default());
        };
        let number = text.parse().ok().filter(|number| *number <= max);
        number.ok_or_else(|| {
            NoRoute::BadParameter(format!("{name}={text:?} is not a number from 0 to {max}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(uri: &str) -> Result<Route, StatusCode> {
        let (path, query) = match uri.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (uri, None),
        };
        Route::parse(path, query).map_err(|none| none.status())
    }

    #[test]
    fn paths_of_the_contract() {
        let push = Route::Push {
            uni: 5,
            bidi: 6,
            size: 1000,
        };
        for (uri, route) in [
            ("/", Route::Echo),
            ("/echo", Route::Echo),
            ("/echo/", Route::Echo),
            ("/echo/a/b?x=1", Route::Echo),
            ("/discard", Route::Discard),
            ("/source?bytes=10", Route::Source { bytes: 10 }),
            ("/source", Route::Source { bytes: 0 }),
            ("/push?uni=5&bidi=6&size=1000", push),
            ("/reset?code=4294967295", Route::Reset { code: u32::MAX }),
            ("/drain", Route::Drain),
            ("/headers?a=1", Route::Headers),
            ("/status/403", Route::Refuse(StatusCode::FORBIDDEN)),
            ("/slow?ms=20", Route::Slow(Duration::from_millis(20))),
        ] {
            assert_eq!(parse(uri), Ok(route), "{uri}");
        }
    }

    #[test]
    fn parameters_are_percent_decoded() {
        let close = |code, reason: &str| {
            Ok(Route::Close {
                code,
                reason: reason.to_owned(),
            })
        };
        assert_eq!(parse("/close"), close(0, ""));
        assert_eq!(parse("/close?code=%37&reason="), close(7, ""));
        assert_eq!(parse("/close?re%61son=a%20%26+b"), close(0, "a &+b"));
        assert_eq!(parse("/close?reason=gr%C3%BC%C3%9Fe"), close(0, "grüße"));
        assert_eq!(parse("/close?code=1&code=2&x"), close(1, ""));
    }

    #[test]
    fn unknown_paths_are_not_found() {
        for uri in [
            "",
            "/nowhere",
            "/echoes",
            "/discard/",
            "/status",
            "/%65cho",
            "*",
        ] {
            assert_eq!(parse(uri), Err(StatusCode::NOT_FOUND), "{uri}");
        }
    }

    #[test]
    fn bad_parameters_are_bad_requests() {
        for uri in [
            "/source?bytes=many",
            "/source?bytes=",
            "/source?bytes=-1",
            "/push?uni=10001",
            "/push?bidi=1e3",
            "/close?code=4294967296",
            "/close?reason=%FF",
            "/reset?code=0x10",
            "/slow?ms=600001",
            "/status/200",
            "/status/100",
            "/status/600",
            "/status/40",
            "/status/teapot",
            "/status/",
        ] {
            assert_eq!(parse(uri), Err(StatusCode::BAD_REQUEST), "{uri}");
        }
    }
}
