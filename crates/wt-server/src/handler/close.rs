//! How a handler ends its session.

use std::{any::Any, borrow::Cow, convert::Infallible, fmt, sync::Arc};

use crate::message::BoxError;

/// The code and the reason that a session is closed with.
///
/// It is an error too, so that a handler can leave with `?`:
///
/// ```
/// use wt_server::{BoxError, Close, Session};
///
/// async fn serve(session: Session) -> Result<(), BoxError> {
///     let greeting = session.recv_datagram().await?;
///     if greeting != "hello".as_bytes() {
///         return Err(Close::new(4000, "no manners").into());
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Close {
    /// The application's code.
    pub code: u32,
    /// The reason; beyond 1024 bytes of UTF-8 it is cut.
    pub reason: Cow<'static, str>,
}

impl Close {
    /// The code of a session whose handler failed or panicked: 1, with the reason
    /// "internal server error". The details are logged, the client does not see them.
    pub const INTERNAL_ERROR: u32 = 1;

    /// Creates one.
    pub fn new(code: u32, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }

    /// What a session ends with when its handler failed.
    #[must_use]
    pub const fn internal_error() -> Self {
        Self {
            code: Self::INTERNAL_ERROR,
            reason: Cow::Borrowed("internal server error"),
        }
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "close with code {}", self.code)?;
        match &self.reason[..] {
            "" => Ok(()),
            reason => write!(f, ": {reason}"),
        }
    }
}

impl std::error::Error for Close {}

/// How the handler of a session ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Ending {
    /// It returned, or asked for this with an error that is a [`Close`].
    Returned(Close),
    /// It returned an error.
    Failed(Arc<dyn std::error::Error + Send + Sync>),
    /// It panicked, with this message.
    Panicked(String),
}

impl Ending {
    /// Returns what the session is closed with, unless it is over already.
    #[must_use]
    pub fn close(&self) -> Close {
        match self {
            Self::Returned(close) => close.clone(),
            Self::Failed(_) | Self::Panicked(_) => Close::internal_error(),
        }
    }

    pub(crate) fn panicked(payload: &(dyn Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        Self::Panicked(text.unwrap_or_else(|| "no message".to_owned()))
    }
}

/// What a handler may return: it decides how the session ends.
///
/// | Value | The session is closed with |
/// |---|---|
/// | `()` | code 0, no reason |
/// | [`Close`] | its code and reason |
/// | `Ok(value)` | as `value` says |
/// | `Err(error)` | the error's code and reason if it is a [`Close`], else [`Close::internal_error`] |
///
/// Any error that can be boxed will do. A session that is over already stays as it is.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    note = "return `()`, `Close`, or a `Result` of them whose error can become a `BoxError`"
)]
pub trait IntoEnding {
    /// Says how the session ends.
    fn into_ending(self) -> Ending;
}

impl IntoEnding for () {
    fn into_ending(self) -> Ending {
        Ending::Returned(Close::default())
    }
}

impl IntoEnding for Close {
    fn into_ending(self) -> Ending {
        Ending::Returned(self)
    }
}

impl IntoEnding for Ending {
    fn into_ending(self) -> Ending {
        self
    }
}

impl IntoEnding for Infallible {
    fn into_ending(self) -> Ending {
        match self {}
    }
}

impl<T: IntoEnding, E: Into<BoxError>> IntoEnding for Result<T, E> {
    fn into_ending(self) -> Ending {
        match self {
            Ok(value) => value.into_ending(),
            Err(error) => match error.into().downcast::<Close>() {
                Ok(close) => Ending::Returned(*close),
                Err(error) => Ending::Failed(error.into()),
            },
        }
    }
}
