//! RPC with a stream for each call.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll};

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use tokio::{sync::watch, task::JoinSet, time::timeout};
use uuid::Uuid;
use wt_core::{BiStream, RecvStream, Session, WriteError};

use super::{
    CallError, RpcEnd, RpcError, RpcErrorCode,
    message::{self, ENVELOPE, Incoming, Item},
    pending::Clock,
    serving::Serving,
    shared::{Answer, Kept, Shared},
    wire::{self, BatchReply},
};
use crate::frame::Decoder;

/// Serves the streams of the peer until the session ends or the sign to stop comes.
pub(super) async fn run(shared: Arc<Shared>, session: Session, mut stop: watch::Receiver<bool>) {
    let _guard = Guard(shared.clone());
    let mut streams = JoinSet::new();
    let mut clock = Clock::new();
    let end = tokio::select! {
        biased;
        _ = stop.changed() => RpcEnd::Closed,
        end = accept(&shared, &session, &mut streams) => end,
        end = clock.run(&shared) => match end {},
    };
    tracing::debug!(%end, "RPC ends");
    shared.refuse(&end);
    streams.shutdown().await;
    shared.over(end);
}

/// Ends RPC when the runtime of its task goes away before the session: nobody would tell calls that they are out of time.
struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abandon();
    }
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
    let mut request = pin!(payload(&mut recv, config.max_message_size));
    // Mostly it has arrived with its stream, and there is no need for a timer.
    let request = match (&mut request).now_or_never() {
        Some(request) => request,
        // Boxed, since each call would have room for it.
        None => match Box::pin(timeout(config.request_timeout, request)).await {
            Ok(request) => request,
            // Dropped, the stream is reset.
            Err(_) => return,
        },
    };
    let incoming = match request {
        Ok(payload) => message::parse(&payload, shared.strict()),
        Err(error @ RpcEnd::TooLarge { .. }) => {
            let error = RpcError::new(RpcErrorCode::INVALID_REQUEST, error.to_string());
            Incoming::One(Item::Invalid { id: None, error })
        }
        Err(_) => return,
    };
    let expected = match &incoming {
        Incoming::One(item) => usize::from(item.is_answered()),
        Incoming::Batch(items) => items.iter().filter(|item| item.is_answered()).count(),
    };
    let mut work = pin!(answer(&shared, incoming, expected, here));
    let reply = if expected == 0 {
        // The caller of a notification does not wait.
        work.await
    } else {
        tokio::select! {
            biased;
            reply = &mut work => reply,
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

/// The room that answers take until they are written.
#[expect(dead_code, reason = "held, and dropped")]
enum Waiting {
    One(Kept),
    All(Vec<Kept>),
}

/// Has one request done, or all of a batch one after the other; the frame of the answer.
async fn answer(
    shared: &Arc<Shared>,
    incoming: Incoming,
    expected: usize,
    here: bool,
) -> Option<(BytesMut, Waiting)> {
    let config = &shared.config;
    let mut frame = message::frame(ENVELOPE);
    match incoming {
        Incoming::One(item) => {
            let (id, outcome, kept) = item_answer(shared, item, here).await?;
            let max = config.max_message_size;
            wire::reply(&mut frame, config.strict, max, &id, &outcome);
            Some((frame, Waiting::One(kept)))
        }
        // Boxed, since each call would have room for it.
        Incoming::Batch(items) => Box::pin(answers(shared, items, expected, here, frame)).await,
    }
}

/// Has all requests of a batch done, one after the other; the frame of the answers.
async fn answers(
    shared: &Arc<Shared>,
    items: Vec<Item>,
    expected: usize,
    here: bool,
    mut frame: BytesMut,
) -> Option<(BytesMut, Waiting)> {
    let config = &shared.config;
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
    Some((frame, Waiting::All(waiting)))
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

/// Makes a call on a stream of its own. Dropped, it tells the peer by stopping the stream.
pub(super) async fn call(
    shared: &Shared,
    session: &Session,
    id: Uuid,
    frame: BytesMut,
) -> Result<Answer, CallError> {
    let (written, recv) = send(session, frame).await?;
    match reply(shared, recv, written).await? {
        Incoming::One(item) => answer_to(&[id], item).map(|(_, answer)| answer),
        Incoming::Batch(items) => sort(&[id], items)?.pop().ok_or(CallError::NoAnswer),
    }
}

/// Makes calls on one stream. Dropped, it tells the peer by stopping the stream.
pub(super) async fn exchange(
    shared: &Shared,
    session: &Session,
    ids: &[Uuid],
    frame: BytesMut,
) -> Result<Vec<Answer>, CallError> {
    let (written, recv) = send(session, frame).await?;
    if ids.is_empty() {
        return Ok(written.map(|()| Vec::new()).map_err(RpcEnd::Write)?);
    }
    match reply(shared, recv, written).await? {
        Incoming::One(item) => sort(ids, vec![item]),
        Incoming::Batch(items) => sort(ids, items),
    }
}

/// Sends a frame on a stream of its own; whether all of it was written, and where the answer comes.
async fn send(
    session: &Session,
    frame: BytesMut,
) -> Result<(Result<(), WriteError>, RecvStream), CallError> {
    let stream = session.open_bi().await.map_err(RpcEnd::Session)?;
    let (mut send, recv) = stream.split();
    let written = send.write_chunk(frame.freeze()).await;
    Ok((written.and_then(|()| send.finish()), recv))
}

/// Waits for the answer.
async fn reply(
    shared: &Shared,
    mut recv: RecvStream,
    written: Result<(), WriteError>,
) -> Result<Incoming, CallError> {
    // A peer that refuses a request may stop it before it has it all, and say why.
    match (
        payload(&mut recv, shared.config.max_message_size).await,
        written,
    ) {
        (Ok(payload), _) => Ok(message::parse(&payload, shared.strict())),
        (Err(_), Err(error)) => Err(RpcEnd::Write(error).into()),
        (Err(error), Ok(())) => Err(error.into()),
    }
}

/// Says which call an item answers, and how.
fn answer_to(ids: &[Uuid], item: Item) -> Result<(usize, Answer), CallError> {
    let Item::Response { id, outcome } = item else {
        return Err(CallError::NoAnswer);
    };
    let id = message::call_id(&id);
    match (ids.iter().position(|call| Some(*call) == id), outcome) {
        (Some(at), outcome) => Ok((at, outcome)),
        // An error about the message as a whole.
        (None, Err(error)) => Err(CallError::Remote(error)),
        (None, Ok(_)) => Err(CallError::NoAnswer),
    }
}

/// Puts answers in the order of their calls, each of which has to have one.
fn sort(ids: &[Uuid], items: Vec<Item>) -> Result<Vec<Answer>, CallError> {
    let mut answers: Vec<Option<Answer>> = vec![None; ids.len()];
    for item in items {
        let (at, answer) = answer_to(ids, item)?;
        answers[at] = Some(answer);
    }
    let answers: Option<_> = answers.into_iter().collect();
    answers.ok_or(CallError::NoAnswer)
}

async fn payload(recv: &mut RecvStream, max: usize) -> Result<Bytes, RpcEnd> {
    let mut decoder = Decoder::default();
    poll_fn(|cx| wire::poll_payload(recv, &mut decoder, max, cx)).await
}
