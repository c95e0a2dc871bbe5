//! What stands in the way, and what to do about it.

use serde::Serialize;

/// Why something would not work, and what to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Problem {
    pub(super) why: String,
    pub(super) fix: String,
}

impl Problem {
    pub(super) fn new(why: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            fix: fix.into(),
        }
    }
}
