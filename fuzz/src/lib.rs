//! The bodies of the fuzz targets.
//!
//! Each takes any bytes and panics when what should hold does not. `fuzz_targets/` hands them to libFuzzer;
//! `tests/tests/corpus.rs` includes this file and replays `corpus/` as plain tests. See `README.md`.

mod decode;
mod early;
mod endpoint;
mod input;
mod layers;
mod pair;
mod peer;

/// The body of a target.
pub type Target = fn(&[u8]);

/// Every target: the name of its binary and of its corpus, and its body.
pub const TARGETS: &[(&str, Target)] = &[
    ("varint", decode::varint),
    ("frames", decode::frames),
    ("settings", decode::settings),
    ("stream_header", decode::stream_header),
    ("datagram", decode::datagram),
    ("capsules", decode::capsules),
    ("field_section", decode::field_section),
    ("request_head", decode::request_head),
    ("response_head", decode::response_head),
    ("subprotocol", decode::subprotocol),
    ("qpack_streams", decode::qpack_streams),
    ("reliability", layers::reliability),
    ("structured", layers::structured),
    ("rpc", layers::rpc),
    ("pubsub", layers::pubsub),
    ("early", early::early),
    ("peer", peer::peer),
    ("pair", pair::pair),
];

/// Runs the target of this name.
///
/// # Panics
///
/// When there is none, and when the target finds a fault.
pub fn run(name: &str, data: &[u8]) {
    let found = TARGETS.iter().find(|(target, _)| *target == name);
    let Some((_, body)) = found else {
        panic!("no target is called {name}");
    };
    body(data);
}
