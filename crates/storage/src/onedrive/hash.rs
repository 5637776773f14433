//! `quickXorHash`: 160 bits; each byte is xored in 11 bits further on, and finally the length over the last 8 bytes
//! (`learn.microsoft.com/onedrive/developer/code-snippets/quickxorhash`). It detects accidental damage, not tampering.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Incremental hasher.
#[derive(Debug, Clone)]
pub(super) struct QuickXor {
    /// 160 steps of 11 bits cycle through the 160 bits, so bytes at a distance of 160 are xored at the same position.
    folded: [u8; PERIOD],
    length: u64,
}

impl Default for QuickXor {
    fn default() -> Self {
        Self { folded: [0; PERIOD], length: 0 }
    }
}

impl QuickXor {
    pub(super) fn update(&mut self, data: &[u8]) {
        let at = usize::try_from(self.length % PERIOD as u64).unwrap_or_default();
        let (head, rest) = data.split_at(data.len().min(PERIOD - at));
        xor(self.folded.iter_mut().skip(at), head);
        for piece in rest.chunks(PERIOD) {
            xor(self.folded.iter_mut(), piece);
        }
        self.length += data.len() as u64;
    }

    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// Returns the hash.
    pub(super) fn finish(&self) -> [u8; BYTES] {
        let mut hash = [0; BYTES];
        for (at, byte) in self.folded.iter().enumerate() {
            let bit = at * SHIFT % (8 * BYTES);
            let [low, high] = (u16::from(*byte) << (bit % 8)).to_le_bytes();
            for (place, part) in [(bit / 8, low), ((bit / 8 + 1) % BYTES, high)] {
                xor(hash.iter_mut().skip(place), &[part]);
            }
        }
        xor(hash.iter_mut().skip(BYTES - 8), &self.length.to_le_bytes());
        hash
    }
}

/// Parses a hash as written by Graph; `None` if it is malformed.
pub(super) fn read(text: &str) -> Option<[u8; BYTES]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

fn xor<'a>(cells: impl Iterator<Item = &'a mut u8>, bytes: &[u8]) {
    for (cell, byte) in cells.zip(bytes) {
        *cell ^= byte;
    }
}

pub(super) const BYTES: usize = 20;
/// In bits.
const SHIFT: usize = 11;
const PERIOD: usize = 160;

#[cfg(test)]
#[expect(clippy::result_large_err, reason = "the error type of the property tests is proptest's own")]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::{QuickXor, read};

    fn hash(pieces: &[&[u8]]) -> [u8; 20] {
        let mut hash = QuickXor::default();
        pieces.iter().for_each(|piece| hash.update(piece));
        hash.finish()
    }

    /// Inputs and hashes from the public test suites of several clients (rclone's among them).
    const KNOWN: [(&str, &str); 8] = [
        ("", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ("Sg==", "SgAAAAAAAAAAAAAAAQAAAAAAAAA="),
        ("tbQ=", "taAFAAAAAAAAAAAAAgAAAAAAAAA="),
        ("XoJ1AsoR4fDYJrDqYs4=", "XhBEHQSgjAiEAx7YPgEs1CEGZwA="),
        ("XBV6YKU9V7yMakZnFIxIkuU=", "HbplHsBQih5cgReMQYMRzkABRiA="),
        ("T6LYJIfDh81JrAK309H2JMJTXis=", "zBTHrspn3mEcohlJdIUAbjGNaNg="),
        (
            "Mb7EGva2rEE5fENDL85P+BsapHEEjv2/siVhKjvAQe02feExVOQSkfmuYzU/kTF1MaKjPmKF/w+cbvwfdWL8aQ==",
            "n1anP5NfvD4XDYWIeRPW3ZkPv1Y=",
        ),
        (
            "w0LGhqU1WXFbdavqDE4kAjEzWLGGzmTNikzqnsiXHx2KRReKVTxkv27u3UcEz9+lbMvYl4xFf2Z4aE1xRBBNd1Ke5C0zToSaYw5o4B/7X\
             99nKK2/XaUX1byLow2aju2XJl2OpKpJg+tSJ2fmjIJTkfuYUz574dFX6/VXxSxwGH/xQEAKS5TCsBK3CwnuG1p5SAsQq3gGVozDWyjEBcW\
             DMdy8/AIFrj/y03Lfc/RNRCQTAfZbnf2QwV7sluw4fH3XJr07UoD0YqN+7XZzidtrwqMY26fpLZnyZjnBEt1FAZWO7RnKG5asg8xRk9YaD\
             dedXdQSJAOy6bWEWlABj+tVAigBxavaluUH8LOj+yfCFldJjNLdi90fVHkUD/m4Mr5OtmupNMXPwuG3EQlqWUVpQoYpUYKLsk7a5Mvg6UF\
             kiH596y5IbJEVCI1Kb3D1",
            "e3+wo77iKcILiZegnzyUNcjCdoQ=",
        ),
    ];

    #[test]
    fn hashes_are_those_of_other_clients() {
        for (bytes, expected) in KNOWN {
            let bytes = STANDARD.decode(bytes).unwrap();
            assert_eq!(STANDARD.encode(hash(&[&bytes])), expected, "{} bytes", bytes.len());
            assert_eq!(read(expected), Some(hash(&[&bytes])));
        }
        assert_eq!(read("F422D82993320D7941A18F4BB00C8A0ECE902525"), None, "some drives wrote hex");
    }

    /// Bit by bit, following the vendor's description.
    fn plain(data: &[u8]) -> [u8; 20] {
        let mut bits = [false; 160];
        for (at, byte) in data.iter().enumerate() {
            for bit in 0..8 {
                bits[(at * 11 + bit) % 160] ^= byte & (1 << bit) != 0;
            }
        }
        let mut hash = [0; 20];
        for (at, bit) in bits.iter().enumerate() {
            hash[at / 8] |= u8::from(*bit) << (at % 8);
        }
        for (at, byte) in (data.len() as u64).to_le_bytes().iter().enumerate() {
            hash[12 + at] ^= byte;
        }
        hash
    }

    proptest! {
        #[test]
        fn pieces_make_the_same_hash_as_the_whole(data in prop::collection::vec(any::<u8>(), 0..1000), cut in 0..1000_usize) {
            let (first, second) = data.split_at(cut.min(data.len()));
            prop_assert_eq!(hash(&[first, second]), plain(&data));
        }
    }
}
