//! What is asked for: the databases, the plan and the documents of the bench.

use serde_json::{Value, json};

use crate::roles::Role;
use crate::s3;
use crate::support::{azurite, ftp};

/// An account's month database, as its name stands in a target.
pub(crate) const DATABASE: &str = "account%2F12%2F34%2F567890abcdef1234567890abcdef-202011";
/// Its account.
pub(crate) const ACCOUNT: &str = "1234567890abcdef1234567890abcdef";
/// The database of the plans: the default of `plans.database`.
pub(crate) const PLANS: &str = "system_data";
/// The database of OAuth documents: the default of `plans.auth_database`.
pub(crate) const AUTH: &str = "system_auth";
/// The name of every attachment.
pub(crate) const ATTACHMENT: &str = "recording.mp3";
/// The client's account: Basic `bench:bench`.
pub(crate) const AUTHORIZATION: &str = "Authorization: Basic YmVuY2g6YmVuY2g=\r\n";
/// The directory of the `file` backend, below `storage.file_root`.
const DIRECTORY: &str = "recordings";

/// A backend that the plan names: a row of [`BACKENDS`].
#[derive(Debug)]
pub(crate) struct Backend {
    /// Its handler.
    pub(crate) name: &'static str,
    /// The server behind it, where it has one.
    pub(crate) server: Option<Role>,
    /// Its settings, with the port of that server on loopback.
    settings: fn(u16) -> Value,
    /// Keys of `storage.endpoints` that are to name that server, one for each address that it listens on.
    pub(crate) endpoints: &'static [&'static str],
    /// Whether many uploads at once are measured too.
    pub(crate) many: bool,
}

/// Every backend that is measured.
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

/// The backend of the rows that are about speed.
pub(crate) static HTTP: &Backend = &BACKENDS[0];

/// The grant of backends that want OAuth: a token that lasts.
pub(crate) const GRANT: &str = "grant";
/// That token.
pub(crate) const TOKEN: &str = "a-token-of-the-bench";

impl Backend {
    /// The `pvt_type` whose documents keep their attachments there.
    fn document_type(&self) -> String {
        format!("bench_{}", self.name)
    }

    /// A document whose attachments go there, before it has any.
    pub(crate) fn document(&self) -> Value {
        json!({
            "pvt_type": self.document_type(),
            "pvt_account_id": ACCOUNT,
            "pvt_created": 63_773_740_800_u64,
            "name": "a recording of the bench",
        })
    }
}

/// The document of [`GRANT`].
pub(crate) fn grant() -> Value {
    json!({"pvt_static_token": {"token_type": "Bearer", "access_token": TOKEN}})
}

/// The `system` plan: the attachments of the backend's documents go to it. The port is that of its server.
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

/// The target of a document.
pub(crate) fn document_target(database: &str, id: &str) -> String {
    format!("/{database}/{id}")
}

/// The target of a document's attachment.
pub(crate) fn attachment_target(id: &str) -> String {
    format!("/{DATABASE}/{id}/{ATTACHMENT}")
}
