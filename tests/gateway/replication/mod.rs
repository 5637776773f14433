//! Replication through the gateway: attachments are the same byte for byte, and a pointer never leaves its own storage's plan.

mod clients;
mod content;
mod ends;
mod protocol;
