//! The runtime under quinn, which keeps its packets full.
//!
//! quinn's connection task is woken by nearly every write of the application and runs at once, so
//! that small writes leave in a packet each: here [it steps back](step_back). Each packet that arrives is a
//! change of task: here [it is not](connection). Its endpoint task calls
//! itself again after each few packets, and others are woken for that: here [it goes on](go_on).

mod calls;
mod connection;
mod go_on;
mod socket;
mod step_back;
mod watched;

use std::{
    future::Future,
    io,
    net::UdpSocket,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};

pub(crate) use self::connection::hold;
use self::{connection::Connection, go_on::GoOn, socket::Counting};

/// A task of quinn.
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tokio as quinn has it, with other tasks and a socket that counts.
#[derive(Debug, Default)]
pub(crate) struct Batching {
    /// The endpoint's own task, the first one, has been spawned.
    endpoint: AtomicBool,
}

impl Runtime for Batching {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, task: Task) {
        if self.endpoint.swap(true, Relaxed) {
            tokio::spawn(Connection::new(task));
        } else {
            tokio::spawn(GoOn::new(task));
        }
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Ok(Arc::new(Counting(TokioRuntime.wrap_udp_socket(socket)?)))
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}
