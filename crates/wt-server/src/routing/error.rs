//! What can be wrong with routes.

/// Why a router cannot be used. The first one of a router is kept, and reported when it starts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// A path cannot be routed.
    #[error("route {path:?}: {reason}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Two routes would match the same paths.
    #[error("route {path:?} is in the way of {with:?}: each path needs one handler")]
    Conflict {
        /// The later one.
        path: String,
        /// The earlier one.
        with: String,
    },
    /// A pattern is no regular expression that can be used.
    #[error("pattern {pattern:?}: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A router cannot be nested under a prefix.
    #[error("prefix {prefix:?}: {reason}")]
    Prefix {
        /// The prefix.
        prefix: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There are two handlers for what no route matches.
    #[error("two fallbacks under {prefix:?}: only one can answer")]
    Fallback {
        /// The prefix under which they stand; empty for the whole router.
        prefix: String,
    },
}
