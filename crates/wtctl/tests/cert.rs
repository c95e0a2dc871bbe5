//! `wtctl cert`: files, their rights, and hashes that are right.

#![allow(clippy::unwrap_used, reason = "what fails is a failed test")]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use common::{Server, echo, fails, wtctl};
use wt::Identity;

/// A folder that does not exist yet.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("cert-{name}"));
    let _ = fs::remove_dir_all(&folder);
    folder
}

async fn cert(out: &Path, args: &[&str]) -> String {
    let out = out.to_str().unwrap();
    let output = wtctl(&[&["cert", "--out", out], args].concat()).await;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn load(folder: &Path) -> Identity {
    Identity::from_pem_files(folder.join("cert.pem"), folder.join("key.pem")).unwrap()
}

#[tokio::test]
async fn the_hash_is_printed_in_every_form() {
    let folder = folder("forms").join("deeper");
    let text = cert(&folder, &["--hostname", "dev.example"]).await;
    let identity = load(&folder);
    let hash = identity.certificate_hash();
    let bytes = hash.as_bytes().map(|byte| format!("0x{byte:02x}"));
    for form in [
        hash.to_hex(),
        hash.to_hex_colons(),
        hash.to_base64(),
        bytes[..8].join(", "),
        bytes[24..].join(", "),
        format!(
            "--ignore-certificate-errors-spki-list={}",
            identity.spki_base64()
        ),
        "--webtransport-developer-mode".to_owned(),
        "serverCertificateHashes".to_owned(),
        "localhost, 127.0.0.1, ::1, dev.example".to_owned(),
    ] {
        assert!(text.contains(&form), "no {form} in\n{text}");
    }
    assert!(!text.contains('\x1b'), "colours in a pipe:\n{text}");
}

#[tokio::test]
async fn the_server_takes_the_files_for_every_name() {
    let folder = folder("names");
    cert(&folder, &["--hostname", "127.0.0.2"]).await;
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let files = [
        "--cert",
        cert.to_str().unwrap(),
        "--key",
        key.to_str().unwrap(),
    ];
    let server = Server::start_with(&files).await;
    echo(&server.connect("/").await, b"x").await;

    // Trusted as a root, the certificate has to carry the name.
    let roots = load(&folder).chain().to_vec();
    let trust = wt::ServerVerification::Roots(roots);
    let client = wt::Client::new(wt::ClientConfig::new().with_verification(trust)).unwrap();
    let server = Server::listen("[::]:0", &files).await;
    for host in ["localhost", "127.0.0.1", "[::1]", "127.0.0.2"] {
        let url = format!("https://{host}:{}/", server.port());
        common::soon(client.connect(url)).await.unwrap();
    }
    let url = format!("https://127.0.0.3:{}/", server.port());
    let error = common::soon(client.connect(url)).await.unwrap_err();
    assert!(error.to_string().contains("name"), "{error}");
}

#[tokio::test]
async fn days_are_those_asked_for_and_at_most_13() {
    let day = Duration::from_secs(24 * 60 * 60);
    for days in [1, 13] {
        let folder = folder(&format!("days-{days}"));
        cert(&folder, &["--days", &days.to_string()]).await;
        let left = load(&folder)
            .not_after()
            .duration_since(SystemTime::now())
            .unwrap();
        assert!(
            left <= day * days && left > day * days - day / 6,
            "{left:?}"
        );
    }
    for days in ["0", "14"] {
        fails(2, &["cert", "--days", days]).await;
    }
}

#[tokio::test]
async fn files_are_replaced_only_by_force() {
    let folder = folder("force");
    cert(&folder, &[]).await;
    let first = load(&folder).certificate_hash();
    let line = fails(2, &["cert", "--out", folder.to_str().unwrap()]).await;
    assert!(line.contains("--force"), "{line}");
    assert_eq!(load(&folder).certificate_hash(), first);
    cert(&folder, &["--force"]).await;
    assert_ne!(load(&folder).certificate_hash(), first);
}

#[tokio::test]
async fn what_cannot_be_made_is_said_in_one_line() {
    let folder = folder("unwritable");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("file");
    fs::write(&file, "").unwrap();
    let line = fails(2, &["cert", "--out", file.to_str().unwrap()]).await;
    assert!(line.contains("cannot write"), "{line}");
    let line = fails(2, &["cert", "--hostname", "no such name"]).await;
    assert!(line.contains("no such name"), "{line}");
}

#[cfg(unix)]
#[tokio::test]
async fn the_key_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;

    let folder = folder("mode");
    cert(&folder, &[]).await;
    // Also where a file with other rights was.
    let key = folder.join("key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    cert(&folder, &["--force"]).await;
    assert_eq!(
        fs::metadata(&key).unwrap().permissions().mode() & 0o777,
        0o600
    );
}
