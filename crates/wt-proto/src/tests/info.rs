//! What the public interface tells of sessions, ids and codes.

use super::{Pair, pair::Setup};
use crate::{
    Counter, Dialect, Dir, ErrorCode, SessionId, SessionState, Side, StreamId, VarInt, datagram,
};

#[test]
fn a_session_tells_its_counters() {
    let mut pair = Setup::new().limits(1000, 10).ready();
    let id = pair.connect();
    pair.server.reading = false;
    pair.at(Side::Client, |end, net| {
        let stream = end.open_stream(net, id, Dir::Uni).unwrap();
        end.write(net, stream, &[0; 300]);
        end.open_stream(net, id, Dir::Bi).unwrap();
    });
    pair.drive();
    let client = pair.client.conn.session_info(id).unwrap();
    let server = pair.server.conn.session_info(id).unwrap();
    assert_eq!((client.id, client.state), (id, SessionState::Established));
    assert_eq!((client.dialect, &client.path[..]), (Dialect::Draft15, "/"));
    let (mine, theirs) = (client.flow.unwrap(), server.flow.unwrap());
    let data = Counter {
        local_max: 1000,
        local_used: 300,
        peer_max: 1000,
        peer_used: 0,
    };
    assert_eq!(mine.data, data);
    assert_eq!((theirs.data.peer_used, theirs.data.local_used), (300, 0));
    assert_eq!(
        (mine.streams_uni.local_used, theirs.streams_uni.peer_used),
        (1, 1)
    );
    assert_eq!(
        (mine.streams_bidi.local_used, theirs.streams_bidi.peer_used),
        (1, 1)
    );
    assert_eq!(client.to_string(), "session 0 established (draft-15/16) /");
    let fields: Vec<_> = client.fields().collect();
    assert_eq!(fields.len(), 16);
    for (name, value) in [
        ("session_id", "0"),
        ("state", "established"),
        ("path", "/"),
        ("local_max_data", "1000"),
        ("local_data_sent", "300"),
        ("peer_max_streams_uni", "10"),
        ("local_streams_uni_opened", "1"),
        ("peer_streams_bidi_opened", "0"),
    ] {
        assert!(
            fields.contains(&(name, value.to_owned())),
            "{name} in {fields:?}"
        );
    }
    assert_eq!(
        pair.client.conn.session_info(SessionId::new(4).unwrap()),
        None
    );
}

#[test]
fn without_flow_control_there_are_no_counters() {
    let mut pair = Setup::new().dialect(Dialect::Draft02).ready();
    let id = pair.connect();
    let info = pair.client.conn.session_info(id).unwrap();
    assert_eq!(info.flow, None);
    assert_eq!(info.fields().count(), 4);
}

#[test]
fn datagrams_go_by_session_id() {
    let mut pair = Pair::new();
    let ids = [pair.connect(), pair.connect()];
    for id in ids {
        pair.at(Side::Server, |end, net| end.send_datagram(net, id, b"hi"));
    }
    pair.drive();
    assert_eq!(pair.client.datagrams, ids.map(|id| (id, "hi".into())));
    assert_eq!(datagram::header(ids[0]).as_slice(), [0]);
    assert_eq!(datagram::header(ids[1]).as_slice(), [1]);
}

#[test]
fn stream_ids_say_who_may_do_what() {
    for (id, initiator, dir) in [
        (0, Side::Client, Dir::Bi),
        (1, Side::Server, Dir::Bi),
        (2, Side::Client, Dir::Uni),
        (15, Side::Server, Dir::Uni),
    ] {
        let stream = StreamId::new(id).unwrap();
        assert_eq!((stream.initiator(), stream.dir()), (initiator, dir));
        for side in [Side::Client, Side::Server] {
            let both = dir == Dir::Bi;
            assert_eq!(stream.can_send(side), both || side == initiator);
            assert_eq!(stream.can_receive(side), both || side != initiator);
        }
    }
    assert!(StreamId::new((1 << 62) - 1).is_some());
    assert!(StreamId::new(1 << 62).is_none());
    assert!(SessionId::new(8).is_some());
    assert!(SessionId::new(9).is_none());
}

#[test]
fn codes_of_the_application_go_there_and_back() {
    for (code, wire) in [
        (0, 0x52e4_a40f_a8db),
        (1, 0x52e4_a40f_a8dc),
        (42, 0x52e4_a40f_a906),
        (0xffff_ffff, 0x52e5_ac98_3162),
    ] {
        let mapped = ErrorCode::from_application(code);
        assert_eq!(mapped.get(), wire);
        assert_eq!(mapped.to_application(), Some(code));
    }
    // Outside the range there is no application code, and beyond 62 bits no code.
    assert_eq!(ErrorCode::WT_SESSION_GONE.to_application(), None);
    assert_eq!(ErrorCode::new(1 << 62), None);
    assert_eq!(VarInt::from(ErrorCode::H3_NO_ERROR).get(), 0x100);
}

/// The table "Protocol" of the constants of PyWebTransport 0.8.
#[test]
fn protocol_constants_have_their_values() {
    use crate::{
        capsule::CapsuleType as C, frame::FrameType as F, settings::Setting as S,
        stream_header::StreamType as T,
    };
    for (value, expected) in [
        (Dir::Bi as u64, 0x0),
        (Dir::Uni as u64, 0x2),
        (C::WT_CLOSE_SESSION.get(), 0x2843),
        (C::WT_DRAIN_SESSION.get(), 0x78ae),
        (F::DATA.get(), 0x0),
        (F::HEADERS.get(), 0x1),
        (F::CANCEL_PUSH.get(), 0x3),
        (F::SETTINGS.get(), 0x4),
        (F::PUSH_PROMISE.get(), 0x5),
        (F::GOAWAY.get(), 0x7),
        (F::MAX_PUSH_ID.get(), 0xd),
        (F::WT_STREAM.get(), 0x41),
        (T::CONTROL.get(), 0x0),
        (T::PUSH.get(), 0x1),
        (T::QPACK_ENCODER.get(), 0x2),
        (T::QPACK_DECODER.get(), 0x3),
        (T::WEBTRANSPORT.get(), 0x54),
        (StreamId::MAX.get(), (1 << 62) - 1),
        (u64::from(datagram::MAX_DATAGRAM_SIZE), 65535),
        (S::SETTINGS_ENABLE_CONNECT_PROTOCOL.id(), 0x8),
        (S::SETTINGS_H3_DATAGRAM.id(), 0x33),
        (S::SETTINGS_QPACK_BLOCKED_STREAMS.id(), 0x7),
        (S::SETTINGS_QPACK_MAX_TABLE_CAPACITY.id(), 0x1),
        (S::SETTINGS_WT_INITIAL_MAX_DATA.id(), 0x2b61),
        (S::SETTINGS_WT_INITIAL_MAX_STREAMS_BIDI.id(), 0x2b65),
        (S::SETTINGS_WT_INITIAL_MAX_STREAMS_UNI.id(), 0x2b64),
        (S::SETTINGS_WT_MAX_SESSIONS.id(), 0x14e9_cd29),
        (C::WT_MAX_DATA.get(), 0x190b_4d3d),
        (C::WT_MAX_STREAMS_BIDI.get(), 0x190b_4d3f),
        (C::WT_MAX_STREAMS_UNI.get(), 0x190b_4d40),
        (C::WT_DATA_BLOCKED.get(), 0x190b_4d41),
        (C::WT_STREAMS_BLOCKED_BIDI.get(), 0x190b_4d43),
        (C::WT_STREAMS_BLOCKED_UNI.get(), 0x190b_4d44),
    ] {
        assert_eq!(value, expected);
    }
}

/// The table "ErrorCodes" of the constants of PyWebTransport 0.8.
#[test]
fn error_codes_have_their_values() {
    use crate::code::application as a;
    let application = [
        a::NO_ERROR,
        a::INTERNAL_ERROR,
        a::CONNECTION_REFUSED,
        a::FLOW_CONTROL_ERROR,
        a::STREAM_LIMIT_ERROR,
        a::STREAM_STATE_ERROR,
        a::FINAL_SIZE_ERROR,
        a::FRAME_ENCODING_ERROR,
        a::TRANSPORT_PARAMETER_ERROR,
        a::CONNECTION_ID_LIMIT_ERROR,
        a::PROTOCOL_VIOLATION,
        a::INVALID_TOKEN,
        a::APPLICATION_ERROR,
        a::CRYPTO_BUFFER_EXCEEDED,
        a::KEY_UPDATE_ERROR,
        a::AEAD_LIMIT_REACHED,
        a::NO_VIABLE_PATH,
    ];
    assert!(application.into_iter().eq(0..=0x10));
    let more = [
        a::APP_CONNECTION_TIMEOUT,
        a::APP_AUTHENTICATION_FAILED,
        a::APP_PERMISSION_DENIED,
        a::APP_RESOURCE_EXHAUSTED,
        a::APP_INVALID_REQUEST,
        a::APP_SERVICE_UNAVAILABLE,
    ];
    assert!(more.into_iter().eq(0x1000..=0x1005));
    for (code, value) in [
        (ErrorCode::H3_DATAGRAM_ERROR, 0x33),
        (ErrorCode::H3_NO_ERROR, 0x100),
        (ErrorCode::H3_GENERAL_PROTOCOL_ERROR, 0x101),
        (ErrorCode::H3_INTERNAL_ERROR, 0x102),
        (ErrorCode::H3_STREAM_CREATION_ERROR, 0x103),
        (ErrorCode::H3_CLOSED_CRITICAL_STREAM, 0x104),
        (ErrorCode::H3_FRAME_UNEXPECTED, 0x105),
        (ErrorCode::H3_FRAME_ERROR, 0x106),
        (ErrorCode::H3_EXCESSIVE_LOAD, 0x107),
        (ErrorCode::H3_ID_ERROR, 0x108),
        (ErrorCode::H3_SETTINGS_ERROR, 0x109),
        (ErrorCode::H3_MISSING_SETTINGS, 0x10a),
        (ErrorCode::H3_REQUEST_REJECTED, 0x10b),
        (ErrorCode::H3_REQUEST_CANCELLED, 0x10c),
        (ErrorCode::H3_REQUEST_INCOMPLETE, 0x10d),
        (ErrorCode::H3_MESSAGE_ERROR, 0x10e),
        (ErrorCode::H3_CONNECT_ERROR, 0x10f),
        (ErrorCode::H3_VERSION_FALLBACK, 0x110),
        (ErrorCode::QPACK_DECOMPRESSION_FAILED, 0x200),
        (ErrorCode::QPACK_ENCODER_STREAM_ERROR, 0x201),
        (ErrorCode::QPACK_DECODER_STREAM_ERROR, 0x202),
        (ErrorCode::WT_SESSION_GONE, 0x170d_7b68),
        (ErrorCode::WT_BUFFERED_STREAM_REJECTED, 0x3994_bd84),
        (ErrorCode::WT_FLOW_CONTROL_ERROR, 0x045d_4487),
        (ErrorCode::WT_ALPN_ERROR, 0x0817_b3dd),
        (ErrorCode::WT_REQUIREMENTS_NOT_MET, 0x212c_0d48),
        (ErrorCode::WT_APPLICATION_ERROR_FIRST, 0x52e4_a40f_a8db),
    ] {
        assert_eq!(code.get(), value, "{code}");
    }
}
