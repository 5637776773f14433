//! The web page at `/`: HTML, style sheet and one script, embedded in the program.

use http::Response;
use stowage_http::body::Body;
use stowage_http::page;

/// Returns the page's file at a path, if there is one.
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
