//! What each error of this crate is about.

use wt_core::fault::{Category, Fault};

use crate::{
    balance::{BalanceError, UnknownStrategy},
    connect::ConnectError,
    fleet::FleetError,
    pool::PoolError,
    reconnect::{ConnectFailure, ReconnectError},
    setting::InvalidSetting,
    target::InvalidUrl,
};

/// Errors of values that somebody has to change.
macro_rules! of_configuration {
    ($($kind:ident),+) => {
        $(impl Fault for $kind {
            fn category(&self) -> Category {
                Category::Configuration
            }

            fn is_fatal(&self) -> bool {
                true
            }
        })+
    };
}

of_configuration!(InvalidSetting, InvalidUrl, UnknownStrategy);

impl Fault for ConnectError {
    fn category(&self) -> Category {
        match self {
            Self::Url(error) => error.category(),
            Self::ProxyUnsupported { .. } => Category::Configuration,
            Self::Resolve { .. } | Self::NoAddress { .. } | Self::Custom(_) => Category::Connection,
            Self::NoAnswer { .. } | Self::TimedOut(_) => Category::Timeout,
            Self::Session(error) => error.category(),
            Self::InvalidHeader { .. } | Self::Closed | Self::TooManyConnections { .. } => {
                Category::Client
            }
        }
    }

    /// A name may be known, and a connection over, in a moment.
    fn is_retriable(&self) -> bool {
        match self {
            Self::Session(error) => error.is_retriable(),
            error => !error.is_permanent(),
        }
    }

    fn is_fatal(&self) -> bool {
        match self {
            Self::Session(error) => error.is_fatal(),
            error => error.is_permanent(),
        }
    }
}

impl Fault for ConnectFailure {
    fn category(&self) -> Category {
        match self {
            Self::Connect(error) => error.category(),
            Self::Lost { error, .. } => error.category(),
        }
    }

    fn is_retriable(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_retriable(),
            Self::Lost { .. } => true,
        }
    }

    fn is_fatal(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_fatal(),
            Self::Lost { error, .. } => error.is_fatal(),
        }
    }
}

impl Fault for ReconnectError {
    fn category(&self) -> Category {
        match self {
            Self::Closed => Category::Client,
            Self::RetriesExceeded { last, .. } => last.category(),
            Self::Permanent(error) => error.category(),
        }
    }

    /// All that could be done by trying again was done.
    fn is_retriable(&self) -> bool {
        false
    }

    fn is_fatal(&self) -> bool {
        match self {
            Self::Closed => true,
            Self::RetriesExceeded { last, .. } => last.is_fatal(),
            Self::Permanent(_) => true,
        }
    }
}

impl<E: Fault + 'static> Fault for PoolError<E> {
    fn category(&self) -> Category {
        match self {
            Self::Closed => Category::Client,
            Self::TimedOut(_) => Category::Timeout,
            Self::Create(error) => error.category(),
        }
    }

    fn is_retriable(&self) -> bool {
        match self {
            Self::Closed => false,
            Self::TimedOut(_) => true,
            Self::Create(error) => error.is_retriable(),
        }
    }

    fn is_fatal(&self) -> bool {
        match self {
            Self::Closed => true,
            Self::TimedOut(_) => false,
            Self::Create(error) => error.is_fatal(),
        }
    }
}

impl Fault for BalanceError {
    fn category(&self) -> Category {
        match self {
            Self::NoTargets | Self::Url(_) | Self::Setting(_) => Category::Configuration,
            Self::UnknownTarget { .. } | Self::Closed => Category::Client,
            Self::NoneAvailable { .. } => Category::Server,
            Self::Failed { error, .. } => error.category(),
        }
    }

    fn is_retriable(&self) -> bool {
        match self {
            Self::NoneAvailable { .. } => true,
            Self::Failed { error, .. } => error.is_retriable(),
            _ => false,
        }
    }

    fn is_fatal(&self) -> bool {
        match self {
            Self::NoneAvailable { .. } => false,
            Self::Failed { error, .. } => error.is_fatal(),
            _ => true,
        }
    }
}

impl Fault for FleetError {
    fn category(&self) -> Category {
        match self {
            Self::Empty => Category::Configuration,
            Self::Bind { error, .. } => error.category(),
        }
    }

    fn is_retriable(&self) -> bool {
        matches!(self, Self::Bind { error, .. } if error.is_retriable())
    }

    fn is_fatal(&self) -> bool {
        !self.is_retriable()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wt_core::{ConnectionError, SessionError};

    use super::*;

    fn check(error: &dyn Fault, category: Category, retriable: bool, fatal: bool) {
        let found = (error.category(), error.is_retriable(), error.is_fatal());
        assert_eq!(found, (category, retriable, fatal), "{error}");
    }

    #[test]
    fn errors_say_what_they_are_about_and_whether_to_try_again() {
        let time = Duration::from_secs(1);
        let timed_out = ConnectError::TimedOut(time);
        check(&timed_out, Category::Timeout, true, false);
        check(&ConnectError::Closed, Category::Client, false, true);
        let lost = wt_core::ConnectError::Connection(ConnectionError::TimedOut);
        let lost = ConnectError::Session(lost);
        check(&lost, Category::Timeout, true, false);
        let error = SessionError::Connection(ConnectionError::Reset);
        let lost = ConnectFailure::Lost { lived: time, error };
        check(&lost, Category::Connection, true, false);
        let given_up = ReconnectError::RetriesExceeded {
            failures: 3,
            last: lost,
        };
        check(&given_up, Category::Connection, false, false);
        let url = crate::Target::parse("nowhere").unwrap_err();
        check(&url, Category::Configuration, false, true);
        let permanent = ReconnectError::Permanent(url.into());
        check(&permanent, Category::Configuration, false, true);
        let pool = PoolError::<ConnectError>::TimedOut(time);
        check(&pool, Category::Timeout, true, false);
        let pool = PoolError::Create(timed_out.clone());
        check(&pool, Category::Timeout, true, false);
        let none = BalanceError::NoneAvailable { targets: 2 };
        check(&none, Category::Server, true, false);
        let failed = BalanceError::Failed {
            authority: "localhost".to_owned(),
            tried: 2,
            error: timed_out,
        };
        check(&failed, Category::Timeout, true, false);
        check(&FleetError::Empty, Category::Configuration, false, true);
    }
}
