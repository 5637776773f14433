//! `[storage]`: what holds for every storage.

use std::path::PathBuf;

use stowage_base::reader::Section;
use stowage_storage::{Endpoints, Options};
use url::Url;

/// Reads the section.
pub(super) fn read(mut section: Section<'_>) -> Options {
    let root = section.text("file_root", "");
    let mut inner = section.section("endpoints");
    let endpoints = Endpoints {
        google_api: endpoint(&mut inner, "google_api", "https://www.googleapis.com"),
        google_oauth: endpoint(&mut inner, "google_oauth", ""),
        dropbox_content: endpoint(&mut inner, "dropbox_content", "https://content.dropboxapi.com"),
        dropbox_api: endpoint(&mut inner, "dropbox_api", "https://api.dropboxapi.com"),
        graph: endpoint(&mut inner, "graph", "https://graph.microsoft.com"),
    };
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
