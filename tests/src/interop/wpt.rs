//! The handlers that the WebTransport tests of the web-platform-tests ask for.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;
use url::form_urlencoded;
use wt::core::ErrorCode;
use wt::proto::head::RequestHead;
use wt::{Accept, BiStream, ReadError, RecvStream, SendStream, Session, SessionRequest};

use super::{Failure, echo};

/// JSON values that all sessions share.
#[derive(Clone, Debug, Default)]
pub struct Stash(Arc<Mutex<HashMap<String, Value>>>);

impl Stash {
    fn with<T>(&self, f: impl FnOnce(&mut HashMap<String, Value>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a value in the place of what is there.
    fn put(&self, key: &str, value: Value) {
        self.with(|all| all.insert(key.to_owned(), value));
    }

    /// Removes and returns a value.
    fn take(&self, key: &str) -> Option<Value> {
        self.with(|all| all.remove(key))
    }

    /// Sets one field of an object, which comes to be when it is not there.
    fn set_field(&self, key: &str, field: &str, value: Value) {
        self.with(|all| {
            let entry = all.entry(key.to_owned()).or_insert_with(|| json!({}));
            if let Value::Object(fields) = entry {
                fields.insert(field.to_owned(), value);
            }
        });
    }

    /// Counts a key up from 0 and returns the count.
    fn count(&self, key: &str) -> u64 {
        self.with(|all| {
            let entry = all.entry(key.to_owned()).or_insert(json!(0));
            let count = entry.as_u64().unwrap_or(0) + 1;
            *entry = json!(count);
            count
        })
    }
}

/// The parameters of the query, percent-decoded.
struct Query(Vec<(String, String)>);

impl Query {
    fn parse(query: &str) -> Self {
        Self(
            form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    fn number<T: FromStr>(&self, name: &str) -> Option<T> {
        self.get(name)?.parse().ok()
    }
}

/// What a handler has besides its session.
struct Context {
    query: Query,
    head: RequestHead,
    stash: Stash,
}

impl Context {
    fn token(&self) -> &str {
        self.query.get("token").unwrap_or_default()
    }
}

/// Answers a request for the handler of this name.
///
/// # Errors
///
/// When the request cannot be answered, or the handler cannot do its part.
pub async fn serve(request: SessionRequest, name: &str, stash: Stash) -> Result<(), Failure> {
    let Some(name) = name.strip_suffix(".py").filter(|name| NAMES.contains(name)) else {
        return Ok(request.reject(StatusCode::NOT_FOUND)?);
    };
    if request.origin().is_none() {
        return Ok(request.reject(StatusCode::FORBIDDEN)?);
    }
    let context = Context {
        query: Query::parse(request.query().unwrap_or_default()),
        head: request.request().clone(),
        stash,
    };
    if name == "custom-response" {
        return custom_response(request, &context.query).await;
    }
    let needs_token = matches!(name, "client-close" | "query" | "sendorder");
    if needs_token && context.token().is_empty() {
        return Ok(request.reject(StatusCode::BAD_REQUEST)?);
    }
    let session = request.accept().await?;
    handle(name, &session, context).await?;
    // What the handler holds of the session goes with it.
    session.closed().await;
    Ok(())
}

const NAMES: &[&str] = &[
    "abort-server-initiated-stream",
    "abort-stream-from-server",
    "client-close",
    "custom-response",
    "echo",
    "echo-request-headers",
    "echo_datagram_length",
    "query",
    "sendorder",
    "sendorder-scheduling",
    "server-close",
    "server-connection-close",
    "server-create-multiple-streams",
    "server-drain",
    "server-read-then-close",
    "stats-data-transfer",
    "token-count",
];

async fn handle(name: &str, session: &Session, context: Context) -> Result<(), Failure> {
    match name {
        "abort-server-initiated-stream" => abort_own_stream(session).await,
        "abort-stream-from-server" => abort_streams(session, &context).await,
        "client-close" => client_close(session, &context).await,
        "echo" => echo_all(session).await,
        "echo-request-headers" => echo_request(session, &context).await,
        "echo_datagram_length" => datagram_length(session).await,
        "query" => query(session, &context).await,
        "sendorder" => send_order(session, &context).await,
        "sendorder-scheduling" => scheduling(session).await,
        "server-close" => close(session, &context),
        "server-connection-close" => {
            at_first_data(session, |session| {
                session.connection().abort(ErrorCode::H3_NO_ERROR, "");
            })
            .await
        }
        "server-create-multiple-streams" => create_streams(session, &context).await,
        "server-drain" => {
            if context.query.get("drain").is_some() {
                session.drain();
            }
            Ok(())
        }
        "server-read-then-close" => at_first_data(session, Session::close_silently).await,
        "stats-data-transfer" => stats(session).await,
        "token-count" => token_count(session, &context).await,
        _ => Ok(()),
    }
}

// ---- what handlers share

/// Opens a bidirectional stream that the peer learns of at once.
async fn open_bi(session: &Session) -> Result<BiStream, Failure> {
    let mut stream = session.open_bi().await?;
    stream.send.flush().await?;
    Ok(stream)
}

/// Sends these bytes and FIN on a new unidirectional stream.
async fn send_uni(session: &Session, bytes: &[u8]) -> Result<(), Failure> {
    let mut send = session.open_uni().await?;
    send.write_all(bytes).await?;
    send.finish()?;
    Ok(send.closed().await?)
}

/// Runs `serve` for `own` and for each stream of the peer, until the session ends.
///
/// Whatever `serve` returns is kept until then: streams that it does not end stay open.
async fn each_stream<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    session: &Session,
    own: Option<BiStream>,
    serve: impl Fn(Option<SendStream>, RecvStream) -> F,
) {
    let mut running = JoinSet::new();
    let mut kept = Vec::new();
    if let Some(BiStream { send, recv, .. }) = own {
        running.spawn(serve(Some(send), recv));
    }
    loop {
        tokio::select! {
            stream = session.accept_bi() => match stream {
                Ok(BiStream { send, recv, .. }) => drop(running.spawn(serve(Some(send), recv))),
                Err(_) => return,
            },
            stream = session.accept_uni() => match stream {
                Ok(recv) => drop(running.spawn(serve(None, recv))),
                Err(_) => return,
            },
            Some(Ok(rest)) = running.join_next() => kept.push(rest),
        }
    }
}

/// Answers each datagram with what `answer` makes of it, until the session ends.
async fn each_datagram<A: AsRef<[u8]>>(session: &Session, answer: impl Fn(&[u8]) -> A) {
    while let Ok(datagram) = session.recv_datagram().await {
        // One that does not fit is lost, as datagrams are.
        let _ = session.send_datagram(answer(&datagram));
    }
}

/// Opens a bidirectional stream, and acts once when data comes on any stream.
async fn at_first_data(session: &Session, act: impl Fn(&Session)) -> Result<(), Failure> {
    let own = open_bi(session).await?;
    let (told, mut hears) = tokio::sync::mpsc::channel(1);
    let streams = each_stream(session, Some(own), |send, mut recv| {
        let told = told.clone();
        async move {
            if let Ok(Some(_)) = recv.read_chunk(usize::MAX).await {
                // It is enough that one is told.
                let _ = told.try_send(());
            }
            (send, recv)
        }
    });
    let acting = async {
        hears.recv().await;
        act(session);
    };
    tokio::join!(streams, acting);
    Ok(())
}

// ---- the handlers

async fn echo_all(session: &Session) -> Result<(), Failure> {
    let own = open_bi(session).await?;
    tokio::join!(echo::serve_bi(own), echo::serve(session));
    Ok(())
}

async fn client_close(session: &Session, context: &Context) -> Result<(), Failure> {
    let own = open_bi(session).await?;
    let (token, stash) = (context.token().to_owned(), context.stash.clone());
    each_stream(session, Some(own), |send, mut recv| {
        let (token, stash) = (token.clone(), stash.clone());
        async move {
            let info = loop {
                match recv.read_chunk(usize::MAX).await {
                    Ok(Some(_)) => {}
                    Ok(None) => break json!({ "source": "FIN" }),
                    Err(ReadError::Reset(code)) => {
                        break json!({ "source": "reset", "code": code.get() });
                    }
                    Err(_) => return (send, recv),
                }
            };
            stash.set_field(&token, "stream-close-info", info);
            (send, recv)
        }
    })
    .await;
    let end = session.closed().await;
    let close_info = end
        .code()
        .map(|code| json!({ "code": code, "reason": end.reason() }));
    let info = json!({ "abruptly": close_info.is_none(), "close_info": close_info });
    stash.set_field(&token, "session-close-info", info);
    Ok(())
}

async fn query(session: &Session, context: &Context) -> Result<(), Failure> {
    let value = context
        .stash
        .take(context.token())
        .unwrap_or_else(|| json!({}));
    send_uni(session, value.to_string().as_bytes()).await
}

async fn abort_streams(session: &Session, context: &Context) -> Result<(), Failure> {
    let code = context.query.number("code").and_then(ErrorCode::new);
    let code = code.unwrap_or(ErrorCode::WT_APPLICATION_ERROR_FIRST);
    each_stream(session, None, |send, mut recv| async move {
        let first = recv.read_chunk(usize::MAX).await;
        if let Ok(Some(_)) = first {
            recv.stop_with(code);
            if let Some(mut send) = send {
                send.reset_with(code);
            }
        }
    })
    .await;
    Ok(())
}

async fn abort_own_stream(session: &Session) -> Result<(), Failure> {
    // Whatever was written before a reset is dropped: only the reset may go out, so that the page never sees
    // the stream. So nothing is written in the first place.
    let mut send = session.open_uni().await?;
    send.reset_with(ErrorCode::WT_APPLICATION_ERROR_FIRST);
    Ok(())
}

async fn custom_response(request: SessionRequest, query: &Query) -> Result<(), Failure> {
    let mut status = StatusCode::OK;
    let mut headers = HeaderMap::new();
    for (name, value) in &query.0 {
        if name == ":status" {
            status = value.parse()?;
        } else {
            headers.append(HeaderName::from_str(name)?, HeaderValue::from_str(value)?);
        }
    }
    if !status.is_success() {
        return Ok(request.reject_with(status, headers)?);
    }
    let answer = Accept::new().status(status).headers(headers);
    request.accept_with(answer).await?.closed().await;
    Ok(())
}

async fn echo_request(session: &Session, context: &Context) -> Result<(), Failure> {
    let head = &context.head;
    let pseudo = [
        (":scheme", head.scheme.as_deref()),
        (":method", Some(head.method.as_str())),
        (":authority", head.authority.as_deref()),
        (":path", head.path.as_deref()),
        (":protocol", head.protocol.as_deref()),
    ];
    let mut fields: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, value) in pseudo {
        fields.insert(name, value.into_iter().map(str::to_owned).collect());
    }
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        fields.entry(name.as_str()).or_default().push(value);
    }
    let as_lists = context.query.get("format") == Some("list");
    let fields = fields.into_iter().map(|(name, mut values)| {
        let value = if as_lists {
            json!(values)
        } else {
            json!(values.pop())
        };
        (name.to_owned(), value)
    });
    let fields: Map<String, Value> = fields.collect();
    send_uni(session, Value::Object(fields).to_string().as_bytes()).await
}

async fn datagram_length(session: &Session) -> Result<(), Failure> {
    each_datagram(session, |datagram| {
        json!({ "length": datagram.len() }).to_string()
    })
    .await;
    Ok(())
}

fn close(session: &Session, context: &Context) -> Result<(), Failure> {
    match context.query.number("code") {
        Some(code) => session.close(code, context.query.get("reason").unwrap_or_default()),
        None => session.close_silently(),
    }
    Ok(())
}

async fn create_streams(session: &Session, context: &Context) -> Result<(), Failure> {
    let count: usize = context.query.number("count").unwrap_or(3);
    let both_ways = context.query.get("type") != Some("unidi");
    let mut streams = Vec::new();
    for number in 0..count {
        let (mut send, recv) = if both_ways {
            let (send, recv) = session.open_bi().await?.split();
            (send, Some(recv))
        } else {
            (session.open_uni().await?, None)
        };
        send.write_all(format!("stream{number}").as_bytes()).await?;
        send.finish()?;
        streams.push((send, recv));
    }
    session.closed().await;
    Ok(())
}

async fn token_count(session: &Session, context: &Context) -> Result<(), Failure> {
    let own = open_bi(session).await?;
    let stash = &context.stash;
    each_stream(session, Some(own), |mut send, mut recv| {
        let (session, stash) = (session.clone(), stash.clone());
        async move {
            let mut opened = Vec::new();
            while let Ok(Some(key)) = recv.read_chunk(usize::MAX).await {
                let count = stash.count(&String::from_utf8_lossy(&key)).to_string();
                let written = match &mut send {
                    Some(send) => send.write_all(count.as_bytes()).await.is_ok(),
                    None => match session.open_uni().await {
                        Ok(mut send) => {
                            let written = send.write_all(count.as_bytes()).await;
                            opened.push(send);
                            written.is_ok()
                        }
                        Err(_) => false,
                    },
                };
                if !written {
                    break;
                }
            }
            (send, recv, opened)
        }
    })
    .await;
    Ok(())
}

async fn send_order(session: &Session, context: &Context) -> Result<(), Failure> {
    let (token, stash) = (context.token().to_owned(), context.stash.clone());
    stash.put(&token, json!([]));
    let order: Arc<Mutex<Vec<u8>>> = Arc::default();
    let streams = each_stream(session, None, |send, mut recv| {
        let (token, stash, order) = (token.clone(), stash.clone(), order.clone());
        async move {
            loop {
                let chunk = recv.read_chunk(usize::MAX).await;
                let mut order = order.lock().unwrap_or_else(PoisonError::into_inner);
                match chunk {
                    Ok(Some(chunk)) => order.extend(chunk.first()),
                    Err(ReadError::Reset(_)) => {
                        stash.put(&token, json!(std::mem::take(&mut *order)));
                        break;
                    }
                    _ => break,
                }
                stash.put(&token, json!(*order));
            }
            (send, recv)
        }
    });
    tokio::join!(streams, each_datagram(session, <[u8]>::to_vec));
    Ok(())
}

async fn scheduling(session: &Session) -> Result<(), Failure> {
    let counts: Arc<Mutex<BTreeMap<u8, usize>>> = Arc::default();
    each_stream(session, None, |send, mut recv| {
        let counts = counts.clone();
        async move {
            let mut key = None;
            while let Ok(Some(chunk)) = recv.read_chunk(usize::MAX).await {
                let key = *key.get_or_insert(chunk.first().copied().unwrap_or_default());
                let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
                *counts.entry(key).or_default() += chunk.len();
            }
            let summary: Map<String, Value> = {
                let counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
                counts
                    .iter()
                    .map(|(key, count)| (key.to_string(), json!(count)))
                    .collect()
            };
            if let Some(mut send) = send {
                let summary = Value::Object(summary).to_string();
                if send.write_all(summary.as_bytes()).await.is_ok() && send.finish().is_ok() {
                    // Only its delivery is awaited.
                    let _ = send.closed().await;
                }
            }
        }
    })
    .await;
    Ok(())
}

async fn stats(session: &Session) -> Result<(), Failure> {
    let (mut send, own) = session.open_bi().await?.split();
    send.write_all(&[b'X'; 5000]).await?;
    send.finish()?;
    let streams = each_stream(session, None, |send, mut recv| async move {
        while let Ok(Some(_)) = recv.read_chunk(usize::MAX).await {}
        (send, recv)
    });
    tokio::join!(streams, each_datagram(session, <[u8]>::to_vec));
    drop((send, own));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_stash_stand_side_by_side_until_taken() {
        let stash = Stash::default();
        stash.set_field("token", "stream", json!(1));
        stash.clone().set_field("token", "session", json!(2));
        stash.set_field("other", "stream", json!(3));
        assert_eq!(
            stash.take("token"),
            Some(json!({ "stream": 1, "session": 2 }))
        );
        assert_eq!(stash.take("token"), None);
        assert_eq!(
            (stash.count("other"), stash.count("key"), stash.count("key")),
            (1, 1, 2)
        );
    }
}
