//! What a peer can do wrong, the code that answers it, and what goes on beside it.

use bytes::{Bytes, BytesMut};

use super::{Conditions, Packet, Pair, pair::Setup};
use crate::{
    Dir, ErrorCode, ProtocolViolation as V, Scope, SessionEnd, SessionId, Side, VarInt,
    capsule::{Capsule, CapsuleType, CloseSession},
    coding::Encode,
    connection::{Config, ConnectError, Connection, Critical, Event, Refusal},
    frame::{self, FrameType},
    qpack,
    stream_header::UniHeader,
};

// ---- the whole connection

/// Lets one end break a rule of the connection and checks how the other answers.
fn breaks(violation: V, from: Side, act: impl FnOnce(&mut Pair, SessionId)) {
    assert_eq!(violation.scope(), Scope::Connection);
    let mut pair = Pair::new();
    let id = pair.connect();
    act(&mut pair, id);
    pair.drive();
    assert_eq!(
        pair.end(!from).violation,
        Some(violation),
        "from the {from}"
    );
    assert_eq!(pair.end(from).closed, Some(violation.code()), "{violation}");
}

fn on_control(pair: &mut Pair, from: Side, bytes: &[u8]) {
    let control = pair.end(from).critical(Critical::Control);
    pair.send(from, control, bytes);
}

/// Lets both ends send `bytes` on their control stream.
fn control_breaks(violation: V, bytes: &[u8]) {
    for from in [Side::Client, Side::Server] {
        breaks(violation, from, |pair, _| on_control(pair, from, bytes));
    }
}

fn goaway(id: u32) -> Vec<u8> {
    let mut out = Vec::new();
    frame::encode_goaway(VarInt::from_u32(id), &mut out);
    out
}

/// Reads a control stream from its first byte on.
fn first_bytes(side: Side, bytes: &[u8]) -> Result<(), V> {
    let mut conn = Connection::new(Config::new(side), std::time::Instant::now());
    conn.handle_uni(UniHeader::Control)?;
    conn.handle_critical_data(Critical::Control, Bytes::copy_from_slice(bytes))
}

#[test]
fn the_control_stream_begins_with_good_settings() {
    let mut large = Vec::new();
    frame::encode_header(FrameType::SETTINGS, 16 * 1024 + 1, &mut large);
    for side in [Side::Client, Side::Server] {
        for (bytes, violation) in [
            (&goaway(0)[..], V::MissingSettings),
            (&[0x21, 0x00], V::MissingSettings),
            (&[0x01, 0x00], V::MissingSettings),
            (&[0x04, 0x02, 0x02, 0x00], V::SettingsReserved),
            (
                &[0x04, 0x04, 0x33, 0x01, 0x33, 0x01],
                V::SettingsDuplicateId,
            ),
            (&[0x04, 0x02, 0x08, 0x02], V::SettingsInvalidValue),
            (&[0x04, 0x02, 0x33, 0x02], V::SettingsInvalidValue),
            (
                &[0x04, 0x05, 0xac, 0x7c, 0xf0, 0x00, 0x02],
                V::SettingsInvalidValue,
            ),
            (&[0x04, 0x01, 0x33], V::SettingsMalformed),
            (&large, V::SettingsTooLarge),
        ] {
            assert_eq!(first_bytes(side, bytes), Err(violation));
            assert_eq!(violation.scope(), Scope::Connection);
        }
        assert_eq!(first_bytes(side, &[0x04, 0x00]), Ok(()));
    }
}

#[test]
fn frames_that_have_no_place_on_the_control_stream() {
    control_breaks(V::DuplicateSettings, &[0x04, 0x00]);
    control_breaks(V::FrameUnexpected, &[0x00, 0x01, 0x00]);
    control_breaks(V::FrameUnexpected, &[0x01, 0x00]);
    control_breaks(V::FrameUnexpected, &[0x05, 0x01, 0x00]);
    for http2 in [0x02, 0x06, 0x08, 0x09] {
        control_breaks(V::FrameUnexpected, &[http2, 0x00]);
    }
    control_breaks(V::FrameMalformed, &[0x07, 0x02, 0x00, 0x00]);
    control_breaks(V::FrameMalformed, &[0x07, 0x00]);
    control_breaks(V::WtStreamMisplaced, &[0x40, 0x41, 0x00]);
    control_breaks(V::PushId, &[0x03, 0x01, 0x00]);
    breaks(V::FrameUnexpected, Side::Server, |pair, _| {
        on_control(pair, Side::Server, &[0x0d, 0x01, 0x00]);
    });
    breaks(V::PushId, Side::Client, |pair, _| {
        on_control(pair, Side::Client, &[0x0d, 0x01, 0x05, 0x0d, 0x01, 0x04]);
    });
}

#[test]
fn goaway_ids_are_those_of_requests_and_never_grow() {
    breaks(V::GoAwayInvalidId, Side::Server, |pair, _| {
        on_control(pair, Side::Server, &goaway(5));
    });
    control_breaks(V::GoAwayIncreased, &[goaway(4), goaway(8)].concat());
    let mut pair = Pair::new();
    on_control(
        &mut pair,
        Side::Client,
        &[goaway(5), goaway(5), goaway(3)].concat(),
    );
    pair.drive();
    pair.assert_alive();
}

#[test]
fn critical_streams_exist_once_and_never_end() {
    for from in [Side::Client, Side::Server] {
        for kind in [0, 2, 3] {
            breaks(V::DuplicateCriticalStream, from, |pair, _| {
                pair.send_on_new(from, Dir::Uni, &[kind]);
            });
        }
        for which in [
            Critical::Control,
            Critical::QpackEncoder,
            Critical::QpackDecoder,
        ] {
            breaks(V::CriticalStreamClosed, from, |pair, _| {
                let id = pair.end(from).critical(which);
                pair.send_fin(from, id);
            });
            breaks(V::CriticalStreamClosed, from, |pair, _| {
                let id = pair.end(from).critical(which);
                pair.net
                    .send(!from, Packet::Reset(id, ErrorCode::H3_NO_ERROR));
            });
            breaks(V::CriticalStreamClosed, from, |pair, _| {
                let id = pair.end(!from).critical(which);
                pair.net
                    .send(!from, Packet::Stop(id, ErrorCode::H3_NO_ERROR));
            });
        }
    }
}

#[test]
fn there_is_no_push() {
    breaks(V::PushStream, Side::Client, |pair, _| {
        pair.send_on_new(Side::Client, Dir::Uni, &[0x01]);
    });
    breaks(V::PushId, Side::Server, |pair, _| {
        pair.send_on_new(Side::Server, Dir::Uni, &[0x01]);
    });
    breaks(V::PushId, Side::Server, |pair, _| {
        pair.server.answer = None;
        let id = pair.request();
        pair.send(Side::Server, id.stream_id(), &[0x05, 0x01, 0x00]);
    });
    breaks(V::FrameUnexpected, Side::Client, |pair, _| {
        pair.send_on_new(Side::Client, Dir::Bi, &[0x05, 0x01, 0x00]);
    });
}

#[test]
fn ids_of_sessions_are_ids_of_request_streams() {
    for from in [Side::Client, Side::Server] {
        for id in [1, 2, 3] {
            for (dir, signal) in [(Dir::Bi, 0x41), (Dir::Uni, 0x54)] {
                breaks(V::InvalidSessionId, from, |pair, _| {
                    pair.send_on_new(from, dir, &[0x40, signal, id]);
                });
            }
        }
    }
}

#[test]
fn datagrams_begin_with_the_quarter_of_an_id() {
    for from in [Side::Client, Side::Server] {
        for (bytes, violation) in [
            (&[][..], V::DatagramTruncated),
            (&[0x40], V::DatagramTruncated),
            (&[0xd0, 0, 0, 0, 0, 0, 0, 0], V::InvalidQuarterId),
        ] {
            breaks(violation, from, |pair, _| {
                let bytes = Bytes::copy_from_slice(bytes);
                pair.net.send(!from, Packet::Datagram(bytes));
            });
        }
    }
}

#[test]
fn a_server_opens_no_requests() {
    breaks(V::UnexpectedServerStream, Side::Server, |pair, _| {
        pair.send_on_new(Side::Server, Dir::Bi, &[0x01, 0x00]);
    });
}

#[test]
fn qpack_has_no_table() {
    for from in [Side::Client, Side::Server] {
        breaks(V::QpackEncoderStream, from, |pair, _| {
            let id = pair.end(from).critical(Critical::QpackEncoder);
            pair.send(from, id, &[0x21]);
        });
        breaks(V::QpackDecoderStream, from, |pair, _| {
            let id = pair.end(from).critical(Critical::QpackDecoder);
            pair.send(from, id, &[0x80]);
        });
    }
    breaks(V::QpackDecompression, Side::Client, |pair, _| {
        pair.send_on_new(Side::Client, Dir::Bi, &[0x01, 0x02, 0x01, 0x00]);
    });
    breaks(V::QpackDecompression, Side::Server, |pair, _| {
        pair.server.answer = None;
        let id = pair.request();
        pair.send(Side::Server, id.stream_id(), &[0x01, 0x02, 0x01, 0x00]);
    });
}

#[test]
fn frames_of_a_request_stream_have_their_order() {
    for (bytes, violation) in [
        (&[0x00, 0x01, 0x00][..], V::FrameUnexpected),
        (&[0x04, 0x00], V::FrameUnexpected),
        (&[0x07, 0x01, 0x00], V::FrameUnexpected),
        (&[0x21, 0x00, 0x40, 0x41, 0x00], V::WtStreamMisplaced),
    ] {
        breaks(violation, Side::Client, |pair, _| {
            pair.send_on_new(Side::Client, Dir::Bi, bytes);
        });
        breaks(violation, Side::Server, |pair, _| {
            pair.server.answer = None;
            let id = pair.request();
            pair.send(Side::Server, id.stream_id(), bytes);
        });
    }
    let mut large = Vec::new();
    frame::encode_header(FrameType::HEADERS, 1 << 20, &mut large);
    for from in [Side::Client, Side::Server] {
        for (bytes, violation) in [
            (&[0x01, 0x02, 0x00, 0x00][..], V::FrameUnexpected),
            (&[0x04, 0x00], V::FrameUnexpected),
            (&[0x05, 0x00], V::FrameUnexpected),
            (&[0x40, 0x41, 0x00], V::WtStreamMisplaced),
            (&large, V::FrameTooLarge),
        ] {
            breaks(violation, from, |pair, id| {
                pair.send(from, id.stream_id(), bytes)
            });
        }
    }
}

#[test]
fn no_stream_ends_within_a_frame() {
    breaks(V::FrameTruncated, Side::Client, |pair, _| {
        let id = pair.send_on_new(Side::Client, Dir::Bi, &[0x01, 0x10, 0x00]);
        pair.send_fin(Side::Client, id);
    });
    breaks(V::FrameTruncated, Side::Server, |pair, _| {
        pair.server.answer = None;
        let id = pair.request().stream_id();
        pair.send(Side::Server, id, &[0x01, 0x10, 0x00]);
        pair.send_fin(Side::Server, id);
    });
    for from in [Side::Client, Side::Server] {
        for bytes in [&[0x00][..], &[0x00, 0x05, 0x21, 0x00], &[0x21, 0x05, 0x00]] {
            breaks(V::FrameTruncated, from, |pair, id| {
                pair.send(from, id.stream_id(), bytes);
                pair.send_fin(from, id.stream_id());
            });
        }
    }
}

// ---- one session

/// Lets one end break a rule of a session and checks that the other ends it alone.
fn ends(violation: V, from: Side, act: impl Fn(&mut Pair, SessionId)) {
    assert_eq!(violation.scope(), Scope::Stream);
    for conditions in Conditions::all().take(4) {
        let mut pair = Setup::new().on(conditions).ready();
        let id = pair.connect();
        let beside = pair.connect();
        act(&mut pair, id);
        pair.drive();
        let end = pair.end(!from).ending(id);
        assert_eq!(
            end,
            Some(SessionEnd::Violation(violation)),
            "from the {from}"
        );
        let code = pair.end(from).ending(id);
        assert_eq!(
            code,
            Some(SessionEnd::Aborted(violation.code())),
            "{violation}"
        );
        pair.assert_works(beside);
        assert_eq!(pair.client.conn.session_count(), 1);
        assert_eq!(pair.server.conn.session_count(), 1);
    }
}

fn data(capsule: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    frame::encode_data(capsule, &mut out);
    out
}

fn capsule(kind: CapsuleType, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for number in [kind.get(), value.len() as u64] {
        VarInt::new(number).unwrap().encode(&mut out);
    }
    out.extend(value);
    out
}

fn varint(n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    VarInt::new(n).unwrap().encode(&mut out);
    out
}

#[test]
fn capsules_break_their_session_alone() {
    let close = |message: &[u8]| {
        let value = [&[0, 0, 0, 1][..], message].concat();
        capsule(CapsuleType::WT_CLOSE_SESSION, &value)
    };
    let defaults = Config::new(Side::Client).initial;
    let too_many = varint((1 << 60) + 1);
    for (bytes, violation) in [
        (close(&[b'a'; 1025]), V::CloseMessageTooLong),
        (close(&[0xff]), V::CloseMessageNotUtf8),
        (
            capsule(CapsuleType::WT_CLOSE_SESSION, &[0; 3]),
            V::CapsuleMalformed,
        ),
        (
            capsule(CapsuleType::WT_DRAIN_SESSION, &[0]),
            V::CapsuleTooLarge,
        ),
        (
            capsule(CapsuleType::WT_MAX_DATA, &[0, 0]),
            V::CapsuleMalformed,
        ),
        (
            capsule(CapsuleType::WT_MAX_DATA, &[0; 9]),
            V::CapsuleTooLarge,
        ),
        (
            capsule(CapsuleType::WT_MAX_STREAM_DATA, &[0, 0]),
            V::CapsuleProhibited,
        ),
        (
            capsule(CapsuleType::WT_STREAM_DATA_BLOCKED, &[0, 0]),
            V::CapsuleProhibited,
        ),
        (
            capsule(CapsuleType::WT_MAX_DATA, &varint(defaults.max_data)),
            V::MaxDataNotIncreased,
        ),
        (
            capsule(CapsuleType::WT_MAX_DATA, &varint(1)),
            V::MaxDataNotIncreased,
        ),
        (
            capsule(CapsuleType::WT_MAX_STREAMS_BIDI, &varint(1000)),
            V::MaxStreamsNotIncreased,
        ),
        (
            capsule(CapsuleType::WT_MAX_STREAMS_UNI, &varint(999)),
            V::MaxStreamsNotIncreased,
        ),
        (
            capsule(CapsuleType::WT_MAX_STREAMS_BIDI, &too_many),
            V::MaxStreamsTooLarge,
        ),
        (
            capsule(CapsuleType::WT_MAX_STREAMS_UNI, &too_many),
            V::MaxStreamsTooLarge,
        ),
        (
            capsule(CapsuleType::WT_STREAMS_BLOCKED_BIDI, &too_many),
            V::MaxStreamsTooLarge,
        ),
        (
            capsule(CapsuleType::WT_STREAMS_BLOCKED_UNI, &too_many),
            V::MaxStreamsTooLarge,
        ),
    ] {
        for from in [Side::Client, Side::Server] {
            ends(violation, from, |pair, id| {
                pair.send(from, id.stream_id(), &data(&bytes))
            });
        }
    }
}

#[test]
fn no_session_ends_within_a_capsule() {
    for from in [Side::Client, Side::Server] {
        ends(V::CapsuleTruncated, from, |pair, id| {
            let bytes = capsule(CapsuleType::WT_MAX_DATA, &varint(1 << 40));
            pair.send(from, id.stream_id(), &data(&bytes[..6]));
            pair.send_fin(from, id.stream_id());
        });
    }
}

#[test]
fn more_than_was_granted_ends_the_session() {
    for from in [Side::Client, Side::Server] {
        for dir in [Dir::Bi, Dir::Uni] {
            ends(V::StreamLimitExceeded, from, |pair, id| {
                for _ in 0..1001 {
                    let header = match dir {
                        Dir::Bi => crate::stream_header::encode_bi(id),
                        Dir::Uni => crate::stream_header::encode_uni(id),
                    };
                    pair.send_on_new(from, dir, header.as_slice());
                }
            });
        }
        ends(V::DataLimitExceeded, from, |pair, id| {
            pair.end(!from).reading = false;
            let header = crate::stream_header::encode_uni(id);
            let stream = pair.send_on_new(from, Dir::Uni, header.as_slice());
            for _ in 0..4 {
                pair.send(from, stream, &[0; 1 << 20]);
            }
            pair.send(from, stream, &[0]);
        });
    }
}

/// The session has ended by its capsule; what follows resets the stream.
#[test]
fn bytes_after_the_close_capsule_reset_the_stream() {
    let mut close = Vec::new();
    Capsule::Close(CloseSession::new(9, "end")).encode(&mut close);
    let more = [&close[..], &[0x21]].concat();
    let inside = data(&more);
    let behind = [&data(&close)[..], &data(&[0x21, 0x00])].concat();
    for from in [Side::Client, Side::Server] {
        for bytes in [&inside[..], &behind] {
            let mut pair = Pair::new();
            let id = pair.connect();
            let beside = pair.connect();
            // The sender's own view of the stream's end does not matter here.
            pair.net.hold(from, id.stream_id());
            for byte in bytes {
                pair.send(from, id.stream_id(), &[*byte]);
            }
            pair.drive();
            let expected = SessionEnd::Closed {
                by: crate::Initiator::Peer,
                code: 9,
                reason: "end".to_owned(),
            };
            assert_eq!(pair.end(!from).ending(id), Some(expected));
            let aborted = SessionEnd::Aborted(V::DataAfterClose.code());
            assert_eq!(pair.end(from).ending(id), Some(aborted));
            assert_eq!(V::DataAfterClose.scope(), Scope::Stream);
            pair.assert_works(beside);
        }
    }
}

#[test]
fn bad_requests_end_alone() {
    let mut pair = Pair::new();
    let beside = pair.connect();
    let mut block = BytesMut::new();
    let fields = [(&b":method"[..], &b"CONNECT"[..]), (b"Bad", b"name")];
    qpack::encode_fields(fields, &mut block);
    let mut bytes = Vec::new();
    frame::encode_headers(&block, &mut bytes);
    for (bytes, violation) in [
        (&bytes[..], V::MalformedMessage),
        (&[], V::RequestIncomplete),
    ] {
        let id = pair.send_on_new(Side::Client, Dir::Bi, bytes);
        pair.send_fin(Side::Client, id);
        pair.drive();
        let refusal = pair.server.refusals().pop();
        assert_eq!(refusal, Some(Refusal::Violation(violation)));
        assert_eq!(violation.scope(), Scope::Stream);
    }
    pair.assert_works(beside);
}

#[test]
fn bad_answers_fail_their_request_alone() {
    let mut pair = Pair::new();
    let beside = pair.connect();
    pair.server.answer = None;
    // `:status` alone and nothing at all.
    for (bytes, violation) in [
        (&[0x01, 0x02, 0x00, 0x00][..], V::MalformedMessage),
        (&[], V::RequestIncomplete),
    ] {
        let id = pair.request();
        pair.send(Side::Server, id.stream_id(), bytes);
        pair.send_fin(Side::Server, id.stream_id());
        pair.drive();
        let error = pair.client.failure(id);
        assert!(
            matches!(error, Some(ConnectError::Violation(v)) if v == violation),
            "{error:?}"
        );
        assert_eq!(pair.server.count(|e| matches!(e, Event::Failed { .. })), 1);
        pair.server.events.clear();
    }
    pair.assert_works(beside);
}
