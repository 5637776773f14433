//! Single steps of the drivers, as `benches/micro.rs` measures them. Nothing else needs them.

pub use super::http::measured::{base64, multipart};
pub use super::s3::measured::Signing;
