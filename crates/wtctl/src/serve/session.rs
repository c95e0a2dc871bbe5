//! The tasks of a session.

use tokio::task::{JoinError, JoinSet};
use wt::{IncomingStream, Session};

use super::{discard, echo, headers, push, reset, route::Route, source};

/// What happens to the streams and datagrams of a client.
#[derive(Clone, Copy, Debug)]
enum Behaviour {
    Echo,
    Discard,
    Source { bytes: u64 },
    Reset { code: u32 },
}

/// Serves a session until it is over. All its tasks end with it.
///
/// Each stream has a task of its own, so their number is bounded by the streams that client and
/// server grant each other.
pub(super) async fn run(session: &Session, route: Route, fields: Option<String>) {
    let mut tasks = JoinSet::new();
    let behaviour = match route {
        Route::Close { code, reason } => {
            session.close(code, &reason);
            return;
        }
        Route::Source { bytes } => Behaviour::Source { bytes },
        Route::Discard => Behaviour::Discard,
        Route::Reset { code } => Behaviour::Reset { code },
        Route::Drain => {
            session.drain();
            Behaviour::Echo
        }
        Route::Push { uni, bidi, size } => {
            tasks.spawn(push::uni(session.clone(), uni, size));
            tasks.spawn(push::bidi(session.clone(), bidi, size));
            Behaviour::Echo
        }
        Route::Echo | Route::Headers | Route::Slow(_) | Route::Refuse(_) => Behaviour::Echo,
    };
    if let Some(json) = fields {
        tasks.spawn(headers::send(session.clone(), json));
    }
    match behaviour {
        Behaviour::Echo => tasks.spawn(echo::datagrams(session.clone())),
        _ => tasks.spawn(discard::datagrams(session.clone())),
    };
    loop {
        tokio::select! {
            stream = session.accept() => match stream {
                Ok(stream) => behaviour.spawn(&mut tasks, session, stream),
                Err(_) => return,
            },
            Some(ended) = tasks.join_next() => note(ended),
        }
    }
}

impl Behaviour {
    fn spawn(self, tasks: &mut JoinSet<()>, session: &Session, stream: IncomingStream) {
        match (self, stream) {
            (Self::Echo, IncomingStream::Bi(stream)) => tasks.spawn(echo::bidi(stream)),
            (Self::Echo, IncomingStream::Uni(recv)) => {
                tasks.spawn(echo::uni(session.clone(), recv))
            }
            (Self::Discard, IncomingStream::Bi(stream)) => tasks.spawn(discard::bidi(stream)),
            (Self::Source { bytes }, IncomingStream::Bi(stream)) => {
                tasks.spawn(source::bidi(stream, bytes))
            }
            (Self::Discard | Self::Source { .. }, IncomingStream::Uni(recv)) => {
                tasks.spawn(discard::uni(recv))
            }
            (Self::Reset { code }, IncomingStream::Bi(stream)) => {
                tasks.spawn(reset::bidi(stream, code))
            }
            (Self::Reset { code }, IncomingStream::Uni(recv)) => {
                tasks.spawn(reset::uni(recv, code))
            }
            (_, _) => return,
        };
    }
}

/// A stream that fails is no matter of the session.
fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "the task of a stream failed");
    }
}
