//! Feeds arbitrary bytes as the Erlang term of a KAZOO pointer, for each handler that writes such terms. The decoder must accept or reject them
//! quickly and must not panic.
//!
//! The corpus starts from the terms in `tests/fixtures/kazoo`.

#![no_main]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use stowage::pointer::kazoo::{AttachmentAddress, read};

const MEMBERS: [(&str, &str); 6] = [
    ("kz_att_s3", "S3"),
    ("kz_att_azure", "azure"),
    ("kz_att_google_storage", "gstorage"),
    ("kz_att_google_drive", "gdrive"),
    ("kz_att_dropbox", "dropbox"),
    ("kz_att_onedrive", "onedrive"),
];

fuzz_target!(|bytes: &[u8]| {
    let at = AttachmentAddress { database: "account/ab/cd/ef-202011", document: "doc", attachment: "call.mp3" };
    let term = STANDARD.encode(bytes);
    for (module, member) in MEMBERS {
        let _ = read(&json!({ module: { member: term } }), at);
    }
});
