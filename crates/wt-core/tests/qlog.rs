//! What QUIC did, in files.
#![cfg(feature = "qlog")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{fs, path::PathBuf};

use common::{configs, eventually, pair_with, pattern, recv, send, within};
use wt_core::{BindError, Endpoint};

/// A directory that is gone when the test is over.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let name = format!("wt-qlog-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Returns what is in the file of that side.
    fn read(&self, side: &str) -> String {
        let files = fs::read_dir(&self.0).unwrap();
        let mut paths = files.map(|file| file.unwrap().path());
        let of_side = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with(side) && name.ends_with(".sqlog")
        };
        fs::read_to_string(paths.find(of_side).unwrap()).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn endpoints_write_a_qlog_up_to_a_limit() {
    let directory = Directory::new("limit");
    let (mut server, mut client) = configs();
    server
        .set("transport.qlog", directory.0.to_str().unwrap())
        .unwrap();
    client.transport.qlog = Some(directory.0.clone());
    client.transport.qlog_bytes = 2000;
    let pair = pair_with(&server, &client).await;
    let (accepted, session) = pair.session().await;
    let mut tx = session.open_uni().await.unwrap();
    send(&mut tx, pattern(100_000)).await;
    let mut rx = within(accepted.accept_uni()).await.unwrap();
    recv(&mut rx).await.unwrap();
    drop((tx, rx, accepted, session, pair));
    // The rest is written when the last of an endpoint is gone.
    eventually(|| directory.read("server").matches("packet_received").count() > 20).await;
    eventually(|| directory.read("client").contains("packet_sent")).await;
    let limited = directory.read("client").len();
    assert!((500..=2000).contains(&limited), "{limited} bytes");
    // Each line is a record of its own, once the last one is whole.
    let is_record = |text: &str| serde_json::from_str::<serde_json::Value>(text).is_ok();
    eventually(|| {
        let text = directory.read("server");
        let mut records = text.split('\u{1e}').filter(|record| !record.is_empty());
        records.all(is_record)
    })
    .await;
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_an_error() {
    let (mut server, _) = configs();
    let missing = Directory::new("missing").0.join("nowhere");
    server.transport.qlog = Some(missing.clone());
    let error = Endpoint::server(&server).unwrap_err();
    assert!(matches!(error, BindError::Qlog { .. }), "{error}");
    assert!(error.to_string().contains("nowhere"), "{error}");
}
