//! Tokens for vendors with OAuth, with the embedded store and a strict token endpoint.

use crate::conformance::around;

mod documents;
mod failures;
mod refresh;
mod revoked;
mod rotation;
mod service;
mod world;
