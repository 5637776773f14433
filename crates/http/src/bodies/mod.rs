//! Bodies: the one type, and what passes through them.

pub mod base64;
pub mod body;
pub mod gzip;
pub mod heard;
pub mod idle;
pub mod inspect;
pub mod multipart;
pub mod tee;
pub mod written;
