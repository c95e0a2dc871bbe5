//! The decoders: no panic, one answer however the bytes are cut, bounded memory, and what was decoded encodes and
//! decodes to itself.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};
use wt_proto::{
    Dialect, DialectSet, Dir, ErrorCode, InitialLimits, ProtocolViolation, SessionId, StreamId,
    VarInt,
    capsule::{Capsule, CapsuleReader, MAX_DATAGRAM},
    coding::{Decode, Encode},
    dialect,
    frame::{self, Frame, FrameReader},
    head::{RequestHead, ResponseHead, UpgradeToken},
    qpack::{self, DecoderStreamReader, EncoderStreamReader},
    settings::Settings,
    stream_header::{self, BiHeader, UniHeader},
};

use super::input::{Input, pieces};

/// More than any input here decodes to.
const PLENTY: usize = 1 << 24;

/// The largest head of a frame or capsule: two integers of eight bytes.
const HEAD: usize = 16;

/// Integers, ids and error codes.
pub(crate) fn varint(data: &[u8]) {
    let mut rest = data;
    loop {
        let before = rest;
        let Ok(value) = VarInt::decode(&mut rest) else {
            assert_eq!(rest, before, "an unfinished integer was consumed");
            return;
        };
        let mut encoded = Vec::new();
        value.encode(&mut encoded);
        assert_eq!(encoded.len(), value.size());
        assert!(encoded.len() <= before.len() - rest.len());
        assert_eq!(VarInt::decode(&mut &encoded[..]), Ok(value));

        let id = StreamId::from(value);
        assert_eq!(
            StreamId::from_parts(id.initiator(), id.dir(), id.index()),
            Some(id)
        );
        if let Ok(session) = SessionId::try_from(value) {
            assert_eq!(SessionId::from_quarter(session.quarter()), Some(session));
        }
        let code = ErrorCode::from(value);
        if let Some(application) = code.to_application() {
            assert_eq!(ErrorCode::from_application(application), code);
        }
        let mapped = ErrorCode::from_application(value.get() as u32);
        assert_eq!(mapped.to_application(), Some(value.get() as u32));
        assert!(!frame::is_grease(mapped.get()));
    }
}

/// What a reader said of a stream.
type Story<T> = (Vec<T>, Option<ProtocolViolation>, bool);

fn read_frames(chunks: &[Bytes], max: usize) -> Story<Frame> {
    let mut reader = FrameReader::new(max);
    let mut story: Vec<Frame> = Vec::new();
    for chunk in chunks {
        reader.push(chunk.clone());
        loop {
            match reader.next() {
                Ok(Some(frame)) => match (story.last_mut(), frame) {
                    // A frame may come in pieces: put them together again.
                    (Some(Frame::Data(told)), Frame::Data(more)) => {
                        *told = [&told[..], &more[..]].concat().into();
                    }
                    (_, frame) => story.push(frame),
                },
                Ok(None) => break,
                Err(violation) => {
                    assert_eq!(reader.next(), Err(violation), "a violation was forgotten");
                    assert!(!reader.at_boundary());
                    return (story, Some(violation), false);
                }
            }
        }
        let most = max.max(VarInt::MAX.size()) + HEAD;
        assert!(reader.buffered() <= most, "keeps {}", reader.buffered());
    }
    (story, None, reader.at_boundary())
}

/// Frames, in one piece and in many.
pub(crate) fn frames(data: &[u8]) {
    let mut input = Input::new(data);
    let max = [0, 64, 1024, 16_384][input.below(4)];
    let seed = input.byte();
    let data = input.rest();
    let whole = read_frames(&[Bytes::copy_from_slice(data)], max);
    assert_eq!(whole, read_frames(&pieces(data, seed), max));
    for frame in &whole.0 {
        let mut encoded = BytesMut::new();
        match frame {
            Frame::Data(payload) => frame::encode_data(payload, &mut encoded),
            Frame::Headers(block) => frame::encode_headers(block, &mut encoded),
            Frame::GoAway(id) => frame::encode_goaway(*id, &mut encoded),
            _ => continue,
        }
        let again = read_frames(&[encoded.freeze()], max);
        assert_eq!(again, (vec![frame.clone()], None, true));
    }
}

/// The payload of SETTINGS, and what follows from it.
pub(crate) fn settings(data: &[u8]) {
    let Ok(settings) = Settings::decode(data) else {
        return;
    };
    let mut encoded = Vec::new();
    settings.encode(&mut encoded);
    assert!(encoded.len() <= data.len());
    assert_eq!(Settings::decode(&encoded).as_ref(), Ok(&settings));

    let offered = DialectSet::offered(&settings);
    if let Some(chosen) = dialect::client_choice(DialectSet::ALL, &settings) {
        assert!(offered.contains(chosen));
    }
    for token in [UpgradeToken::WebTransport, UpgradeToken::WebTransportH3] {
        for draft02 in [false, true] {
            let chosen = dialect::server_choice(DialectSet::ALL, &settings, token, draft02);
            // The newest dialect is taken with the old token too, where nothing else is offered.
            let fits = |chosen: Dialect| {
                chosen.token() == token || (chosen == Dialect::Draft15 && offered.contains(chosen))
            };
            assert!(chosen.is_none_or(fits));
        }
    }
    let _ = InitialLimits::from_settings(&settings).wants_flow_control();
    let _ = dialect::Quirks::detect(&settings);
}

/// Reads a header from every prefix: it is known from some length on, and then for good.
fn header<T: PartialEq + std::fmt::Debug>(
    data: &[u8],
    decode: fn(&mut &[u8]) -> Result<Option<T>, ProtocolViolation>,
) -> Result<Option<T>, ProtocolViolation> {
    let mut known: Option<(Result<Option<T>, ProtocolViolation>, usize)> = None;
    for end in 0..=data.len().min(2 * stream_header::Header::MAX_LEN) {
        let mut rest = &data[..end];
        let answer = decode(&mut rest);
        let used = end - rest.len();
        match &known {
            Some(known) => assert_eq!((&answer, used), (&known.0, known.1)),
            None if answer == Ok(None) => assert_eq!(used, 0),
            None => known = Some((answer, used)),
        }
    }
    known.map_or(Ok(None), |known| known.0)
}

/// The first bytes of streams.
pub(crate) fn stream_header(data: &[u8]) {
    if let Ok(Some(UniHeader::WebTransport(session))) = header(data, UniHeader::decode) {
        let encoded = stream_header::encode_uni(session);
        let again = UniHeader::decode(&mut encoded.as_slice());
        assert_eq!(again, Ok(Some(UniHeader::WebTransport(session))));
    }
    if let Ok(Some(BiHeader::WebTransport(session))) = header(data, BiHeader::decode) {
        let encoded = stream_header::encode_bi(session);
        let again = BiHeader::decode(&mut encoded.as_slice());
        assert_eq!(again, Ok(Some(BiHeader::WebTransport(session))));
    }
}

/// Datagrams.
pub(crate) fn datagram(data: &[u8]) {
    use wt_proto::datagram::{decode, header, header_len};
    if let Ok((session, payload)) = decode(Bytes::copy_from_slice(data)) {
        assert!(data.ends_with(&payload));
        let encoded = header(session);
        assert_eq!(encoded.as_slice().len(), header_len(session));
        let again = [encoded.as_slice(), &payload].concat();
        assert_eq!(decode(again.into()), Ok((session, payload)));
    }
}

fn read_capsules(chunks: &[Bytes]) -> Story<Capsule> {
    let mut reader = CapsuleReader::new();
    let mut story = Vec::new();
    for chunk in chunks {
        reader.push(chunk.clone());
        loop {
            match reader.next() {
                Ok(Some(capsule)) => {
                    let closed = matches!(story.last(), Some(Capsule::Close(_)));
                    assert!(!closed, "a capsule after the last one");
                    story.push(capsule);
                }
                Ok(None) => break,
                Err(violation) => {
                    assert_eq!(reader.next(), Err(violation), "a violation was forgotten");
                    return (story, Some(violation), false);
                }
            }
        }
        if matches!(story.last(), Some(Capsule::Close(_))) {
            assert!(reader.at_boundary(), "bytes after the close capsule passed");
        }
        let most = MAX_DATAGRAM + HEAD;
        assert!(reader.buffered() <= most, "keeps {}", reader.buffered());
    }
    (story, None, reader.at_boundary())
}

/// Capsules, in one piece and in many.
pub(crate) fn capsules(data: &[u8]) {
    let mut input = Input::new(data);
    let seed = input.byte();
    let data = input.rest();
    let whole = read_capsules(&[Bytes::copy_from_slice(data)]);
    assert_eq!(whole, read_capsules(&pieces(data, seed)));
    for capsule in &whole.0 {
        let mut encoded = BytesMut::new();
        capsule.encode(&mut encoded);
        let again = read_capsules(&[encoded.freeze()]);
        assert_eq!(again, (vec![capsule.clone()], None, true));
    }
}

/// Field sections.
pub(crate) fn field_section(data: &[u8]) {
    let mut input = Input::new(data);
    let max = [0, 100, 1000, 65_536][input.below(4)];
    let Ok(fields) = qpack::decode_fields(input.rest(), max) else {
        return;
    };
    assert!(fields.iter().map(qpack::Field::size).sum::<usize>() <= max);
    let mut encoded = BytesMut::new();
    qpack::encode_fields(
        fields.iter().map(|f| (&f.name[..], &f.value[..])),
        &mut encoded,
    );
    assert_eq!(qpack::decode_fields(&encoded, max), Ok(fields));
}

/// Takes a field section as it is, or makes one of lines `name=value`.
fn section(data: &[u8]) -> Vec<u8> {
    let mut input = Input::new(data);
    if input.bit() {
        return input.rest().to_vec();
    }
    let lines = input.rest().split(|byte| *byte == b'\n');
    let fields = lines.map(|line| {
        let split = line.iter().position(|byte| *byte == b'=');
        let (name, value) = line.split_at(split.unwrap_or(line.len()));
        (name, value.get(1..).unwrap_or_default())
    });
    let mut encoded = BytesMut::new();
    qpack::encode_fields(fields, &mut encoded);
    encoded.to_vec()
}

/// Heads of requests.
pub(crate) fn request_head(data: &[u8]) {
    let Ok(head) = RequestHead::decode(&section(data), PLENTY) else {
        return;
    };
    if head.upgrade_token().is_some() {
        assert!(head.authority.is_some() && head.path.is_some());
    }
    let mut encoded = BytesMut::new();
    head.encode(&mut encoded);
    assert_eq!(RequestHead::decode(&encoded, PLENTY), Ok(head));
}

/// Heads of responses.
pub(crate) fn response_head(data: &[u8]) {
    let Ok(head) = ResponseHead::decode(&section(data), PLENTY) else {
        return;
    };
    let mut encoded = BytesMut::new();
    head.encode(&mut encoded);
    assert_eq!(ResponseHead::decode(&encoded, PLENTY), Ok(head));
}

/// The fields of subprotocols, one line each.
pub(crate) fn subprotocol(data: &[u8]) {
    use wt_proto::subprotocol::*;
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(WT_AVAILABLE_PROTOCOLS, value.clone());
            headers.append(WT_PROTOCOL, value);
        }
    }
    let offer = decode_offer(&headers);
    if !offer.is_empty() {
        let encoded = encode_offer(&offer).expect("what was decoded can be encoded");
        let again = HeaderMap::from_iter([(WT_AVAILABLE_PROTOCOLS, encoded)]);
        assert_eq!(decode_offer(&again), offer);
    }
    if let Some(choice) = decode_choice(&headers) {
        let encoded = encode_choice(&choice).expect("what was decoded can be encoded");
        let again = HeaderMap::from_iter([(WT_PROTOCOL, encoded)]);
        assert_eq!(decode_choice(&again), Some(choice));
    }
}

/// The encoder and the decoder stream of QPACK, in one piece and in many.
pub(crate) fn qpack_streams(data: &[u8]) {
    let mut input = Input::new(data);
    let seed = input.byte();
    let data = input.rest();
    let chunks = pieces(data, seed);

    let mut encoder = EncoderStreamReader::new();
    let cut = chunks.iter().try_for_each(|chunk| encoder.push(chunk));
    assert_eq!(cut, EncoderStreamReader::new().push(data));

    let mut decoder = DecoderStreamReader::new();
    let cut = chunks.iter().try_for_each(|chunk| decoder.push(chunk));
    assert_eq!(cut, DecoderStreamReader::new().push(data));
}

/// Both directions, for loops.
pub(crate) const DIRS: [Dir; 2] = [Dir::Bi, Dir::Uni];
