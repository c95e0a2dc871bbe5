//! The certificates of a server that runs.
//!
//! `shown` is what handshakes see, `refresh` finds out what is new, `watch` does so now and then; `event` and `status`
//! are what is told of it.

mod event;
mod refresh;
mod shown;
mod status;
mod watch;

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use tokio::sync::Notify;

use self::refresh::Failure;
pub use self::{
    event::{CertificateChange, CertificateEvent},
    status::{CertificateIssue, CertificateStats, CertificateStatus},
};
pub(crate) use self::{shown::Shown, watch::Watch};
use super::{CertificateHash, Identity, TlsError};
use crate::{
    config::{CertificateConfig, ServerConfig},
    events::{Emitter, Events},
    lock::lock,
    observe::{Observe, Snapshot, State},
};

/// The certificates that a server shows, which can change while it runs.
///
/// A cheap handle: clones speak of the same certificates. A change holds for handshakes from then on; connections that
/// are there go on and notice nothing. TLS sessions from before a change cannot be resumed, so that every client that
/// comes back sees the new certificate.
///
/// # Which one a client is shown
///
/// The client says which name it wants (SNI, RFC 6066, 3). The certificate for exactly that name is shown, or else one
/// with a wildcard for it (`*.example.com` is for `a.example.com`, not for `example.com` and not for
/// `a.b.example.com`), or else the default one. Who connects by an IP address asks for no name. Where several
/// certificates are for a name, the default one comes first and then the one that was added first.
///
/// # How they stay fresh
///
/// Those that were read from files ([`Identity::from_pem_files`]) are replaced when the files change, and on
/// [`Self::reload`]. A file that cannot be used, or a key that does not belong to the certificate, leaves the old ones
/// in place; that is logged and told ([`CertificateEvent::Failed`]) unless the next look finds them in order, since the
/// two files of a pair cannot be replaced at once. Those that [`Identity::self_signed`] made are replaced before they
/// expire; their hash changes with that ([`CertificateEvent::Changed`]). [`CertificateConfig`] says how often and how
/// early.
///
/// # Examples
///
/// ```
/// use wt_core::{Endpoint, config::ServerConfig, tls::Identity};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = ServerConfig::new(Identity::self_signed(["localhost"])?)
///     .with_identities([Identity::self_signed(["a.example", "*.a.example"])?])
///     .with_bind(([127, 0, 0, 1], 0).into());
/// let endpoint = Endpoint::server(&config)?;
/// let certificates = endpoint.certificates().ok_or("it is a server")?;
/// assert_eq!(certificates.for_name("www.a.example").names(), ["a.example", "*.a.example"]);
///
/// // Connections that are there notice nothing.
/// certificates.set_default(Identity::self_signed(["localhost"])?);
/// println!("pages need this hash from now on: {}", certificates.identity().certificate_hash());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Certificates(Arc<Shared>);

struct Shared {
    config: CertificateConfig,
    slots: Mutex<Slots>,
    events: Emitter<CertificateEvent>,
    /// Wakes the watch.
    edited: Notify,
    changes: AtomicU64,
    failures: AtomicU64,
}

struct Slots {
    /// The default one first.
    all: Vec<Slot>,
    shown: Arc<Shown>,
    /// Numbers the slots.
    next: u64,
}

/// One certificate, which may be replaced by a newer one.
#[derive(Clone)]
struct Slot {
    number: u64,
    identity: Identity,
    /// Why there is no newer one.
    failure: Option<Failure>,
}

impl Slot {
    /// Puts another identity here; returns the old one and the new one.
    fn replace(&mut self, identity: Identity) -> (Identity, Identity) {
        self.failure = None;
        let old = std::mem::replace(&mut self.identity, identity);
        (old, self.identity.clone())
    }
}

impl Slots {
    fn push(&mut self, identity: Identity) {
        self.all.push(Slot {
            number: self.next,
            identity,
            failure: None,
        });
        self.next += 1;
    }

    /// Has handshakes see what there is now.
    fn show(&mut self) {
        self.shown = Arc::new(Shown::new(self.all.iter().map(|slot| &slot.identity)));
    }
}

impl Certificates {
    pub(crate) fn new(config: &ServerConfig) -> Self {
        let mut slots = Slots {
            all: Vec::new(),
            shown: Arc::new(Shown::new([&config.identity])),
            next: 0,
        };
        slots.push(config.identity.clone());
        config
            .identities
            .iter()
            .for_each(|identity| slots.push(identity.clone()));
        slots.show();
        Self(Arc::new(Shared {
            config: config.certificates.clone(),
            slots: Mutex::new(slots),
            events: Emitter::new(),
            edited: Notify::new(),
            changes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }))
    }

    /// What handshakes see. Another one after each change.
    pub(crate) fn shown(&self) -> Arc<Shown> {
        Arc::clone(&lock(&self.0.slots).shown)
    }

    /// Returns the default certificate, which is shown where no other is for the name.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.shown().default_identity().clone()
    }

    /// Returns all of them, the default one first.
    #[must_use]
    pub fn identities(&self) -> Vec<Identity> {
        let slots = lock(&self.0.slots);
        slots.all.iter().map(|slot| slot.identity.clone()).collect()
    }

    /// Returns the one that a client is shown that asks for `name`.
    #[must_use]
    pub fn for_name(&self, name: &str) -> Identity {
        self.shown().choose(name).clone()
    }

    /// Replaces the default certificate.
    pub fn set_default(&self, identity: Identity) {
        let mut slots = lock(&self.0.slots);
        let Some(slot) = slots.all.first_mut() else {
            return;
        };
        let (old, new) = slot.replace(identity);
        self.edited(slots, CertificateChange::Replaced, Some(&old), &new);
    }

    /// Adds a certificate for the names that are in it. One that is for exactly the same names is replaced, unless it is
    /// the default one.
    ///
    /// # Errors
    ///
    /// [`TlsError::TooManyCertificates`] beyond [`CertificateConfig::max`].
    pub fn add(&self, identity: Identity) -> Result<(), TlsError> {
        let mut slots = lock(&self.0.slots);
        let mut others = slots.all.iter_mut().skip(1);
        if let Some(slot) = others.find(|slot| slot.identity.names() == identity.names()) {
            let (old, new) = slot.replace(identity);
            self.edited(slots, CertificateChange::Replaced, Some(&old), &new);
            return Ok(());
        }
        self.ensure_room(slots.all.len() + 1)?;
        let new = identity.clone();
        slots.push(identity);
        self.edited(slots, CertificateChange::Added, None, &new);
        Ok(())
    }

    fn ensure_room(&self, count: usize) -> Result<(), TlsError> {
        let max = self.0.config.max;
        if count > max {
            return Err(TlsError::TooManyCertificates { max });
        }
        Ok(())
    }

    /// Removes the certificate with this hash; `false` when there is none, or when it is the default one.
    pub fn remove(&self, hash: CertificateHash) -> bool {
        let mut slots = lock(&self.0.slots);
        let mut others = slots.all.iter().skip(1);
        let found = others.position(|slot| slot.identity.certificate_hash() == hash);
        let Some(at) = found else {
            return false;
        };
        let removed = slots.all.remove(at + 1).identity;
        slots.show();
        drop(slots);
        self.0.events.emit_with(|| CertificateEvent::Removed {
            names: removed.names().to_vec(),
            hash,
        });
        true
    }

    /// Replaces all of them.
    pub(crate) fn replace_all(
        &self,
        default: &Identity,
        others: &[Identity],
    ) -> Result<(), TlsError> {
        self.ensure_room(1 + others.len())?;
        let mut slots = lock(&self.0.slots);
        let old = std::mem::take(&mut slots.all);
        slots.push(default.clone());
        others
            .iter()
            .for_each(|identity| slots.push(identity.clone()));
        let old = old.first().map(|slot| &slot.identity);
        self.edited(slots, CertificateChange::Replaced, old, default);
        Ok(())
    }

    /// Shows and tells what was edited.
    fn edited(
        &self,
        mut slots: std::sync::MutexGuard<'_, Slots>,
        change: CertificateChange,
        old: Option<&Identity>,
        new: &Identity,
    ) {
        slots.show();
        drop(slots);
        self.0.edited.notify_one();
        self.tell(change, old, new);
    }

    fn tell(&self, change: CertificateChange, old: Option<&Identity>, new: &Identity) {
        self.0.changes.fetch_add(1, Relaxed);
        let hash = new.certificate_hash();
        tracing::info!(names = ?new.names(), %hash, %change, "clients are shown another certificate");
        self.0.events.emit_with(|| CertificateEvent::Changed {
            names: new.names().to_vec(),
            change,
            old: old.map(Identity::certificate_hash),
            new: hash,
            not_after: new.not_after(),
        });
    }

    /// Listens to what happens to the certificates from now on.
    pub fn events(&self) -> Events<CertificateEvent> {
        self.0.events.subscribe()
    }

    /// Returns how each of them stands, the default one first.
    #[must_use]
    pub fn status(&self) -> Vec<CertificateStatus> {
        let slots = lock(&self.0.slots);
        let all = slots.all.iter().enumerate();
        all.map(|(index, slot)| CertificateStatus::new(slot, index == 0, &self.0.config))
            .collect()
    }

    /// Returns what happened so far.
    #[must_use]
    pub fn stats(&self) -> CertificateStats {
        CertificateStats {
            certificates: lock(&self.0.slots).all.len(),
            changes: self.0.changes.load(Relaxed),
            failures: self.0.failures.load(Relaxed),
        }
    }

    /// Adds the figures of the certificates to those of who shows them: the gauges `certificate_expiry_seconds` (until
    /// the first of them expires, below zero when that is over), `certificates_expiring` (those that
    /// [`CertificateStatus::is_expiring`] warns of) and `certificates`, and the counters `certificate_changes` and
    /// `certificate_failures`.
    #[must_use]
    pub fn add_figures(&self, snapshot: Snapshot) -> Snapshot {
        let (all, stats, now) = (self.status(), self.stats(), SystemTime::now());
        let expiring = all.iter().filter(|one| one.is_expiring(now)).count();
        let left = all.iter().map(|one| one.seconds_left(now));
        let left = left.fold(f64::INFINITY, f64::min);
        snapshot
            .with_gauge("certificate_expiry_seconds", left)
            .with_gauge("certificates_expiring", expiring as f64)
            .with_gauge("certificates", stats.certificates as f64)
            .with_counter("certificate_changes", stats.changes)
            .with_counter("certificate_failures", stats.failures)
    }
}

impl Observe for Certificates {
    fn observe(&self) -> Snapshot {
        let id = self.identity().certificate_hash().to_hex();
        let (all, now) = (self.status(), SystemTime::now());
        let issues = all.iter().flat_map(|one| one.issues(now));
        self.add_figures(Snapshot::new("certificates", id, State::Active))
            .with_issues(issues)
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.identities()).finish()
    }
}
