//! Taking decisions out of a target's bytes.

use bytes::Bytes;

/// What is left of a target's bytes. Numbers are 0 when there are none left.
#[derive(Debug)]
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) const fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    pub(crate) fn bit(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    pub(crate) fn number(&mut self) -> u64 {
        let bytes = [self.byte(), self.byte()];
        u64::from(u16::from_be_bytes(bytes))
    }

    /// Up to as many bytes as the first one says.
    pub(crate) fn piece(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte()).min(self.0.len());
        let (piece, rest) = self.0.split_at(len);
        self.0 = rest;
        piece
    }

    pub(crate) fn bytes(&mut self) -> Bytes {
        Bytes::copy_from_slice(self.piece())
    }

    /// A short text.
    pub(crate) fn text(&mut self) -> String {
        String::from_utf8_lossy(self.piece()).into_owned()
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

/// Cuts `data` into pieces whose lengths follow from `seed`.
pub(crate) fn pieces(mut data: &[u8], seed: u8) -> Vec<Bytes> {
    let mut state = u32::from(seed) * 2 + 1;
    let mut out = Vec::new();
    while !data.is_empty() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Mostly short, as that is where item boundaries are.
        let len = if state & 0x8000 == 0 {
            (state >> 24) as usize % 4
        } else {
            (state >> 16) as usize % 300
        };
        let (piece, rest) = data.split_at(len.clamp(1, data.len()));
        out.push(Bytes::copy_from_slice(piece));
        data = rest;
    }
    out
}
