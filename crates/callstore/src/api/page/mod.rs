//! The page at `/`: HTML, style and one script, served from the program itself.

use http::Response;
use stowage_http::body::Body;
use stowage_http::page;

/// The file at a path, if the page has one there.
pub(super) fn file(path: &str) -> Option<Response<Body>> {
    let (media_type, text) = match path {
        "/" => ("text/html; charset=utf-8", include_str!("index.html")),
        "/page.css" => ("text/css; charset=utf-8", include_str!("page.css")),
        "/page.js" => ("text/javascript; charset=utf-8", include_str!("page.js")),
        "/openapi.json" => ("application/json", include_str!("openapi.json")),
        _ => return None,
    };
    Some(page::file(media_type, text))
}
