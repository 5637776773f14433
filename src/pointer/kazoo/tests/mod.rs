//! KAZOO's forms, as written by Erlang (`tests/fixtures/kazoo`), and invalid ones.

mod forms;
mod term;
mod today;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::{AttachmentAddress, KazooEntry, Object, read};

const AT: AttachmentAddress<'_> = AttachmentAddress {
    database: "account/12/34/567890abcdef1234567890abcdef-202011",
    document: "doc",
    attachment: "call.mp3",
};

/// Returns the fixtures by name.
fn fixtures() -> BTreeMap<String, String> {
    let files = std::fs::read_dir(folder()).unwrap().map(|file| file.unwrap().path());
    let terms = files.filter(|path| path.extension().is_some_and(|extension| extension == "base64"));
    let named = |path: PathBuf| {
        (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap())
    };
    terms.map(named).collect()
}

fn expected() -> Map<String, Value> {
    let text = std::fs::read_to_string(folder().join("expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kazoo")
}

fn object(handler: &Value) -> Object {
    match read(handler, AT) {
        Some(KazooEntry::Object(object)) => object,
        other => panic!("{handler}: {other:?}"),
    }
}

fn url(module: &str, url: &str) -> Object {
    object(&json!({ module: { "url": url } }))
}
