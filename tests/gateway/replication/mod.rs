//! Replication through the gateway: attachments arrive byte for byte, and no pointer leaves the storage that it points at.

mod clients;
mod content;
mod ends;
mod protocol;
