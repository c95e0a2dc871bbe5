//! Tests of whole connections: two of them joined by a simulated QUIC on virtual time.

mod close;
mod datagrams;
mod early;
mod endpoint;
mod establish;
mod flow;
mod going_away;
mod info;
mod net;
mod pair;
mod quirks;
mod random;
mod receive;
mod violations;

pub(crate) use self::{
    endpoint::Endpoint,
    net::{Conditions, Net, Packet},
    pair::Pair,
};
