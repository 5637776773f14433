//! Keeps a composed name inside its folder.
//!
//! Percent-encoding neutralises slashes and control characters in values from a document. The remaining hazards are refused:
//!
//! - a `.` or `..` segment (dots are unreserved, so an attachment `..` encodes to itself), also if the plan author wrote the dots as `%2E`, and also
//!   in a query, which servers often use as a path;
//! - an absolute path, `//`, and control characters, which only the plan author's text can contain;
//! - for `http`, anything that decodes to such a segment: web servers decode `%2F` before they resolve `..` (nginx does), so `..%2Fx` would leave the
//!   folder. In a key or a file name, `%2F` is literal text.
//!
//! In an `http` name, everything after a `?` is a query, in which `//` is no path (`?from=https://...`).

use percent_encoding::percent_decode_str;

#[cfg(test)]
mod tests;

/// Returns an error that says what is wrong with the name.
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

/// Returns whether a segment is `.` or `..`, also with encoded dots, as the URL standard interprets them.
fn is_dots(segment: &str) -> bool {
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    matches!(plain.as_str(), "." | "..")
}
