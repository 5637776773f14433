//! Static files of the web pages that the programs serve themselves, locked down so that nothing from elsewhere can run in them, and the
//! style and script that all pages share.

use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue};

use crate::body::Body;

/// Stylesheet of every page: light and dark, desktop and phone.
pub const STYLE: &str = include_str!("base.css");
/// Script with what every page uses: elements, texts, and tables whose unchanged rows keep the keyboard focus.
pub const DOM: &str = include_str!("dom.js");

/// Builds the response with this file, with a policy under which nothing from elsewhere can run. The extension of `path` gives its
/// media type; without one it is HTML.
#[must_use]
pub fn file(path: &str, text: &'static str) -> Response<Body> {
    let media_type = match path.rsplit_once('.') {
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "json")) => "application/json",
        _ => "text/html; charset=utf-8",
    };
    let mut response = Response::new(Body::full(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// No third-party content, nothing inline, and no strings that become HTML.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";
