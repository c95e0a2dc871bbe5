//! How connections, sessions and streams do, and what looks wrong with them.
//!
//! [`Connection::diagnostics`](crate::Connection::diagnostics), [`Session::diagnostics`](crate::Session::diagnostics)
//! and [`BiStream::stats`](crate::BiStream::stats) take the figures of one moment. What counts as wrong is for the
//! thresholds to say, whose defaults suit most uses. For figures over time see [`observe`](crate::observe).

mod connection;
mod session;
mod stream;

pub use self::{
    connection::{ConnectionDiagnostics, ConnectionIssue, ConnectionThresholds},
    session::{SessionDiagnostics, SessionIssue, SessionThresholds},
    stream::{StreamIssue, StreamThresholds},
};
