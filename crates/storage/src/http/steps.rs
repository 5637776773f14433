//! The forms of a body alone, for `benches/micro.rs`.

use stowage_http::base64::encoded;
use stowage_http::body::Body;

use super::form::{Form, Subtype};
use crate::Object;

/// A body in base64.
#[must_use]
pub fn base64(body: Body) -> Body {
    encoded(body)
}

/// A body behind its document, as `multipart/mixed`.
#[must_use]
pub fn multipart(object: &Object, body: Body) -> Body {
    Form { multipart: Some(Subtype::Mixed), base64: false }.of(object).wrap(body)
}
