//! Where there are no Unix sockets: nothing of it can be.

use std::{convert::Infallible, path::PathBuf};

use super::TakeoverError;
use crate::config::ServerConfig;

#[derive(Debug)]
pub(crate) struct Takeover(Infallible);

impl Takeover {
    #[allow(clippy::unused_async, reason = "it is async elsewhere")]
    pub(crate) async fn begin(_: PathBuf) -> Result<Self, TakeoverError> {
        Err(TakeoverError::Unsupported)
    }

    pub(crate) const fn has_predecessor(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn endpoint(
        self,
        _: &ServerConfig,
        _: quinn::ServerConfig,
    ) -> Result<(quinn::Endpoint, Pending), TakeoverError> {
        match self.0 {}
    }
}

#[derive(Debug)]
pub(crate) struct Pending(Infallible);

impl Pending {
    #[allow(clippy::unused_async, reason = "it is async elsewhere")]
    pub(crate) async fn complete(self) -> Result<Handover, TakeoverError> {
        match self.0 {}
    }
}

#[derive(Debug)]
pub(crate) struct Handover(Infallible);

impl Handover {
    #[allow(clippy::unused_async, reason = "it is async elsewhere")]
    pub(crate) async fn handed_over(&self) {
        match self.0 {}
    }

    pub(crate) const fn is_handed_over(&self) -> bool {
        match self.0 {}
    }

    pub(crate) const fn counts(&self) -> (u64, u64) {
        match self.0 {}
    }
}
