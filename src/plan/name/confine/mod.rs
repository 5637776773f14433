//! Keeping a composed name inside its folder.
//!
//! Percent-encoding takes care of slashes and control characters in what comes from a document. What it leaves is
//! refused:
//!
//! - a segment that is `.` or `..` (dots are unreserved, so an attachment `..` encodes to itself), also where the plan
//!   author wrote the dots as `%2E`, and also in a query, which servers like to use as a path;
//! - an absolute path, `//`, and control characters, which only the plan author's text can bring;
//! - for `http`, what becomes such a segment once decoded: web servers undo `%2F` before they resolve `..`
//!   (nginx does), so `..%2Fx` would leave the folder there. In a key or a file name `%2F` is literal text.
//!
//! In an `http` name, what follows a `?` is a query: `//` in it is no path (`?from=https://...`).

use percent_encoding::percent_decode_str;

#[cfg(test)]
mod tests;

/// Says what is wrong with a name, if anything.
pub(super) fn confine(handler: &str, name: &str) -> Result<(), &'static str> {
    let is_http = handler == "http";
    let path = match name.split_once('?') {
        Some((path, _)) if is_http => path,
        _ => name,
    };
    if name.chars().any(char::is_control) {
        return Err("a control character");
    }
    if path.starts_with('/') {
        return Err("a slash before it");
    }
    if path.contains("//") {
        return Err("an empty folder in it");
    }
    let delimiters = ['/', '\\', '?', '=', '&', '#'];
    let decoded_leaves = || {
        let decoded = percent_decode_str(name).decode_utf8_lossy();
        decoded.split(['/', '\\']).any(is_dots)
    };
    if name.split(delimiters).any(is_dots) || (is_http && decoded_leaves()) {
        return Err("a segment of dots in it, which leads out of its folder");
    }
    Ok(())
}

/// `.` and `..`, also with their dots encoded, as the URL standard reads them.
fn is_dots(segment: &str) -> bool {
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    matches!(plain.as_str(), "." | "..")
}
