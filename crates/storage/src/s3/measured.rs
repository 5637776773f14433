//! Signing alone, for `benches/micro.rs`.

use std::time::SystemTime;

use http::{HeaderMap, Method, Request};
use stowage_http::body::Body;
use stowage_http::target::Origin;

use super::sign::{Payload, Signer};
use crate::Result;

/// Signs requests with one pair of keys.
#[derive(Debug)]
pub struct Signing(Signer);

impl Signing {
    /// For `us-east-1`.
    #[must_use]
    pub fn new(key: &str, secret: &str) -> Self {
        Self(Signer::new(key.to_owned(), secret.to_owned()))
    }

    /// The head of a PUT of a body with this SHA-256.
    ///
    /// # Errors
    /// A target that cannot stand in a request.
    pub fn put(&self, origin: &Origin, target: &str, sha256: [u8; 32]) -> Result<Request<Body>> {
        let place = (origin, target, "us-east-1");
        self.0.request(&Method::PUT, place, &HeaderMap::new(), Payload::Sha256(sha256), SystemTime::now())
    }
}
