//! The page at `/`: HTML, style and one script, served from the program itself.

use http::Response;
use stowage_http::body::Body;
use stowage_http::page;

/// The file at a path, if the page has one there.
pub(super) fn file(path: &str) -> Option<Response<Body>> {
    let text = match path {
        "/" => include_str!("index.html"),
        "/base.css" => page::STYLE,
        "/page.css" => include_str!("page.css"),
        "/dom.js" => page::DOM,
        "/page.js" => include_str!("page.js"),
        "/openapi.json" => include_str!("openapi.json"),
        _ => return None,
    };
    Some(page::file(path, text))
}
