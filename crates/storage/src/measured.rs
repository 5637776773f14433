//! Single steps of the drivers, as `benches/micro.rs` and `tests/storages/oauth` want them. Nothing else needs them.

pub use super::http::measured::{base64, multipart};
pub use super::oauth::measured::GrantedCalls;
pub use super::s3::measured::Signing;
