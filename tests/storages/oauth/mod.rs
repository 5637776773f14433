//! Tokens of vendors that want OAuth, against the embedded store and a strict token endpoint.

use crate::conformance::around;

mod documents;
mod failures;
mod refresh;
mod revoked;
mod rotation;
mod service;
mod world;
