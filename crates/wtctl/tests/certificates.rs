//! `wtctl serve` and files of certificates that change.

#![allow(clippy::unwrap_used, reason = "what fails is a failed test")]

mod common;

use std::{fs, path::PathBuf};

use common::{Running, Server, echo, fails, soon};
use serde_json::Value;
use wt::{Client, ClientConfig, Identity, ServerVerification, core::tls::CertificateHash};

/// A pair of files in a folder of its own.
struct Files(PathBuf);

impl Files {
    fn new(name: &str, identity: &Identity) -> Self {
        let folder =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("certificates-{name}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let files = Self(folder);
        files.put(identity);
        files
    }

    fn put(&self, identity: &Identity) {
        let (cert, key) = identity.to_pem();
        fs::write(self.0.join("cert.pem"), cert).unwrap();
        fs::write(self.0.join("key.pem"), key).unwrap();
    }

    fn args(&self) -> [String; 4] {
        let path = |name| self.0.join(name).to_str().unwrap().to_owned();
        let (cert, key) = (path("cert.pem"), path("key.pem"));
        ["--cert".to_owned(), cert, "--key".to_owned(), key]
    }
}

async fn serve(files: &[&Files]) -> Server {
    let args: Vec<String> = files.iter().flat_map(|files| files.args()).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    Server::listen("[::]:0", &args).await
}

fn of(name: &str) -> Identity {
    Identity::self_signed([name, "127.0.0.1"]).unwrap()
}

/// What the server says next.
async fn next(process: &mut Running) -> Value {
    serde_json::from_str(&process.line().await).unwrap()
}

/// The certificate that a new client is shown under this name.
async fn shown(server: &Server, name: &str) -> String {
    let trust = ServerVerification::Insecure;
    let client = Client::new(ClientConfig::new().with_verification(trust)).unwrap();
    let url = format!("https://{name}:{}/", server.port());
    let session = soon(client.connect(url)).await.unwrap();
    CertificateHash::of(&session.peer_certificates()[0]).to_hex()
}

#[tokio::test]
async fn files_that_change_are_noticed() {
    let (old, new) = (of("localhost"), of("localhost"));
    let files = Files::new("change", &old);
    let mut server = serve(&[&files]).await;
    assert_eq!(server.hash(), old.certificate_hash().to_hex());
    let session = server.connect("/").await;
    files.put(&new);
    let said = next(&mut server.process).await;
    let hash = new.certificate_hash().to_hex();
    assert_eq!(said["event"], "certificate");
    assert_eq!(said["change"], "reloaded");
    assert_eq!(said["certificate_sha256"], hash);
    assert_eq!(said["names"], serde_json::json!(["localhost", "127.0.0.1"]));
    assert_eq!(shown(&server, "127.0.0.1").await, hash);
    echo(&session, b"it goes on").await;
}

#[tokio::test]
async fn the_name_that_a_client_asks_for_chooses_the_certificate() {
    let (default, other) = (of("default.example"), of("localhost"));
    let (first, second) = (Files::new("first", &default), Files::new("second", &other));
    let server = serve(&[&first, &second]).await;
    assert_eq!(server.hash(), default.certificate_hash().to_hex());
    let other = other.certificate_hash().to_hex();
    assert_eq!(shown(&server, "localhost").await, other);
    assert_eq!(shown(&server, "127.0.0.1").await, server.hash());

    let mut args = vec![
        "serve".to_owned(),
        "--listen".to_owned(),
        "127.0.0.1:0".to_owned(),
    ];
    args.extend(first.args());
    args.extend(second.args()[..2].iter().cloned());
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let line = fails(2, &args).await;
    assert!(line.contains("as many --key as --cert"), "{line}");
}

#[cfg(unix)]
mod signals {
    use rustix::process::Signal;

    use super::*;

    #[tokio::test]
    async fn certificates_are_read_again_at_sighup() {
        let (old, new) = (of("localhost"), of("localhost"));
        let files = Files::new("sighup", &old);
        let mut server = serve(&[&files]).await;
        let session = server.connect("/").await;
        // What cannot be used changes nothing, however often it is read.
        fs::write(files.0.join("cert.pem"), "garbage").unwrap();
        server.process.signal(Signal::HUP);
        server.process.signal(Signal::HUP);
        assert_eq!(shown(&server, "127.0.0.1").await, server.hash());
        files.put(&new);
        server.process.signal(Signal::HUP);
        let hash = new.certificate_hash().to_hex();
        assert_eq!(next(&mut server.process).await["certificate_sha256"], hash);
        assert_eq!(shown(&server, "127.0.0.1").await, hash);
        echo(&session, b"it goes on").await;
        server.process.signal(Signal::TERM);
        let (status, rest) = server.process.end().await;
        assert_eq!((status, &rest[..]), (Some(0), ""));
    }

    /// As when its terminal is closed.
    #[tokio::test]
    async fn without_files_sighup_ends_the_process() {
        let server = Server::start().await;
        server.process.signal(Signal::HUP);
        let (status, _) = server.process.end().await;
        assert_eq!(status, None, "by the signal");
    }
}
