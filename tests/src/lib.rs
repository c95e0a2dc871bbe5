//! What the cross-crate tests share: the `wtctl` binary as a child process, the browser, the raw peer that breaks every
//! rule, the server it attacks, the network that loses packets, and the programs that take part in public
//! interoperability runners.

pub mod browser;
pub mod interop;
pub mod proxy;
pub mod raw;
pub mod restart;
pub mod target;
pub mod wtctl;
