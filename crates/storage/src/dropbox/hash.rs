//! Dropbox's content hash: SHA-256 of the SHA-256s of blocks of 4 MiB (`dropbox.com/developers/reference/content-hash`).

use sha2::{Digest, Sha256};

/// Incremental hasher.
#[derive(Debug, Clone, Default)]
pub(super) struct ContentHash {
    blocks: Sha256,
    block: Sha256,
    /// Bytes in the current partial block.
    filled: usize,
}

impl ContentHash {
    pub(super) fn update(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let (now, later) = data.split_at(data.len().min(BLOCK_BYTES - self.filled));
            self.block.update(now);
            self.filled += now.len();
            if self.filled == BLOCK_BYTES {
                self.close_block();
            }
            data = later;
        }
    }

    /// Returns the hash in hex, as Dropbox writes it.
    pub(super) fn finish(mut self) -> String {
        if self.filled > 0 {
            self.close_block();
        }
        hex::encode(self.blocks.finalize())
    }

    fn close_block(&mut self) {
        let block = std::mem::take(&mut self.block).finalize();
        self.blocks.update(block);
        self.filled = 0;
    }
}

const BLOCK_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::ContentHash;

    fn hash(data: &[u8], step: usize) -> String {
        let mut hash = ContentHash::default();
        data.chunks(step).for_each(|piece| hash.update(piece));
        hash.finish()
    }

    /// Hashes from the public test suite of another client (rdrop2, `test-08-rdrop2-content-hash.R`).
    #[test]
    fn hashes_are_those_of_another_client() {
        const BLOCK: usize = 4 << 20;
        let counting: Vec<u8> = (0..=255).cycle().take(7 * BLOCK / 2).collect();
        let one_more = [&counting[..BLOCK], &[255]].concat();
        for (data, expected) in [
            (&b"hello rdrop2"[..], "1aa2b7623dfff520c4abdc1227d10bc4e229b74005b66b3458345830e556f4de"),
            (&counting[..BLOCK], "894bbb52d1212d6bcbe9967f1a2169138c4d4af0c8dfbaeae86cd1d3f0c03faf"),
            (&one_more, "9149387a91f71c7c2149b8427d15526b71c1a38d6c6f999ad71486a2ce788d57"),
            (&counting, "f61d3ae93fa4f7646d37949fc0885141bf682faa9a130896b93459c650335d0f"),
        ] {
            for step in [5 << 20, 4 << 20, 1_000_003] {
                assert_eq!(hash(data, step), expected, "{} bytes by {step}", data.len());
            }
        }
    }

    /// RFC 6234's SHA-256 of nothing: without blocks, it is the hash of no hashes.
    #[test]
    fn nothing_has_a_hash() {
        assert_eq!(hash(&[], 1), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
