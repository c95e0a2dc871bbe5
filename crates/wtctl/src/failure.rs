//! Why a command failed, in one line.

use std::{error::Error, fmt, io, process::ExitCode};

/// A command could not do its work.
#[derive(Debug)]
pub(crate) struct Failure {
    status: u8,
    message: String,
}

impl Failure {
    /// Bad arguments or surroundings, such as an address in use: exit status 2.
    pub(crate) fn cannot_start(error: &dyn Error) -> Self {
        Self {
            status: 2,
            message: chain(error),
        }
    }

    /// Like [`Self::cannot_start`], in words of our own.
    pub(crate) fn bad_argument(message: impl Into<String>) -> Self {
        Self {
            status: 2,
            message: message.into(),
        }
    }

    /// Something that was started did not succeed: exit status 1.
    pub(crate) fn during_work(message: impl Into<String>) -> Self {
        Self {
            status: 1,
            message: message.into(),
        }
    }

    /// Something did not succeed, and all that there is to say was said: exit status 1.
    pub(crate) fn told() -> Self {
        Self::during_work("")
    }

    /// Returns whether all was said before.
    pub(crate) fn is_told(&self) -> bool {
        self.message.is_empty()
    }

    /// What was to be shown cannot be written.
    pub(crate) fn output(error: &io::Error) -> Self {
        Self::during_work(format!("cannot write to standard output: {error}"))
    }

    pub(crate) fn status(&self) -> ExitCode {
        self.status.into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Says an error and its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Some errors repeat their cause.
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug)]
    struct Outer(io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("cannot read a file")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn causes_are_told_in_one_line() {
        let error = Outer(io::Error::other("it is\n  not there"));
        assert_eq!(chain(&error), "cannot read a file: it is not there");
    }
}
