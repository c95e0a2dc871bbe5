//! Streams: content, ends, priorities and cancellation.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

#[path = "../common/mod.rs"]
mod common;

mod cancellation;
mod content;
mod ends;
mod opening;
mod priorities;

use common::within;
use wt_core::{BiStream, RecvStream, SendStream, Session};

/// Opens a bidirectional stream with one byte in each direction; the opener's end comes first.
async fn bi(opener: &Session, accepter: &Session) -> (BiStream, BiStream) {
    let mut ours = within(opener.open_bi()).await.unwrap();
    ours.send.flush().await.unwrap();
    let theirs = within(accepter.accept_bi()).await.unwrap();
    (ours, theirs)
}

/// Opens a unidirectional stream.
async fn uni(opener: &Session, accepter: &Session) -> (SendStream, RecvStream) {
    let mut ours = within(opener.open_uni()).await.unwrap();
    ours.flush().await.unwrap();
    let theirs = within(accepter.accept_uni()).await.unwrap();
    (ours, theirs)
}
