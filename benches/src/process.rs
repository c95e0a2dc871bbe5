//! What a process takes: CPU time and memory.

use std::{
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

use crate::stack::Result;

/// Datagrams that this process has received and not answered.
pub(crate) static DATAGRAMS: AtomicU64 = AtomicU64::new(0);

/// What a process has taken so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// User and system time of all threads.
    pub(crate) cpu: Duration,
    /// Resident memory, in bytes; 0 where the system does not tell.
    pub(crate) resident: u64,
    /// Datagrams received and not answered.
    pub(crate) datagrams: u64,
}

impl Usage {
    /// Looks at this process.
    pub(crate) fn here() -> Self {
        Self {
            cpu: cpu(),
            resident: resident().unwrap_or(0),
            datagrams: DATAGRAMS.load(Relaxed),
        }
    }

    /// Asks the process behind `address`, which has called [`answer`].
    pub(crate) fn of(address: SocketAddr) -> Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut line = String::new();
        stream.read_to_string(&mut line)?;
        let mut fields = line.split_whitespace().map(str::parse::<u64>);
        let mut next = || fields.next().ok_or("a field of the usage is missing");
        Ok(Self {
            cpu: Duration::from_nanos(next()??),
            resident: next()??,
            datagrams: next()??,
        })
    }
}

/// Answers the questions of [`Usage::of`] from a thread of its own, beside what is measured.
pub(crate) fn answer() -> Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming() {
            let usage = Usage::here();
            let cpu = usage.cpu.as_nanos();
            let line = format!("{cpu} {} {}\n", usage.resident, usage.datagrams);
            // Who asked may be gone.
            let _: io::Result<()> = stream.and_then(|mut s| s.write_all(line.as_bytes()));
        }
    });
    Ok(address)
}

#[cfg(unix)]
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = Duration::from_secs(time.tv_sec.unsigned_abs());
    seconds + Duration::from_nanos(time.tv_nsec.unsigned_abs())
}

#[cfg(not(unix))]
fn cpu() -> Duration {
    Duration::ZERO
}

fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}
