//! The decoders of the layers above: datagrams with reliability, structured messages, RPC and publish-subscribe.

use bytes::Bytes;
use wt_datagram::{heartbeat, reliability::__fuzz as reliable};
use wt_messaging::{
    pubsub::__fuzz::{self as lines, Said},
    rpc::__fuzz::{self as json, Parsed},
    structured::__fuzz as structured,
};

use super::input::{Input, pieces};

/// The messages of the reliability layer, and heartbeats.
pub(crate) fn reliability(data: &[u8]) {
    if let Some((sequence, payload)) = reliable::decode(Bytes::copy_from_slice(data)) {
        let encoded = reliable::encode(sequence, payload.as_deref());
        assert!(payload.is_none() || encoded == data);
        assert_eq!(reliable::decode(encoded), Some((sequence, payload)));
    }
    if let Some(time) = heartbeat::decode(data) {
        assert_eq!(heartbeat::decode(&heartbeat::encode(time)), Some(time));
    }
}

/// Structured messages on a stream, in one piece and in many.
pub(crate) fn structured(data: &[u8]) {
    let mut input = Input::new(data);
    let max = [0, 16, 256, 65_536][input.below(4)];
    let seed = input.byte();
    let data = input.rest();
    let whole = structured::frames(&[Bytes::copy_from_slice(data)], max);
    let cut = structured::frames(&pieces(data, seed), max);
    assert_eq!(whole, cut);
    let (frames, boundary) = whole;
    let mut rest = data;
    for (number, (kind, len, payload)) in frames.iter().enumerate() {
        let (head, behind) = rest.split_at(6);
        assert_eq!(head[..2], kind.to_be_bytes());
        assert_eq!(head[2..], len.to_be_bytes());
        let len = *len as usize;
        assert!(payload.is_none() || len <= max);
        match payload {
            Some(payload) => assert_eq!(payload, &behind[..len]),
            None => assert!(len > max || number + 1 == frames.len()),
        }
        rest = &behind[len.min(behind.len())..];
    }
    assert!(rest.len() < 6);
    assert!(!boundary || rest.is_empty());
}

/// Messages of RPC, strict and as PyWebTransport has them.
pub(crate) fn rpc(data: &[u8]) {
    let mut input = Input::new(data);
    let strict = [None, Some(1), Some(8)][input.below(3)];
    let payload = Bytes::copy_from_slice(input.rest());
    let (parsed, batch) = json::parse(&payload, strict);
    assert!(!batch || (1..=strict.unwrap_or(0)).contains(&parsed.len()));
    for item in parsed {
        match item {
            Parsed::Request(id, method, params) => {
                assert!(params.starts_with(b"[") || params.starts_with(b"{"));
                let own = id.is_some().then_some("7");
                let again = json::request(strict.is_some(), own, &method, &params);
                let own = own.map(|_| Bytes::from_static(b"\"7\""));
                let expected = Parsed::Request(own, method, params);
                assert_eq!(json::parse(&again, strict), (vec![expected], false));
            }
            Parsed::Response(id, Some(result)) => {
                let again = json::response(strict.is_some(), &id, result.clone());
                let expected = Parsed::Response(id, Some(result));
                assert_eq!(json::parse(&again, strict), (vec![expected], false));
            }
            _ => {}
        }
    }
}

/// The lines of publish-subscribe on a stream, in one piece and in many, and as a datagram.
pub(crate) fn pubsub(data: &[u8]) {
    let mut input = Input::new(data);
    let max = [0, 16, 256, 65_536][input.below(4)];
    let seed = input.byte();
    let data = Bytes::copy_from_slice(input.rest());
    let whole = lines::decode(std::slice::from_ref(&data), max);
    assert_eq!(whole, lines::decode(&pieces(&data, seed), max));
    for said in whole.0 {
        match said {
            Said::Payload(publish, topic, payload) => {
                assert!(payload.len() <= max);
                let Some(topic) = topic else { continue };
                let line = lines::line(publish, &topic, payload.len());
                let again = [line.expect("it was a topic").as_bytes(), &payload].concat();
                let expected = Said::Payload(publish, Some(topic), payload);
                let again = lines::decode(&[again.into()], max);
                assert_eq!(again, (vec![expected], Ok(true)));
            }
            Said::TooLarge(_, size) => assert!(size > max as u64),
            _ => {}
        }
    }
    if let Some((topic, payload)) = lines::datagram(data) {
        let line = lines::line(false, &topic, payload.len()).expect("it was a topic");
        let again = [line.as_bytes(), &payload].concat();
        assert_eq!(lines::datagram(again.into()), Some((topic, payload)));
    }
}
