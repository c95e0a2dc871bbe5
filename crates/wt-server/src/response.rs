//! What can be made into an answer.

use std::convert::Infallible;

use wt_core::http::{HeaderMap, StatusCode};

use crate::message::{Response, refuse};

/// What can be made into the answer to a request.
pub trait IntoResponse {
    /// Makes it an answer.
    fn into_response(self) -> Response;
}

impl IntoResponse for Response {
    fn into_response(self) -> Response {
        self
    }
}

/// A status that refuses. One of 2xx accepts a session and closes it at once with code 0.
impl IntoResponse for StatusCode {
    fn into_response(self) -> Response {
        refuse(self)
    }
}

/// A status that refuses, with header fields.
impl IntoResponse for (StatusCode, HeaderMap) {
    fn into_response(self) -> Response {
        let mut response = refuse(self.0);
        *response.headers_mut() = self.1;
        response
    }
}

impl IntoResponse for Infallible {
    fn into_response(self) -> Response {
        match self {}
    }
}

impl<T: IntoResponse, E: IntoResponse> IntoResponse for Result<T, E> {
    fn into_response(self) -> Response {
        match self {
            Ok(value) => value.into_response(),
            Err(error) => error.into_response(),
        }
    }
}
