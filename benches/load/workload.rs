//! What is asked for: the databases, the plan and the documents of the bench.

use serde_json::{Value, json};

use crate::s3;

/// An account's month database, as its name stands in a target.
pub(crate) const DATABASE: &str = "account%2F12%2F34%2F567890abcdef1234567890abcdef-202011";
/// The database of the plans: the default of `plans.database`.
pub(crate) const PLANS: &str = "system_data";
/// The document that the upstream answers without looking.
pub(crate) const SMALL: &str = "202011-small";
/// The length of that document in bytes.
const SMALL_BYTES: usize = 500;
/// The name of every attachment.
pub(crate) const ATTACHMENT: &str = "recording.mp3";
/// The client's account: Basic `bench:bench`.
pub(crate) const AUTHORIZATION: &str = "Authorization: Basic YmVuY2g6YmVuY2g=\r\n";
/// The directory of the `file` backend, below `storage.file_root`.
const DIRECTORY: &str = "recordings";

/// A backend that the plan names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Http,
    S3,
    File,
}

impl Backend {
    pub(crate) const ALL: [Self; 3] = [Self::Http, Self::S3, Self::File];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::S3 => "s3",
            Self::File => "file",
        }
    }

    /// Its id in the plan's `attachments`.
    const fn id(self) -> &'static str {
        match self {
            Self::Http => "00000000000000000000000000000001",
            Self::S3 => "00000000000000000000000000000002",
            Self::File => "00000000000000000000000000000003",
        }
    }

    /// The `pvt_type` whose documents keep their attachments there.
    fn document_type(self) -> String {
        format!("bench_{}", self.name())
    }

    /// A document whose attachments go there, before it has any.
    pub(crate) fn document(self) -> Value {
        json!({
            "pvt_type": self.document_type(),
            "pvt_account_id": "1234567890abcdef1234567890abcdef",
            "pvt_created": 63_773_740_800_u64,
            "name": "a recording of the bench",
        })
    }
}

/// The `system` plan: one backend for each document type. Ports are those of the servers on loopback.
pub(crate) fn plan(objects_port: u16, s3_port: u16) -> Value {
    let types: serde_json::Map<String, Value> = Backend::ALL
        .into_iter()
        .map(|backend| (backend.document_type(), json!({"attachments": {"handler": backend.id()}})))
        .collect();
    json!({
        "_id": "system",
        "pvt_type": "storage",
        "attachments": {
            Backend::Http.id(): {"handler": "http", "name": "bench http", "settings": {
                "url": format!("http://127.0.0.1:{objects_port}/store"),
            }},
            Backend::S3.id(): {"handler": "s3", "name": "bench s3", "settings": {
                "bucket": s3::BUCKET, "key": s3::KEY, "secret": s3::SECRET, "scheme": "http",
                "host": "127.0.0.1", "port": s3_port, "bucket_access_method": "path",
            }},
            Backend::File.id(): {"handler": "file", "name": "bench file", "settings": {"directory": DIRECTORY}},
        },
        "plan": {"modb": {"types": types}},
    })
}

/// The target of a document.
pub(crate) fn document_target(database: &str, id: &str) -> String {
    format!("/{database}/{id}")
}

/// The target of a document's attachment.
pub(crate) fn attachment_target(id: &str) -> String {
    format!("/{DATABASE}/{id}/{ATTACHMENT}")
}

/// The small document: 500 bytes of JSON and the line feed that CouchDB ends it with.
pub(crate) fn small_document() -> String {
    let start = format!(
        "{{\"_id\":\"{SMALL}\",\"_rev\":\"1-f364bf5ee6a1e79139fbc8e5c4e01fec\",\"pvt_type\":\"cdr\",\
         \"pvt_account_id\":\"1234567890abcdef1234567890abcdef\",\"call_direction\":\"inbound\",\
         \"duration_seconds\":\"17\",\"hangup_cause\":\"NORMAL_CLEARING\",\"note\":\""
    );
    let end = "\"}\n";
    let filler = "x".repeat(SMALL_BYTES.saturating_sub(start.len() + end.len()));
    format!("{start}{filler}{end}")
}
