//! `[storage]`: settings that apply to every storage.

use std::path::PathBuf;

use stowage_base::reader::Section;
use stowage_storage::{Options, endpoints};
use url::Url;

/// Reads the section.
pub(super) fn read(mut section: Section<'_>) -> Options {
    let root = section.text("file_root", "");
    let mut inner = section.section("endpoints");
    let endpoints = endpoints().into_iter();
    let endpoints = endpoints.map(|(key, default)| (key, endpoint(&mut inner, key, default))).collect();
    inner.finish();
    section.finish();
    Options { file_root: (!root.is_empty()).then(|| PathBuf::from(root)), endpoints }
}

fn endpoint(section: &mut Section<'_>, name: &str, default: &str) -> String {
    let text = section.text(name, default);
    let sound = text.is_empty() && default.is_empty()
        || Url::parse(&text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    if !sound {
        section.problem(name, "must be an http or https URL");
    }
    text.trim_end_matches('/').to_owned()
}
