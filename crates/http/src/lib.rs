//! HTTP as the gateway needs it, on top of hyper: bodies, the one client, headers and ranges.

pub mod base64;
pub mod body;
pub mod client;
pub mod connect;
pub mod egress;
mod fault;
pub mod forwarded;
pub mod gzip;
pub mod headers;
pub mod heard;
pub mod idle;
pub mod method;
pub mod multipart;
pub mod pooling;
mod progress;
pub mod race;
pub mod range;
pub mod stall;
pub mod target;
pub mod tee;
pub mod trust;
pub mod written;
