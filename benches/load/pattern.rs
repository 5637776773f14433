//! The bytes of every recording in the bench: generated alike by sender, server and checker, none of which stores any.

use std::sync::LazyLock;

/// The period of the pattern in bytes.
const BLOCK: usize = 1024 * 1024;

static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    // Xorshift64 (Marsaglia 2003): bytes that neither compress nor look like base64.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(BLOCK);
    while bytes.len() < BLOCK {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
});

/// Returns the recording of this length in bytes, in slices of up to 1 MiB.
pub(crate) fn slices(length: u64) -> impl Iterator<Item = &'static [u8]> {
    let block: &'static [u8] = &BYTES;
    (0..length).step_by(BLOCK).map(move |start| {
        let left = usize::try_from(length - start).unwrap_or(BLOCK);
        &block[..left.min(BLOCK)]
    })
}

/// Compares what arrives with the pattern, piece by piece.
#[derive(Debug, Default)]
pub(crate) struct Check {
    offset: usize,
    wrong: bool,
}

impl Check {
    pub(crate) fn piece(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            let expected = &BYTES[self.offset..];
            let length = piece.len().min(expected.len());
            self.wrong |= piece[..length] != expected[..length];
            self.offset = (self.offset + length) % BLOCK;
            piece = &piece[length..];
        }
    }

    pub(crate) const fn is_right(&self) -> bool {
        !self.wrong
    }
}
