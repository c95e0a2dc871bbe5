//! `wtctl connect`: a session at the terminal or in a pipe.
//!
//! `screen` is what is printed, `send` what becomes of the lines of standard input, `receive` what
//! becomes of all that the server sends.

mod receive;
mod screen;
mod send;

use std::time::{Duration, Instant};

use tokio::time::timeout;
use wt::{Session, SessionError};

use self::{receive::Receiver, send::Way};
use crate::{failure::Failure, reach::Reach, stop::Stop, units};

/// How long the last data of a session that is over may take to be printed.
const LAST_DATA: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  wtctl connect https://example.com/chat
      Type lines; Ctrl-D ends the stream, Ctrl-C closes the session.
  echo hello | wtctl connect https://localhost:4433/echo --cert-hash HASH
      Send a line to 'wtctl serve', which prints its HASH, and print the answer.
  wtctl connect https://localhost:4433/ --insecure --datagrams
      Each line is a datagram, and each datagram that comes is a line.
  wtctl connect URL -H 'Authorization: Bearer x' --protocol chat-2 --protocol chat-1 </dev/null
      See whether the server takes the header field, and which subprotocol it chooses.

Data goes to standard output, everything else to standard error. Streams and datagrams of the server
are printed in every mode. Exit status: 0 when the session ended in order, 1 when there was none or
the server closed it with a code, 2 for bad arguments.";

/// Open a session and talk: lines over a stream, over datagrams or one way.
///
/// Sends standard input on a bidirectional stream and prints the answer. Ends when standard input has
/// ended and the answer is complete.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    reach: Reach,
    /// Send each line as a datagram, without its end of line
    #[arg(long, conflicts_with = "uni")]
    datagrams: bool,
    /// Send on a unidirectional stream
    #[arg(long)]
    uni: bool,
    /// How long to wait for more when standard input has ended and nothing says that the answer has
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::time)]
    wait: Duration,
}

impl Args {
    const fn way(&self) -> Way {
        match (self.datagrams, self.uni) {
            (true, _) => Way::Datagrams,
            (_, true) => Way::Uni,
            _ => Way::Bidi,
        }
    }
}

/// Opens a session and talks until there is nothing left to say.
pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    let mut stop = Stop::listen()?;
    let client = args.reach.client()?;
    let started = Instant::now();
    let session = args.reach.session(&client, &mut stop).await?;
    screen::connected(&session, started.elapsed(), args.way());

    let mut receiver = Receiver::new(&session);
    let talked = tokio::select! {
        talked = talk(&session, &receiver, args) => talked,
        broken = receiver.broken() => broken,
        end = session.closed() => ended(&end),
        () = stop.asked() => Ok(()),
    };
    let lost = matches!(&talked, Err(failure) if failure.is_told());
    if lost {
        // The streams of a session that is over end before it says why.
        let _ = timeout(LAST_DATA, session.closed()).await;
    }
    if session.close_reason().is_some() {
        // What arrived before the end is still to be printed.
        let _ = timeout(LAST_DATA, receiver.end()).await;
    }
    session.close(0, "");
    let end = session.closed().await;
    screen::closed(&end);
    client.close().await;
    if lost {
        ended(&end)
    } else {
        talked.and(ended(&end))
    }
}

/// Sends standard input and waits until the answer is complete.
async fn talk(session: &Session, receiver: &Receiver, args: &Args) -> Result<(), Failure> {
    let way = args.way();
    let mut left_out = 0;
    match way {
        Way::Bidi => {
            let stream = session.open_bi().await.map_err(|_| Failure::told())?;
            let (mut send, recv) = stream.split();
            tokio::try_join!(send::stream(&mut send), receiver.answer(recv))?;
        }
        Way::Uni => {
            let mut send = session.open_uni().await.map_err(|_| Failure::told())?;
            send::stream(&mut send).await?;
        }
        Way::Datagrams => left_out = send::datagrams(session).await?,
    }
    receiver.quiet(args.wait, way == Way::Bidi).await;
    match left_out {
        0 => Ok(()),
        1 => Err(Failure::during_work("a line did not fit a datagram")),
        count => Err(Failure::during_work(format!(
            "{count} lines did not fit a datagram"
        ))),
    }
}

/// Says whether a session that is over ended well; how it ended is printed anyway.
fn ended(end: &SessionError) -> Result<(), Failure> {
    match end.code() {
        Some(0) => Ok(()),
        _ => Err(Failure::told()),
    }
}
