//! The bench's databases, plan and documents.

use serde_json::{Value, json};

use crate::roles::Role;
use crate::s3;
use crate::support::{azurite, ftp};

/// An account's month database, encoded as in a target.
pub(crate) const DATABASE: &str = "account%2F12%2F34%2F567890abcdef1234567890abcdef-202011";
/// The account of the month database.
pub(crate) const ACCOUNT: &str = "1234567890abcdef1234567890abcdef";
/// The plans database: the default of `plans.database`.
pub(crate) const PLANS: &str = "system_data";
/// The database of OAuth documents: the default of `plans.auth_database`.
pub(crate) const AUTH: &str = "system_auth";
/// The name of every attachment.
pub(crate) const ATTACHMENT: &str = "recording.mp3";
/// The client's account: Basic `bench:bench`.
pub(crate) const AUTHORIZATION: &str = "Authorization: Basic YmVuY2g6YmVuY2g=\r\n";
/// The directory of the `file` backend, below `storage.file_root`.
const DIRECTORY: &str = "recordings";

/// A backend named by the plan: a row of [`BACKENDS`].
#[derive(Debug)]
pub(crate) struct Backend {
    /// The handler.
    pub(crate) name: &'static str,
    /// The server behind the backend, if it needs one.
    pub(crate) server: Option<Role>,
    /// The settings, given that server's port on loopback.
    settings: fn(u16) -> Value,
    /// The keys of `storage.endpoints` for that server, one for each address that it listens on.
    pub(crate) endpoints: &'static [&'static str],
    /// Whether many concurrent uploads are measured too.
    pub(crate) many: bool,
}

/// The measured backends.
pub(crate) static BACKENDS: [Backend; 9] = [
    Backend {
        name: "http",
        server: Some(Role::Objects),
        settings: |port| json!({"url": format!("http://127.0.0.1:{port}/store")}),
        endpoints: &[],
        many: true,
    },
    Backend {
        name: "s3",
        server: Some(Role::S3),
        settings: |port| {
            json!({
                "bucket": s3::BUCKET, "key": s3::KEY, "secret": s3::SECRET, "scheme": "http",
                "host": "127.0.0.1", "port": port, "bucket_access_method": "path",
            })
        },
        endpoints: &[],
        many: true,
    },
    Backend { name: "file", server: None, settings: |_| json!({"directory": DIRECTORY}), endpoints: &[], many: false },
    Backend {
        name: "azure",
        server: Some(Role::Azure),
        settings: |port| {
            json!({
                "host": "127.0.0.1", "port": port, "scheme": "http", "account": azurite::ACCOUNT, "key": azurite::KEY,
                "container": azurite::FIRST,
            })
        },
        endpoints: &[],
        many: false,
    },
    Backend {
        name: "google_storage",
        server: Some(Role::Google),
        settings: |_| json!({"bucket": s3::BUCKET, "oauth_doc_id": GRANT}),
        endpoints: &["google_api"],
        many: false,
    },
    Backend {
        name: "google_drive",
        server: Some(Role::Google),
        settings: |_| json!({"oauth_doc_id": GRANT}),
        endpoints: &["google_api"],
        many: false,
    },
    Backend {
        name: "dropbox",
        server: Some(Role::Dropbox),
        settings: |_| json!({"oauth_doc_id": GRANT}),
        endpoints: &["dropbox_content", "dropbox_api"],
        many: false,
    },
    Backend {
        name: "onedrive",
        server: Some(Role::Graph),
        settings: |_| json!({"oauth_doc_id": GRANT}),
        endpoints: &["graph"],
        many: false,
    },
    Backend {
        name: "ftp",
        server: Some(Role::Ftp),
        settings: |port| {
            let password = ftp::PASSWORD.replace('@', "%40");
            json!({"url": format!("ftp://{}:{password}@127.0.0.1:{port}/{DIRECTORY}", ftp::USER)})
        },
        endpoints: &[],
        many: false,
    },
];

/// The backend for the rows about speed.
pub(crate) static HTTP: &Backend = &BACKENDS[0];

/// The grant of backends that use OAuth: a token that does not expire.
pub(crate) const GRANT: &str = "grant";
/// The token of the grant.
pub(crate) const TOKEN: &str = "a-token-of-the-bench";

impl Backend {
    /// Returns the `pvt_type` whose documents store their attachments in this backend.
    fn document_type(&self) -> String {
        format!("bench_{}", self.name)
    }

    /// Returns a new document whose attachments go to this backend.
    pub(crate) fn document(&self) -> Value {
        json!({
            "pvt_type": self.document_type(),
            "pvt_account_id": ACCOUNT,
            "pvt_created": 63_773_740_800_u64,
            "name": "a recording of the bench",
        })
    }
}

/// Returns the document of [`GRANT`].
pub(crate) fn grant() -> Value {
    json!({"pvt_static_token": {"token_type": "Bearer", "access_token": TOKEN}})
}

/// Returns the `system` plan, which sends the attachments of the backend's documents to it. `port` is its server's.
pub(crate) fn plan(backend: &Backend, port: u16) -> Value {
    let id = "00000000000000000000000000000001";
    let entry = json!({"handler": backend.name, "name": "bench", "settings": (backend.settings)(port)});
    json!({
        "_id": "system",
        "pvt_type": "storage",
        "attachments": { id: entry },
        "plan": {"modb": {"types": { backend.document_type(): {"attachments": {"handler": id}} }}},
    })
}

/// Returns the target of a document.
pub(crate) fn document_target(database: &str, id: &str) -> String {
    format!("/{database}/{id}")
}

/// Returns the target of a document's attachment.
pub(crate) fn attachment_target(id: &str) -> String {
    format!("/{DATABASE}/{id}/{ATTACHMENT}")
}
