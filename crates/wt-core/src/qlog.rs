//! What QUIC did, packet by packet, written to a file (qlog).
//!
//! One file for each endpoint; `group_id` of an event says which connection it is of: the connection ID that the client
//! began with. quinn writes it while a connection is locked, so it is for looking for faults, not for every day.

use std::{fmt, io};

use crate::config::TransportConfig;

/// Where an endpoint writes; nowhere, mostly.
#[derive(Clone, Default)]
pub(crate) struct Qlog {
    #[cfg(feature = "qlog")]
    stream: Option<quinn::QlogStream>,
}

impl fmt::Debug for Qlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Qlog").finish_non_exhaustive()
    }
}

#[cfg(not(feature = "qlog"))]
impl Qlog {
    /// Opens nothing: `validate` has refused a directory.
    pub(crate) const fn open(_: &TransportConfig, _: &str) -> io::Result<Self> {
        Ok(Self {})
    }

    pub(crate) const fn set(&self, _: &mut quinn::TransportConfig) {}
}

#[cfg(feature = "qlog")]
impl Qlog {
    /// Makes a file in the directory that the configuration names, if it names one.
    pub(crate) fn open(config: &TransportConfig, side: &str) -> io::Result<Self> {
        use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

        static NEXT: AtomicU64 = AtomicU64::new(1);
        let Some(directory) = &config.qlog else {
            return Ok(Self::default());
        };
        let (process, number) = (std::process::id(), NEXT.fetch_add(1, Relaxed));
        // The extension is that of JSON text sequences.
        let path = directory.join(format!("{side}-{process}-{number}.sqlog"));
        let file = std::fs::File::create_new(&path)?;
        let mut qlog = quinn::QlogConfig::default();
        qlog.title(Some(format!("wt {side}")))
            .writer(Box::new(limit::Limited::new(file, config.qlog_bytes)));
        tracing::info!(path = %path.display(), "writing qlog");
        Ok(Self {
            stream: qlog.into_stream(),
        })
    }

    pub(crate) fn set(&self, config: &mut quinn::TransportConfig) {
        config.qlog_stream(self.stream.clone());
    }
}

#[cfg(feature = "qlog")]
mod limit {
    use std::{
        fs::File,
        io::{self, BufWriter, Write},
    };

    /// A file that takes no more than so many bytes; whole writes beyond them are dropped.
    pub(super) struct Limited {
        file: BufWriter<File>,
        left: u64,
        full: bool,
    }

    impl Limited {
        pub(super) fn new(file: File, bytes: u64) -> Self {
            Self {
                file: BufWriter::new(file),
                left: bytes,
                full: false,
            }
        }
    }

    impl Write for Limited {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if !self.full && bytes.len() as u64 > self.left {
                self.full = true;
                tracing::warn!("a qlog has reached `transport.qlog_bytes` and ends here");
            }
            if self.full {
                return Ok(bytes.len());
            }
            let written = self.file.write(bytes)?;
            self.left -= written as u64;
            Ok(written)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.file.flush()
        }
    }
}
