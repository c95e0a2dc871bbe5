//! What the request and the response said, and the priority that follows from it.

use std::sync::{
    LazyLock, OnceLock,
    atomic::{AtomicI32, Ordering::Relaxed},
};

use http::{HeaderMap, StatusCode};
use wt_proto::{Dialect, head::RequestHead, priority};

/// What the request and the response said, as far as somebody may want to know it while the session lasts.
#[derive(Debug)]
pub(crate) struct Heads {
    pub(crate) authority: Option<Box<str>>,
    /// With the query.
    pub(crate) path: Option<Box<str>>,
    /// The header fields of the request.
    pub(crate) headers: HeaderMap,
    pub(crate) dialect: Dialect,
    /// Missing while a client waits for it.
    pub(super) answer: OnceLock<Answer>,
}

/// What the response said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// Boxed, since most responses have none.
    headers: Option<Box<HeaderMap>>,
    pub(crate) protocol: Option<Box<str>>,
}

impl Answer {
    pub(crate) fn new(status: StatusCode, headers: HeaderMap, protocol: Option<String>) -> Self {
        Self {
            status,
            headers: (!headers.is_empty()).then(|| Box::new(headers)),
            protocol: protocol.map(String::into_boxed_str),
        }
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.headers.as_deref().unwrap_or_else(|| no_headers())
    }
}

pub(crate) fn no_headers() -> &'static HeaderMap {
    static NONE: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);
    &NONE
}

impl Heads {
    /// Makes the heads of a session that waits for its answer.
    pub(crate) fn asked(request: RequestHead, dialect: Dialect) -> Self {
        Self {
            authority: request.authority.map(String::into_boxed_str),
            path: request.path.map(String::into_boxed_str),
            headers: request.headers,
            dialect,
            answer: OnceLock::new(),
        }
    }

    /// Makes the heads of a session that was answered.
    pub(crate) fn answered(request: RequestHead, dialect: Dialect, answer: Answer) -> Self {
        Self {
            answer: answer.into(),
            ..Self::asked(request, dialect)
        }
    }

    /// Returns the answer; `None` while a client waits for it.
    pub(crate) fn answer(&self) -> Option<&Answer> {
        self.answer.get()
    }
}

/// The priorities that the streams of a session have in QUIC.
///
/// Each urgency has a range of its own, so that streams of a session of greater urgency go before all streams of others,
/// whatever priorities applications give them (draft-16, 3.4).
#[derive(Debug)]
pub(crate) struct Priorities {
    middle: AtomicI32,
}

impl Priorities {
    /// Half of a range.
    const REACH: i32 = 1 << 27;

    /// What the server says of the urgency counts more than what the client said (RFC 9218, 8).
    fn middle_of(heads: &Heads) -> i32 {
        let answer = heads.answer();
        let said = answer.and_then(|answer| priority::urgency(answer.headers()));
        let urgency = said.or_else(|| priority::urgency(&heads.headers));
        let above = priority::DEFAULT_URGENCY.cast_signed()
            - urgency.unwrap_or(priority::DEFAULT_URGENCY).cast_signed();
        i32::from(above) * 2 * Self::REACH
    }

    pub(super) fn new(heads: &Heads) -> Self {
        Self {
            middle: Self::middle_of(heads).into(),
        }
    }

    /// Takes note of the answer, for streams opened from now on.
    pub(super) fn answered(&self, heads: &Heads) {
        self.middle.store(Self::middle_of(heads), Relaxed);
    }

    /// Returns whether the streams have another priority in QUIC than in their session.
    pub(super) fn differ(&self) -> bool {
        self.middle.load(Relaxed) != 0
    }

    /// Returns the priority in QUIC of a stream with this priority in its session.
    pub(crate) fn in_quic(&self, priority: i32) -> i32 {
        self.middle.load(Relaxed) + priority.clamp(-Self::REACH, Self::REACH - 1)
    }

    /// Returns the priority in its session of a stream with this priority in QUIC.
    pub(crate) fn in_session(&self, priority: i32) -> i32 {
        priority - self.middle.load(Relaxed)
    }
}
