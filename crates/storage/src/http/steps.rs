//! Access to body forms for `benches/micro.rs`.

use stowage_http::body::Body;

use super::form::{Form, Subtype};
use crate::Object;

/// Sends a body after its document, as `multipart/mixed`.
#[must_use]
pub fn multipart(object: &Object, body: Body) -> Body {
    Form { multipart: Some(Subtype::Mixed), base64: false }.of(object).wrap(body)
}
