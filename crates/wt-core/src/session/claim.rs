//! Who has the datagrams of a session.

use std::sync::{Arc, atomic::Ordering::SeqCst};

use super::{Session, Shared};

/// The right to all datagrams of a session, from [`Session::claim_datagrams`]. Given back when it is dropped.
#[derive(Debug)]
#[must_use = "dropped, it is given back"]
pub struct DatagramClaim(Arc<Shared>);

impl Drop for DatagramClaim {
    fn drop(&mut self) {
        self.0.datagrams_claimed.store(false, SeqCst);
    }
}

impl Session {
    /// Claims the datagrams of the session for a layer above; `None` while another one has them.
    ///
    /// Datagrams carry nothing that says to which layer they belong, so two layers would take each other's.
    /// Nothing else is kept from the methods for datagrams: who uses a layer leaves them alone.
    #[must_use]
    pub fn claim_datagrams(&self) -> Option<DatagramClaim> {
        let shared = &self.0.0;
        let taken = shared.datagrams_claimed.swap(true, SeqCst);
        (!taken).then(|| DatagramClaim(shared.clone()))
    }
}
