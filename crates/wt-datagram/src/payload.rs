//! What can be sent.

use bytes::Bytes;

/// What can be sent as a datagram: bytes or text, owned or borrowed.
///
/// A datagram that goes straight to QUIC is read where it is. One that has to wait becomes [`Bytes`]: what is owned is
/// moved, what is borrowed is copied. So borrow from a buffer that is used again, and hand over what is not needed any
/// more.
pub trait Payload: AsRef<[u8]> {
    /// Turns it into bytes that can wait.
    fn into_bytes(self) -> Bytes;
}

macro_rules! owned {
    ($($owned:ty),*) => {$(
        impl Payload for $owned {
            fn into_bytes(self) -> Bytes {
                self.into()
            }
        }
    )*};
}

macro_rules! borrowed {
    ($($borrowed:ty),*) => {$(
        impl Payload for &$borrowed {
            fn into_bytes(self) -> Bytes {
                Bytes::copy_from_slice(self.as_ref())
            }
        }
    )*};
}

owned!(Bytes, Vec<u8>, Box<[u8]>, String);
borrowed!([u8], str, Vec<u8>, String);

impl Payload for &Bytes {
    fn into_bytes(self) -> Bytes {
        self.clone()
    }
}

impl<const N: usize> Payload for [u8; N] {
    fn into_bytes(self) -> Bytes {
        Bytes::copy_from_slice(&self)
    }
}

impl<const N: usize> Payload for &[u8; N] {
    fn into_bytes(self) -> Bytes {
        Bytes::copy_from_slice(self)
    }
}
