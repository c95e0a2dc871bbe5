//! Finding out whether there is a newer certificate.

use std::{error::Error, sync::atomic::Ordering::Relaxed, time::SystemTime};

use super::{CertificateChange, CertificateEvent, Certificates, Slot};
use crate::{
    config::CertificateConfig,
    lock::lock,
    tls::{
        Identity, TlsError,
        identity::{Contents, Digest},
    },
};

/// Why there is no newer certificate.
#[derive(Clone)]
pub(super) struct Failure {
    pub(super) error: TlsError,
    /// Of what was in the files; `None` where they could not be read.
    digest: Option<Digest>,
    /// Whether anybody was told.
    pub(super) told: bool,
}

/// Who wants to know.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// The watch: it comes again, and tells of a failure only when that is still so.
    NowAndThen,
    /// Somebody who says that all is in its place.
    ByHand,
}

/// What a look at one certificate found.
enum Found {
    /// It was not looked at.
    Unknown,
    /// There is nothing newer.
    Nothing,
    /// Other files that say the same.
    Same(Identity),
    New(Identity, CertificateChange),
    Failed(Option<Digest>, TlsError),
}

/// Says what is wrong with all its causes.
pub(super) fn words(error: &TlsError) -> String {
    let (mut words, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

/// Returns when a certificate is to be renewed; `None` when it is not made here.
pub(super) fn renewal(identity: &Identity, config: &CertificateConfig) -> Option<SystemTime> {
    let options = identity.self_signed_options().filter(|_| config.renew)?;
    let good_for = options.validity.saturating_sub(options.backdate);
    let before = config.renew_before.min(good_for / 4);
    identity.not_after().checked_sub(before)
}

/// Looks at what a certificate came from.
fn look(slot: &Slot, config: &CertificateConfig, now: SystemTime, files: bool) -> Found {
    let identity = &slot.identity;
    if let Some(options) = identity.self_signed_options() {
        if renewal(identity, config).is_none_or(|at| at > now) {
            return Found::Nothing;
        }
        return match Identity::made(options, now) {
            Ok(new) => Found::New(new, CertificateChange::Renewed),
            Err(error) => Found::Failed(None, error),
        };
    }
    let Some((chain, key)) = identity.files().filter(|_| files) else {
        return Found::Unknown;
    };
    let contents = match Contents::read(chain, key) {
        Ok(contents) => contents,
        Err(error) => return Found::Failed(None, error),
    };
    let digest = contents.digest;
    if identity.digest() == Some(digest) {
        return Found::Nothing;
    }
    match contents.identity() {
        Ok(new) if new.shows_same(identity) => Found::Same(new),
        Ok(new) => Found::New(new, CertificateChange::Reloaded),
        Err(error) => Found::Failed(Some(digest), error),
    }
}

impl Certificates {
    /// Reads the files again that certificates came from, and renews self-signed ones whose time has come. Returns how
    /// many changed.
    ///
    /// For a signal, or whoever has just put new files there. It reads files, which may block for a moment: in an async
    /// program, call it by `tokio::task::spawn_blocking` where that matters.
    ///
    /// # Errors
    ///
    /// What is wrong with the first of those that stay as they are. All others were looked at and changed all the same.
    pub fn reload(&self) -> Result<usize, TlsError> {
        self.refresh(SystemTime::now(), Asked::ByHand, true)
    }

    /// Does what the server does by itself now and then, as if it were `now`: reads files again unless
    /// [`CertificateConfig::check_interval`] is `None`, and renews self-signed certificates whose time has come. Returns
    /// how many changed.
    ///
    /// Files that cannot be used are told of when the next look finds them unchanged. As [`Self::reload`], it may block
    /// for a moment.
    pub fn check(&self, now: SystemTime) -> usize {
        let files = self.0.config.check_interval.is_some();
        // What failed was told, as events and in the log.
        self.refresh(now, Asked::NowAndThen, files)
            .unwrap_or_default()
    }

    fn refresh(&self, now: SystemTime, asked: Asked, files: bool) -> Result<usize, TlsError> {
        let all = lock(&self.0.slots).all.clone();
        let (mut changed, mut failed) = (0, None);
        for slot in all {
            match look(&slot, &self.0.config, now, files) {
                Found::Unknown => {}
                Found::Nothing => self.forget_failure(&slot),
                Found::Same(identity) => drop(self.put(&slot, &identity)),
                Found::New(identity, change) => {
                    if self.put(&slot, &identity) {
                        self.tell(change, Some(&slot.identity), &identity);
                        changed += 1;
                    }
                }
                Found::Failed(digest, error) => {
                    self.fail(&slot, digest, &error, asked);
                    failed.get_or_insert(error);
                }
            }
        }
        match failed {
            Some(error) if asked == Asked::ByHand => Err(error),
            _ => Ok(changed),
        }
    }

    /// Changes a slot, unless it was changed or removed meanwhile.
    fn change(&self, seen: &Slot, change: impl FnOnce(&mut Slot)) -> bool {
        let mut slots = lock(&self.0.slots);
        let mut all = slots.all.iter_mut();
        let slot = all.find(|slot| slot.number == seen.number);
        match slot.filter(|slot| slot.identity.is(&seen.identity)) {
            Some(slot) => change(slot),
            None => return false,
        }
        let is_new = {
            let mut all = slots.all.iter();
            let slot = all.find(|slot| slot.number == seen.number);
            slot.is_some_and(|slot| !slot.identity.shows_same(&seen.identity))
        };
        // What clients see has to be another only if it is: see `Shown`.
        if is_new {
            slots.show();
        }
        true
    }

    fn put(&self, seen: &Slot, identity: &Identity) -> bool {
        self.change(seen, |slot| {
            slot.identity = identity.clone();
            slot.failure = None;
        })
    }

    fn forget_failure(&self, seen: &Slot) {
        if seen.failure.is_some() {
            self.change(seen, |slot| slot.failure = None);
        }
    }

    fn fail(&self, seen: &Slot, digest: Option<Digest>, error: &TlsError, asked: Asked) {
        let before = seen.failure.as_ref();
        let before = before.filter(|before| before.digest == digest);
        let again = before.is_some();
        let was_told = before.is_some_and(|before| before.told);
        let tell = asked == Asked::ByHand || again && !was_told;
        let failure = Failure {
            error: error.clone(),
            digest,
            told: tell || was_told,
        };
        if !self.change(seen, |slot| slot.failure = Some(failure)) || !tell {
            return;
        }
        let names = seen.identity.names();
        tracing::warn!(?names, error = words(error), "the old certificate stays");
        self.0.failures.fetch_add(1, Relaxed);
        self.0.events.emit_with(|| CertificateEvent::Failed {
            names: names.to_vec(),
            hash: seen.identity.certificate_hash(),
            error: error.clone(),
        });
    }
}
