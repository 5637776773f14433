//! Access to body forms for `benches/micro.rs`.

use stowage_http::base64::encoded;
use stowage_http::body::Body;

use super::form::{Form, Subtype};
use crate::Object;

/// Encodes a body as base64.
#[must_use]
pub fn base64(body: Body) -> Body {
    encoded(body)
}

/// Sends a body after its document, as `multipart/mixed`.
#[must_use]
pub fn multipart(object: &Object, body: Body) -> Body {
    Form { multipart: Some(Subtype::Mixed), base64: false }.of(object).wrap(body)
}
