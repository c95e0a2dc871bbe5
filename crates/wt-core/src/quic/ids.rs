//! Connection ids that tell which process issued them, to those who know the key.
//!
//! An id has 8 bytes, as quinn's own: 5 that cannot be foretold, then the tag of the process, hidden
//! behind a hash of the 5 under a key that the processes share. To everybody else all of it is noise.

use std::{fmt, sync::Arc};

use quinn::{
    ConnectionId, ConnectionIdGenerator,
    crypto::{CryptoError, HmacKey},
};
use siphasher::sip::SipHasher24;

use crate::tls::{hmac_sha256, random};

/// Bytes of an id.
pub(crate) const ID: usize = 8;

const NONCE: usize = ID - Tag::LEN;

/// What tells processes apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag(pub(crate) [u8; Self::LEN]);

impl Tag {
    /// Long enough that an id that a client made up carries a tag that is in use once in 16 million.
    pub(crate) const LEN: usize = 3;

    /// Draws one that is not among `taken`.
    pub(crate) fn draw(taken: &[Self]) -> Result<Self, rustls::crypto::GetRandomFailed> {
        loop {
            let mut tag = Self([0; Self::LEN]);
            random(&mut tag.0)?;
            if !taken.contains(&tag) {
                return Ok(tag);
            }
        }
    }
}

/// The secrets that the processes that follow each other share.
#[derive(Clone, Copy)]
pub(crate) struct Secrets {
    ids: [u8; 16],
    resets: [u8; 32],
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    pub(crate) const LEN: usize = 48;

    pub(crate) fn draw() -> Result<Self, rustls::crypto::GetRandomFailed> {
        let mut bytes = [0; Self::LEN];
        random(&mut bytes)?;
        Ok(Self::from_bytes(&bytes))
    }

    pub(crate) fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let (mut ids, mut resets) = ([0; 16], [0; 32]);
        ids.copy_from_slice(&bytes[..16]);
        resets.copy_from_slice(&bytes[16..]);
        Self { ids, resets }
    }

    pub(crate) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..16].copy_from_slice(&self.ids);
        bytes[16..].copy_from_slice(&self.resets);
        bytes
    }

    /// Returns what reads the tags of ids.
    pub(crate) fn reader(&self) -> TagReader {
        TagReader(SipHasher24::new_with_key(&self.ids))
    }

    /// Makes the ids and the stateless resets of an endpoint.
    pub(crate) fn configure(self, tag: Tag, endpoint: &mut quinn::EndpointConfig) {
        endpoint
            .reset_key(Arc::new(ResetKey(self.resets)))
            .cid_generator(move || Box::new(Generator::new(&self, tag)));
    }
}

/// Reads the tags of ids.
#[derive(Clone)]
pub(crate) struct TagReader(SipHasher24);

impl fmt::Debug for TagReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TagReader")
    }
}

impl TagReader {
    fn mask(&self, nonce: &[u8], tag: Tag) -> [u8; Tag::LEN] {
        let hash = self.0.hash(nonce).to_le_bytes();
        std::array::from_fn(|i| hash[i] ^ tag.0[i])
    }

    /// Returns the tag of an id; noise if none of the processes issued it.
    pub(crate) fn tag(&self, id: &[u8; ID]) -> Tag {
        let (nonce, hidden) = id.split_at(NONCE);
        let mut tag = Tag([0; Tag::LEN]);
        tag.0.copy_from_slice(hidden);
        Tag(self.mask(nonce, tag))
    }
}

/// Makes the ids of one process.
pub(super) struct Generator {
    reader: TagReader,
    tag: Tag,
    /// A hash of how many there were, under a key of this endpoint alone.
    noise: SipHasher24,
    made: u64,
}

impl Generator {
    pub(super) fn new(secrets: &Secrets, tag: Tag) -> Self {
        let mut seed = [0; 16];
        if random(&mut seed).is_err() {
            // The system had random numbers a moment ago. Ids stay unique, and hard to foretell for
            // who does not know the secrets.
            seed = secrets.ids;
            seed[..Tag::LEN].copy_from_slice(&tag.0);
        }
        Self {
            reader: secrets.reader(),
            tag,
            noise: SipHasher24::new_with_key(&seed),
            made: 0,
        }
    }
}

impl ConnectionIdGenerator for Generator {
    fn generate_cid(&mut self) -> ConnectionId {
        self.made = self.made.wrapping_add(1);
        let mut id = self.noise.hash(&self.made.to_le_bytes()).to_le_bytes();
        let (nonce, hidden) = id.split_at_mut(NONCE);
        hidden.copy_from_slice(&self.reader.mask(nonce, self.tag));
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        ID
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

/// Makes stateless resets that hold for connections of earlier processes too.
struct ResetKey([u8; 32]);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature: &mut [u8]) {
        let made = hmac_sha256(&self.0, data);
        let len = signature.len().min(made.len());
        signature[..len].copy_from_slice(&made[..len]);
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let made = hmac_sha256(&self.0, data);
        let differences = made
            .iter()
            .zip(signature)
            .fold(0, |all, (a, b)| all | (a ^ b));
        if signature.len() == made.len() && differences == 0 {
            Ok(())
        } else {
            Err(CryptoError)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn ids(secrets: &Secrets, tag: Tag, count: usize) -> Vec<[u8; ID]> {
        let mut generator = Generator::new(secrets, tag);
        let ids = std::iter::repeat_with(|| generator.generate_cid());
        ids.take(count)
            .map(|id| id[..].try_into().unwrap())
            .collect()
    }

    #[test]
    fn ids_tell_their_process_to_who_has_the_secrets() {
        let secrets = Secrets::from_bytes(&Secrets::draw().unwrap().to_bytes());
        let old = Tag::draw(&[]).unwrap();
        let new = Tag::draw(&[old]).unwrap();
        assert_ne!(old, new);
        for tag in [old, new] {
            let ids = ids(&secrets, tag, 1000);
            assert!(ids.iter().all(|id| secrets.reader().tag(id) == tag));
            assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 1000);
        }
    }

    #[test]
    fn to_others_ids_are_noise() {
        let (tag, secrets) = (Tag([0; 3]), Secrets::draw().unwrap());
        let ids = ids(&secrets, tag, 4096);
        // Every bit is set about half of the time: 2048 of 4096, give or take 10 deviations of 32.
        for bit in 0..8 * ID {
            let set = ids.iter().filter(|id| id[bit / 8] >> (bit % 8) & 1 == 1);
            let set = set.count();
            assert!((1728..=2368).contains(&set), "bit {bit}: {set}");
        }
        let others = Secrets::draw().unwrap().reader();
        let read = ids.iter().filter(|id| others.tag(id) == tag).count();
        assert!(read < 8, "{read} of 4096 by chance");
    }

    #[test]
    fn resets_of_one_process_are_those_of_the_next() {
        let sign = |secrets: Secrets| {
            let (key, mut signature) = (ResetKey(secrets.resets), [0; 32]);
            key.sign(b"an id", &mut signature);
            assert_eq!(key.signature_len(), signature.len());
            key.verify(b"an id", &signature).unwrap();
            key.verify(b"another", &signature).unwrap_err();
            key.verify(b"an id", &signature[1..]).unwrap_err();
            signature
        };
        let secrets = Secrets::draw().unwrap();
        assert_eq!(sign(secrets), sign(secrets));
        assert_ne!(sign(secrets), sign(Secrets::draw().unwrap()));
    }
}
