//! Feeds arbitrary bytes as a JSON document, in chunks of arbitrary size. The scanner must find each member that a parser finds, and must not
//! panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use stowage_couch::{Finder, Text};

const NAME: &[&str] = &["_attachments"];

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = (usize::from(input.0).max(1), input.1);
    let finds = |text| {
        let mut finder = Finder::new(text, NAME);
        bytes.chunks(size).any(|piece| finder.finds(piece))
    };
    let (document, bulk) = (finds(Text::Document), finds(Text::Bulk));
    let Ok(parsed) = serde_json::from_slice::<Value>(bytes) else { return };
    let has = |value: &Value| value.get("_attachments").is_some();
    // A parser keeps only the last of two members with one name, so the scanner may find more members than the parser.
    assert!(document || !has(&parsed));
    let lists = parsed.as_object().into_iter().flat_map(|members| members.values()).filter_map(Value::as_array);
    assert!(bulk || !lists.flatten().any(has));
});
