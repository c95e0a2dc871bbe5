//! How a client asks for a session.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering::SeqCst},
};

use http::HeaderMap;
use wt_proto::{
    Dialect, ErrorCode, StreamId,
    connection::Connection as Proto,
    head::{RequestHead, UpgradeToken, validate_user_headers},
    subprotocol,
};

use super::{
    super::{
        io::{Io, reject},
        wake::Key,
    },
    Inner,
};
use crate::{
    error::{ConnectError, ConnectionError},
    lock::lock,
    session::{Heads, Shared},
};

impl Inner {
    /// Waits for the peer's SETTINGS.
    pub(crate) async fn ready(&self) -> Result<(), ConnectionError> {
        let mut volunteer = self.volunteer();
        loop {
            let arrived = self.settings_arrived.notified();
            if let Some(end) = self.end() {
                return Err(end);
            }
            if self.settings.load(SeqCst) {
                return Ok(());
            }
            volunteer.wait(arrived).await;
        }
    }

    /// Asks for a session, whose answer is yet to come.
    pub(crate) async fn ask_for_session(
        self: &Arc<Self>,
        head: RequestHead,
    ) -> Result<Arc<Shared>, ConnectError> {
        self.ready().await?;
        self.with_proto(Proto::can_connect)?;
        let opened = self.quic.open_bi().await;
        let (send, recv) = opened.map_err(|e| self.end().unwrap_or_else(|| e.into()))?;
        let stream = StreamId::new(u64::from(send.id())).unwrap_or(StreamId::MAX);
        let shared = {
            let mut state = lock(&self.state);
            if let Some(end) = self.end() {
                return Err(end.into());
            }
            let id = match state.proto.connect(stream, head.clone()) {
                Ok(id) => id,
                Err(error) => {
                    // Dropped, it would look like a request that ends before it begins.
                    reject(Some(send), Some(recv), ErrorCode::H3_REQUEST_CANCELLED);
                    return Err(error.into());
                }
            };
            let dialect = state.proto.session_dialect(id).unwrap_or(Dialect::Draft15);
            let heads = Heads::asked(head, dialect);
            let shared = Arc::new(Shared::new(id, self.clone(), state.proto.flow(id), heads));
            let waker = self.ready.waker(Key::Request(stream));
            let mut io = Io::new(waker, Some(send), Some(recv));
            // Written here, it leaves before the driver gets its turn, and with what the application writes at once.
            while let Some(action) = state.proto.poll_request_transmit(stream) {
                io.push(action);
            }
            io.flush();
            state.opened.push((stream, io));
            state.asked.insert(id, shared.clone());
            state.idle_since = None;
            shared
        };
        self.do_now();
        Ok(shared)
    }
}

/// Makes the head of a request for a session, checked.
pub(in crate::connection) fn request_head(
    authority: &str,
    path: &str,
    mut headers: HeaderMap,
    protocols: &[String],
) -> Result<RequestHead, ConnectError> {
    let invalid = |error: &dyn fmt::Display| ConnectError::InvalidRequest(error.to_string());
    validate_user_headers(&headers).map_err(|error| invalid(&error))?;
    if !protocols.is_empty() {
        let offer = subprotocol::encode_offer(protocols).map_err(|error| invalid(&error))?;
        headers.insert(subprotocol::WT_AVAILABLE_PROTOCOLS, offer);
    }
    // The token follows from the dialect, once it is known.
    Ok(RequestHead::webtransport(
        authority,
        path,
        UpgradeToken::WebTransport,
        headers,
    ))
}
