//! RPC with a stream for each call.

use std::{future::poll_fn, sync::Arc, task::Poll};

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use tokio::{sync::watch, task::JoinSet, time::timeout};
use uuid::Uuid;
use wt_core::{BiStream, RecvStream, Session};

use super::{
    CallError, RpcEnd, RpcError, RpcErrorCode,
    message::{self, ENVELOPE, Incoming, Item},
    serving::Serving,
    shared::{Answer, Kept, Shared},
    wire::{self, BatchReply},
};
use crate::frame::Decoder;

/// Serves the streams of the peer until the session ends or the sign to stop comes.
pub(super) async fn run(shared: Arc<Shared>, session: Session, mut stop: watch::Receiver<bool>) {
    let mut streams = JoinSet::new();
    let end = tokio::select! {
        biased;
        _ = stop.changed() => RpcEnd::Closed,
        end = accept(&shared, &session, &mut streams) => end,
    };
    tracing::debug!(%end, "RPC ends");
    shared.refuse(&end);
    streams.shutdown().await;
    shared.over(end);
}

/// Serves streams until the session ends.
async fn accept(shared: &Arc<Shared>, session: &Session, streams: &mut JoinSet<()>) -> RpcEnd {
    let concurrency = shared.config.concurrency.max(1);
    loop {
        let stream = tokio::select! {
            biased;
            // Streams beyond wait in the session, which bounds them.
            stream = session.accept_bi(), if streams.len() < concurrency => stream,
            Some(_) = streams.join_next() => continue,
        };
        let stream = match stream {
            Ok(stream) => stream,
            Err(end) => return RpcEnd::Session(end),
        };
        // Without a task where it is likely to make none wait.
        let here = shared.is_quick();
        let mut serving = Box::pin(serve(shared.clone(), stream, here));
        if !here || (&mut serving).now_or_never().is_none() {
            streams.spawn(serving);
        }
        // A peer that never pauses must not keep the thread, nor the sign to stop from being seen.
        tokio::task::consume_budget().await;
    }
}

/// Serves one call. Whatever goes wrong with the stream, its caller learns by the same stream.
///
/// It begins `here`, or in a task of its own; begun here, it waits before anything that may take long.
async fn serve(shared: Arc<Shared>, stream: BiStream, here: bool) {
    let (mut send, mut recv) = stream.split();
    let config = &shared.config;
    let request = payload(&mut recv, config.max_message_size);
    let incoming = match timeout(config.request_timeout, request).await {
        Ok(Ok(payload)) => message::parse(&payload, shared.strict()),
        Ok(Err(error @ RpcEnd::TooLarge { .. })) => {
            let error = RpcError::new(RpcErrorCode::INVALID_REQUEST, error.to_string());
            Incoming::One(Item::Invalid { id: None, error })
        }
        // Dropped, the stream is reset.
        Ok(Err(_)) | Err(_) => return,
    };
    let expected = match &incoming {
        Incoming::One(item) => usize::from(item.is_answered()),
        Incoming::Batch(items) => items.iter().filter(|item| item.is_answered()).count(),
    };
    let work = answer(&shared, incoming, expected, here);
    let reply = if expected == 0 {
        // The caller of a notification does not wait.
        work.await
    } else {
        tokio::select! {
            biased;
            reply = work => reply,
            // The caller gave up, or the session is over.
            _ = send.stopped() => return,
        }
    };
    if let Some((mut frame, _kept)) = reply {
        message::seal(&mut frame);
        if send.write_chunk(frame.freeze()).await.is_err() {
            return;
        }
    }
    // It was stopped, or the session ended: nobody waits for it.
    let _ = send.finish();
}

/// Has one request done, or all of a batch one after the other; the frame of the answer.
async fn answer(
    shared: &Arc<Shared>,
    incoming: Incoming,
    expected: usize,
    here: bool,
) -> Option<(BytesMut, Vec<Kept>)> {
    let config = &shared.config;
    let mut frame = message::frame(ENVELOPE);
    match incoming {
        Incoming::One(item) => {
            let (id, outcome, kept) = item_answer(shared, item, here).await?;
            let max = config.max_message_size;
            wire::reply(&mut frame, config.strict, max, &id, &outcome);
            Some((frame, vec![kept]))
        }
        Incoming::Batch(items) => {
            let mut replies = BatchReply::new(expected, config.strict, config.max_message_size);
            let mut all = None;
            let mut waiting = Vec::new();
            if here {
                step_aside().await;
            }
            for item in items {
                if let Some((id, outcome, kept)) = item_answer(shared, item, false).await {
                    all = replies.add(&id, &outcome);
                    waiting.push(kept);
                }
            }
            frame.extend_from_slice(&all?);
            Some((frame, waiting))
        }
    }
}

async fn item_answer(
    shared: &Arc<Shared>,
    item: Item,
    here: bool,
) -> Option<(Bytes, Answer, Kept)> {
    match item {
        Item::Request(request) => {
            let id = request.id.clone();
            let serving = Serving::new(shared, request);
            if here && !serving.is_quick() {
                step_aside().await;
            }
            let outcome = serving.await;
            let (outcome, kept) = shared.keep(outcome);
            Some((id?, outcome, kept))
        }
        Item::Invalid { id, error } => {
            let id = id.unwrap_or(Bytes::from_static(b"null"));
            let (outcome, kept) = shared.keep(Err(shared.sign(error)));
            Some((id, outcome, kept))
        }
        Item::Response { .. } | Item::Ignored => None,
    }
}

/// Goes on in a task, if it does not run in one yet.
async fn step_aside() {
    let mut aside = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut aside, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Makes calls on a stream of their own. Dropped, it tells the peer by stopping the stream.
pub(super) async fn exchange(
    shared: &Shared,
    session: &Session,
    ids: &[Uuid],
    frame: Bytes,
) -> Result<Vec<Answer>, CallError> {
    let stream = session.open_bi().await.map_err(RpcEnd::Session)?;
    let (mut send, mut recv) = stream.split();
    let written = send.write_chunk(frame).await;
    let written = written.and_then(|()| send.finish());
    if ids.is_empty() {
        return Ok(written.map(|()| Vec::new()).map_err(RpcEnd::Write)?);
    }
    // A peer that refuses a request may stop it before it has it all, and say why.
    let payload = match (
        payload(&mut recv, shared.config.max_message_size).await,
        written,
    ) {
        (Ok(payload), _) => payload,
        (Err(_), Err(error)) => return Err(RpcEnd::Write(error).into()),
        (Err(error), Ok(())) => return Err(error.into()),
    };
    let items = match message::parse(&payload, shared.strict()) {
        Incoming::One(item) => vec![item],
        Incoming::Batch(items) => items,
    };
    let mut answers: Vec<Option<Answer>> = vec![None; ids.len()];
    for item in items {
        let Item::Response { id, outcome } = item else {
            return Err(CallError::NoAnswer);
        };
        let id = message::call_id(&id);
        match (ids.iter().position(|call| Some(*call) == id), outcome) {
            (Some(at), outcome) => answers[at] = Some(outcome),
            // An error about the message as a whole.
            (None, Err(error)) => return Err(CallError::Remote(error)),
            (None, Ok(_)) => return Err(CallError::NoAnswer),
        }
    }
    let answers: Option<_> = answers.into_iter().collect();
    answers.ok_or(CallError::NoAnswer)
}

async fn payload(recv: &mut RecvStream, max: usize) -> Result<Bytes, RpcEnd> {
    let mut decoder = Decoder::default();
    poll_fn(|cx| wire::poll_payload(recv, &mut decoder, max, cx)).await
}
