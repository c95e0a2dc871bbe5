//! What the project's fuzz targets need. No part of the API.

use bytes::Bytes;

use crate::frame::Decoder;

/// Takes frames with a head of six bytes, a type and a length, out of pieces: the type, the length, and the payload
/// unless it is longer than `max`, when it is skipped. Says also whether the stream may end there.
#[must_use]
pub fn frames(pieces: &[Bytes], max: usize) -> (Vec<(u16, u32, Option<Bytes>)>, bool) {
    let mut decoder = Decoder::<6>::default();
    let mut frames = Vec::new();
    for piece in pieces {
        decoder.push(piece.clone());
        loop {
            if !decoder.in_payload() {
                let Some([id0, id1, len @ ..]) = decoder.head() else {
                    break;
                };
                let (kind, len) = (u16::from_be_bytes([id0, id1]), u32::from_be_bytes(len));
                frames.push((kind, len, None));
                let size = usize::try_from(len).unwrap_or(usize::MAX);
                if size > max {
                    decoder.skip(size);
                    continue;
                }
                decoder.expect(size);
            }
            let Some(payload) = decoder.payload() else {
                break;
            };
            if let Some((_, _, last)) = frames.last_mut() {
                *last = Some(payload);
            }
        }
    }
    (frames, decoder.at_boundary())
}
