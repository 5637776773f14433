//! HTTP for the gateway, on top of hyper: bodies, the client, the listener, headers and ranges.

mod bodies;
mod message;
mod outgoing;
pub mod page;
pub mod server;

pub use bodies::{base64, body, gzip, heard, idle, inspect, multipart, tee, written};
pub use message::{forwarded, headers, method, range, target};
pub use outgoing::{client, connect, egress, identity, pooling, race, stall, talker, trust};
