//! The file of the control socket: made so that nobody sees it before it is ready, and left alone when
//! it belongs to another process.

use std::{
    ffi::OsString,
    fs::{self, Metadata, Permissions},
    io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use tokio::net::UnixListener;

use super::TakeoverError;
use crate::quic::Tag;

/// Says that the control socket cannot be used.
pub(super) fn failed(path: &Path) -> impl FnOnce(io::Error) -> TakeoverError {
    let path = path.to_owned();
    move |source| TakeoverError::Socket { path, source }
}

/// Looks whether a control socket may be made here: there is none, or one that may be replaced.
pub(super) fn check(path: &Path) -> Result<(), TakeoverError> {
    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => Err(TakeoverError::NotASocket {
            path: path.to_owned(),
        }),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(path)(error)),
    }
}

/// A control socket that listens.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) listener: UnixListener,
    pub(super) file: ControlFile,
}

impl Listening {
    /// Makes one beside `path`, by a name that nobody looks for.
    pub(super) fn beside(path: &Path, tag: Tag) -> Result<Self, TakeoverError> {
        check(path)?;
        let [a, b, c] = tag.0;
        let mut name = OsString::from(path);
        name.push(format!(".{a:02x}{b:02x}{c:02x}"));
        let own = PathBuf::from(name);
        let make = || {
            let listener = UnixListener::bind(&own)?;
            let id = identity(&fs::symlink_metadata(&own)?);
            fs::set_permissions(&own, Permissions::from_mode(0o600))?;
            Ok((listener, id))
        };
        let (listener, id) = make().map_err(failed(&own))?;
        let file = ControlFile {
            path: own,
            id,
            left: AtomicBool::new(false),
        };
        Ok(Self { listener, file })
    }

    /// Puts it where others look for it, in the place of what was there.
    pub(super) fn publish(&mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.file.path, path)?;
        path.clone_into(&mut self.file.path);
        Ok(())
    }
}

/// The file of a control socket. It is removed with this, unless another one is in its place.
#[derive(Debug)]
pub(super) struct ControlFile {
    /// Where it is now.
    path: PathBuf,
    /// What it is, for the system.
    id: (u64, u64),
    left: AtomicBool,
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

impl ControlFile {
    /// Leaves it to a successor, who puts its own in its place.
    pub(super) fn leave(&self) {
        self.left.store(true, Relaxed);
    }

    /// Removes it, if it is there and nobody else's.
    pub(super) fn remove(&self) {
        if self.left.swap(true, Relaxed) {
            return;
        }
        let there = fs::symlink_metadata(&self.path);
        if there.is_ok_and(|there| identity(&there) == self.id) {
            // A file that stays is replaced by the next process.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for ControlFile {
    fn drop(&mut self) {
        self.remove();
    }
}
