//! Bodies: the body type, and its adapters.

pub mod base64;
pub mod body;
pub mod gzip;
pub mod heard;
pub mod idle;
pub mod inspect;
pub mod multipart;
pub mod tee;
pub mod written;
