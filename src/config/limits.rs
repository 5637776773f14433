//! `[limits]`: resource limits.

use stowage_base::reader::Section;

/// `[limits]`.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The largest attachment in bytes, inclusive.
    pub attachment_bytes: u64,
    /// The largest document, in bytes, that is read to look for pointers.
    pub document_bytes: u64,
    /// The limit on concurrent client connections.
    pub connections: usize,
    /// The limit on concurrent requests, counted until the last byte of their responses.
    pub in_flight: usize,
    /// The limit on concurrent operations on one storage, and on those that wait for their turn.
    pub storage_in_flight: usize,
    /// The memory for the chunks of all uploads together, in bytes.
    pub upload_buffer_bytes: u64,
    /// The largest request or response head in bytes.
    pub header_bytes: usize,
}

impl Limits {
    /// Returns the part of `upload_buffer_bytes` that uploads wait for. The rest is for bytes that are kept for a fallback, for which no upload waits.
    #[must_use]
    pub const fn waited_for_bytes(&self) -> u64 {
        self.upload_buffer_bytes - self.spare_bytes()
    }

    /// Returns the part of `upload_buffer_bytes` for bytes that are kept for a fallback.
    #[must_use]
    pub const fn spare_bytes(&self) -> u64 {
        self.upload_buffer_bytes / 4
    }
}

/// Reads the section.
pub(super) fn read(mut section: Section<'_>) -> Limits {
    let limits = Limits {
        attachment_bytes: section.bytes("attachment_bytes", 1024 * MIB),
        document_bytes: section.bytes("document_bytes", 8 * MIB),
        connections: section.count("connections", 10_000),
        in_flight: section.count("in_flight", 1024),
        storage_in_flight: section.count("storage_in_flight", 256),
        upload_buffer_bytes: section.bytes("upload_buffer_bytes", 256 * MIB),
        header_bytes: usize::try_from(section.bytes("header_bytes", 64 << 10)).unwrap_or(usize::MAX),
    };
    if limits.upload_buffer_bytes < 16 * MIB {
        section
            .problem("upload_buffer_bytes", "must be at least \"16 MiB\": one upload needs up to two chunks of 5 MiB");
    }
    if limits.header_bytes < 8192 {
        section.problem("header_bytes", "must be at least \"8 KiB\"");
    }
    section.finish();
    limits
}

const MIB: u64 = 1 << 20;
