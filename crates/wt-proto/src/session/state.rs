//! The states of a session and what moves it between them.

use std::fmt;

/// The state of a session.
///
/// ```text
/// Connecting --Establish--> Established --Drain--> Draining
///     |                          |                    |
///     |                          +------- Close ------+-----> Closing --End--> Closed
///     +------------------------- End ------------------------------------------> Closed
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionState {
    /// CONNECT was sent or received and not answered yet.
    Connecting,
    /// A 2xx response was sent or received.
    Established,
    /// One side asked the other to finish; everything still works.
    Draining,
    /// We closed the session and the peer has not ended its side of the CONNECT stream.
    Closing,
    /// The session is over.
    Closed,
}

/// What happens to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// The CONNECT was answered with 2xx.
    Establish,
    /// A drain capsule or GOAWAY was sent or received.
    Drain,
    /// We sent a close capsule.
    Close,
    /// The session ended: by the peer's capsule or FIN, a reset, a refusal or a violation.
    End,
}

impl SessionState {
    /// Returns the state after `input`; `None` when the input means nothing in this state.
    pub(crate) const fn next(self, input: Input) -> Option<Self> {
        Some(match (self, input) {
            (Self::Connecting, Input::Establish) => Self::Established,
            (Self::Established, Input::Drain) => Self::Draining,
            (Self::Established | Self::Draining, Input::Close) => Self::Closing,
            (Self::Connecting | Self::Established | Self::Draining | Self::Closing, Input::End) => {
                Self::Closed
            }
            _ => return None,
        })
    }

    /// Returns whether streams may be opened and datagrams sent.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Established | Self::Draining)
    }

    /// Returns whether the session is over for the application.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Closing | Self::Closed)
    }

    /// Returns the name in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Established => "established",
            Self::Draining => "draining",
            Self::Closing => "closing",
            Self::Closed => "closed",
        }
    }
}

impl fmt::Display for SessionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_against_every_input() {
        let states = [
            SessionState::Connecting,
            SessionState::Established,
            SessionState::Draining,
            SessionState::Closing,
            SessionState::Closed,
        ];
        let inputs = [Input::Establish, Input::Drain, Input::Close, Input::End];
        let mut table = String::new();
        for state in states {
            for input in inputs {
                let next = state.next(input).map_or("-", SessionState::name);
                let input = format!("{input:?}");
                table.push_str(&format!("{state:<12}{input:<11}{next}\n"));
            }
        }
        let expected = "\
connecting  Establish  established
connecting  Drain      -
connecting  Close      -
connecting  End        closed
established Establish  -
established Drain      draining
established Close      closing
established End        closed
draining    Establish  -
draining    Drain      -
draining    Close      closing
draining    End        closed
closing     Establish  -
closing     Drain      -
closing     Close      -
closing     End        closed
closed      Establish  -
closed      Drain      -
closed      Close      -
closed      End        -
";
        assert_eq!(table, expected);
    }
}
