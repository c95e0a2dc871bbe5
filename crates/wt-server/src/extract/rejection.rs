//! The answer when an extractor of this crate does not find what it needs.

use wt_core::http::StatusCode;

use crate::{
    message::{Response, refuse},
    response::IntoResponse,
};

/// Why an extractor of this crate refused a request: a status, and the reason in words, which is
/// logged and not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Rejection {
    status: StatusCode,
    reason: String,
}

impl Rejection {
    pub(crate) fn bad_request(reason: String) -> Self {
        let status = StatusCode::BAD_REQUEST;
        Self { status, reason }
    }

    pub(crate) fn internal(reason: String) -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self { status, reason }
    }

    /// Returns the status: 400 when the client is at fault, 500 when the application is.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        if self.status.is_server_error() {
            tracing::error!(
                status = self.status.as_u16(),
                reason = self.reason,
                "refused"
            );
        } else {
            tracing::debug!(
                status = self.status.as_u16(),
                reason = self.reason,
                "refused"
            );
        }
        refuse(self.status)
    }
}
