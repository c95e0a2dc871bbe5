//! The buffer of what comes before its session: its limits hold, and nothing is lost or given twice.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use wt_proto::{
    SessionId,
    early::{Early, EarlyLimits},
};

use super::input::Input;

/// Any operations in any order.
pub(crate) fn early(data: &[u8]) {
    let mut input = Input::new(data);
    let limits = EarlyLimits {
        streams: input.below(8),
        datagrams: input.below(8),
        per_session: 4,
        bytes: usize::from(input.byte()) * 4,
        age: Duration::from_secs(u64::from(input.byte())),
    };
    let mut early = Early::new(limits);
    let mut now = Instant::now();
    // What is in it: streams by number, with their session and size, and the sizes of datagrams by session.
    let mut streams: HashMap<u32, (SessionId, usize)> = HashMap::new();
    let mut datagrams: HashMap<SessionId, Vec<usize>> = HashMap::new();
    let mut number = 0;
    while !input.is_empty() {
        let op = input.byte();
        let id = SessionId::from_quarter(u64::from(op >> 4) % 3).expect("a small number");
        match op & 0b11 {
            0 => {
                let size = usize::from(input.byte());
                number += 1;
                match early.push_stream(id, number, size, now) {
                    Ok(()) => assert_eq!(streams.insert(number, (id, size)), None),
                    Err(given_back) => assert_eq!(given_back, number),
                }
            }
            1 => {
                let size = usize::from(input.byte());
                if early.push_datagram(id, Bytes::from(vec![0; size]), now) {
                    datagrams.entry(id).or_default().push(size);
                }
            }
            2 => {
                let (taken, payloads) = early.take(id);
                assert!(taken.is_sorted(), "out of order");
                for stream in taken {
                    assert_eq!(streams.remove(&stream).map(|kept| kept.0), Some(id));
                }
                assert!(streams.values().all(|kept| kept.0 != id));
                let sizes: Vec<_> = payloads.iter().map(Bytes::len).collect();
                assert_eq!(sizes, datagrams.remove(&id).unwrap_or_default());
            }
            _ => {
                now += Duration::from_secs(u64::from(input.byte()));
                for stream in early.expire(now) {
                    assert!(streams.remove(&stream).is_some(), "given twice");
                }
                assert!(early.deadline().is_none_or(|due| due > now));
                // Which datagrams went is not told: take the rest, and count again from there.
                for (id, sizes) in std::mem::take(&mut datagrams) {
                    let (taken, payloads) = early.take(id);
                    assert!(payloads.len() <= sizes.len());
                    for stream in taken {
                        assert!(streams.remove(&stream).is_some(), "given twice");
                    }
                }
            }
        }
        let count: usize = datagrams.values().map(Vec::len).sum();
        let bytes = streams.values().map(|kept| kept.1).sum::<usize>()
            + datagrams.values().flatten().sum::<usize>();
        assert_eq!(early.bytes(), bytes);
        assert!(bytes <= limits.bytes && streams.len() <= limits.streams);
        assert!(count <= limits.datagrams);
        assert_eq!(early.is_empty(), streams.is_empty() && count == 0);
        assert_eq!(early.deadline().is_none(), early.is_empty());
    }
}
