//! CouchDB's OAuth documents: a user's grant, the app it was given to, and the app's provider and key.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use stowage_base::secret::Secret;

use super::grant::{Grant, GrantDocuments, REFRESH_TOKEN, ServerKey, missing};
use super::{Key, Subject};
use crate::error::{Error, Kind, Result};

/// The database of OAuth documents (`system_auth` by default), as needed for tokens.
pub trait OAuthDocuments: fmt::Debug + Send + Sync + 'static {
    /// Reads a document; `None` if it does not exist.
    ///
    /// Fails with `Passing` if CouchDB is unreachable, else as [`Error::answered`] classifies its response.
    fn read<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Document>>>;

    /// Reads an attachment stored in CouchDB itself; `None` if it does not exist. Fails like [`read`](Self::read).
    fn attachment<'a>(&'a self, id: &'a str, name: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>>>;

    /// Sets a member of the document at this revision. If the document has changed meanwhile, it is left unchanged, which counts as
    /// success. Fails like [`read`](Self::read).
    fn set<'a>(&'a self, id: &'a str, rev: &'a str, member: &'a str, text: &'a Secret) -> BoxFuture<'a, Result<()>>;
}

/// The members of an OAuth document, some of which are secrets.
#[derive(Clone, Default)]
pub struct Document(Map<String, Value>);

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Document")
    }
}

impl From<Map<String, Value>> for Document {
    fn from(members: Map<String, Value>) -> Self {
        Self(members)
    }
}

impl Document {
    pub(super) fn value(&self, member: &str) -> Option<&Value> {
        self.0.get(member)
    }

    pub(super) fn text(&self, member: &str) -> Option<String> {
        self.value(member)?.as_str().map(str::to_owned)
    }

    /// Returns the revision; empty if there is none.
    pub(super) fn rev(&self) -> String {
        self.text("_rev").unwrap_or_default()
    }

    pub(super) fn members(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(member, value)| (member.as_str(), value))
    }
}

/// Reads the documents of grants.
#[derive(Debug)]
pub(super) struct Documents(pub(super) Arc<dyn OAuthDocuments>);

impl Documents {
    /// Reads the documents of a grant.
    ///
    /// # Errors
    /// `Settings` for missing or incomplete documents, `Passing` if CouchDB is unreachable.
    pub(super) async fn read(&self, key: &Key) -> Result<Grant> {
        let (auth, app_id) = match &key.subject {
            Subject::App(id) => (None, id.clone()),
            Subject::Document(id) => {
                let auth = self.document(id).await?;
                if auth.value("pvt_static_token").is_some_and(|token| !token.is_null()) {
                    return Grant::fixed(id, &auth);
                }
                let app =
                    auth.text("pvt_app_id").filter(|id| !id.is_empty()).ok_or_else(|| missing(id, "pvt_app_id"))?;
                (Some((id.clone(), auth)), app)
            }
        };
        let app = self.document(&app_id).await?;
        let mut documents = GrantDocuments { auth, app, app_id, provider: None, server_key: None };
        if let Some(id) = documents.app.text("pvt_auth_provider").filter(|id| !id.is_empty()) {
            documents.provider = Some((id.clone(), self.document(&id).await?));
        }
        if let Some(id) = documents.wants_key() {
            documents.server_key = Some(self.server_key(id).await?);
        }
        documents.grant(key)
    }

    /// Saves a rotated refresh token (RFC 6749 section 6) in place of the old one, unless that document has changed meanwhile. The
    /// newest token is also kept in memory, so a failure is only logged.
    pub(super) async fn keep(&self, grant: &Grant, refresh_token: &Secret) {
        let Some((id, rev)) = grant.document() else { return };
        if let Err(error) = self.0.set(id, rev, REFRESH_TOKEN, refresh_token).await {
            tracing::warn!(document = %id, %error, "the new refresh token of a grant cannot be saved: it lasts until the next start");
        }
    }

    /// Reads a service account's key, which KAZOO stores as an attachment.
    async fn server_key(&self, id: String) -> Result<ServerKey> {
        let rev = self.document(&id).await?.rev();
        let pem = self.0.attachment(&id, KEY_FILE).await?;
        let pem = pem.ok_or_else(|| missing(&id, "attachment private_key.pem in CouchDB"))?;
        Ok(ServerKey { id, rev, pem: Secret::new(String::from_utf8(pem).unwrap_or_default()) })
    }

    /// Returns whether a document exists.
    ///
    /// # Errors
    /// If CouchDB's response is inconclusive, or there is none.
    pub(super) async fn knows(&self, id: &str) -> Result<bool> {
        Ok(self.undeleted(id).await?.is_some())
    }

    async fn document(&self, id: &str) -> Result<Document> {
        let absent = || Error::new(Kind::Settings, format!("OAuth document {id} does not exist"));
        self.undeleted(id).await?.ok_or_else(absent)
    }

    /// Reads a document that KAZOO has not marked as deleted.
    async fn undeleted(&self, id: &str) -> Result<Option<Document>> {
        let document = self.0.read(id).await?;
        Ok(document.filter(|document| document.value("pvt_deleted") != Some(&Value::Bool(true))))
    }
}

/// Name chosen by KAZOO.
const KEY_FILE: &str = "private_key.pem";
