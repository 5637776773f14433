//! Access to signing for `benches/micro.rs`.

use std::time::SystemTime;

use http::{HeaderMap, Method};
use stowage_http::target::Origin;

use super::sign::{Payload, Signer};
use crate::Result;
use crate::engine::api::Call;

/// Signs requests with one key pair.
#[derive(Debug)]
pub struct Signing(Signer);

impl Signing {
    /// Signs for `us-east-1`.
    #[must_use]
    pub fn new(key: &str, secret: &str) -> Self {
        Self(Signer::new(key.to_owned(), secret.to_owned()))
    }

    /// Returns the headers of a PUT of a body with this SHA-256.
    ///
    /// # Errors
    /// If the target is invalid in a request.
    pub fn put(&self, origin: &Origin, target: &str, sha256: [u8; 32]) -> Result<HeaderMap> {
        let mut call = Call::new(Method::PUT, origin, target);
        self.0.sign(&mut call, "us-east-1", Payload::Sha256(sha256), SystemTime::now())?;
        Ok(call.headers)
    }
}
