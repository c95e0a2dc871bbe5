//! Replays the corpora of the fuzz targets, and inputs cut short, as plain tests.
#![allow(
    clippy::unwrap_used,
    reason = "a folder that cannot be read fails the test"
)]

#[allow(
    unreachable_pub,
    reason = "the library of the fuzz targets, which is public there"
)]
#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

use std::{collections::BTreeSet, fs, path::Path};

fn folder(name: &str) -> std::path::PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz")).join(name)
}

/// The names in a folder, without the extension.
fn names(name: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(folder(name)).unwrap();
    let stem = |path: std::path::PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    entries.map(|entry| stem(entry.unwrap().path())).collect()
}

/// Large enough for every seed, small enough to replay all their beginnings.
const LARGEST: usize = 1024;

fn replay(target: &str) {
    let mut seeds = 0;
    for entry in fs::read_dir(folder("corpus").join(target)).unwrap() {
        let path = entry.unwrap().path();
        let seed = fs::read(&path).unwrap();
        assert!(seed.len() <= LARGEST, "{} is too large", path.display());
        println!("{}", path.display());
        for end in (0..seed.len()).step_by(1 + seed.len() / 100) {
            fuzz::run(target, &seed[..end]);
        }
        fuzz::run(target, &seed);
        seeds += 1;
    }
    assert!(seeds >= 3, "{target} has {seeds} seeds");
}

macro_rules! targets {
    ($($target:ident)+) => {
        $(
            #[test]
            fn $target() {
                replay(stringify!($target));
            }
        )+

        #[test]
        fn every_target_is_replayed_and_has_a_binary() {
            let replayed = BTreeSet::from([$(stringify!($target).to_owned()),+]);
            let listed = fuzz::TARGETS.iter().map(|(name, _)| (*name).to_owned());
            assert_eq!(listed.collect::<BTreeSet<_>>(), replayed);
            assert_eq!(names("corpus"), replayed);
            assert_eq!(names("fuzz_targets"), replayed);
        }
    };
}

targets! {
    varint frames settings stream_header datagram capsules field_section request_head response_head subprotocol
    qpack_streams reliability structured rpc pubsub early peer pair
}

/// Inputs that no corpus holds, the same in every run.
#[test]
fn random_inputs() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for (name, body) in fuzz::TARGETS {
        for round in 0..300 {
            let len = next() as usize % 400;
            let input: Vec<u8> = (0..len).map(|_| next() as u8).collect();
            let caught = std::panic::catch_unwind(|| body(&input));
            assert!(caught.is_ok(), "{name}, round {round}: {input:02x?}");
        }
    }
}
