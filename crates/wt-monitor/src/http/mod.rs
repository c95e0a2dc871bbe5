//! A small HTTP listener for pages that tell how things are: metrics, health, a dashboard.
//!
//! It speaks HTTP/1 over TCP, answers GET and HEAD, and knows the pages that were registered, nothing else. It is not
//! encrypted: bind it to an address of this machine or of a private network, or put a proxy in front. Everything that a
//! client could make grow has a limit in [`HttpConfig`].
//!
//! ```no_run
//! use wt_monitor::http::{HttpConfig, HttpListener, Pages};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let pages = Pages::new().page("/health", "text/plain; charset=utf-8", || "ok\n");
//! let listener = HttpListener::bind("127.0.0.1:0".parse()?, pages, HttpConfig::default()).await?;
//! println!("http://{}/health", listener.local_addr());
//! listener.close().await;
//! # Ok(())
//! # }
//! ```

mod config;
mod error;
mod listener;
#[cfg(feature = "prometheus")]
mod metrics;
mod pages;

pub use self::{
    config::HttpConfig,
    error::HttpError,
    listener::HttpListener,
    pages::{Access, Pages},
};
