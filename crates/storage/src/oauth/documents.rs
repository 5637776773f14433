//! CouchDB's OAuth documents: a user's grant, the app that it was given to, the app's provider and key.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use stowage_base::secret::Secret;

use super::grant::{Grant, GrantDocuments, REFRESH_TOKEN, ServerKey, missing};
use super::{Key, Subject};
use crate::error::{Error, Kind, Result};

/// The database of OAuth documents (`system_auth` by default), as tokens need it.
pub trait OAuthDocuments: fmt::Debug + Send + Sync + 'static {
    /// A document; `None` where there is none.
    ///
    /// Fails with `Passing` where CouchDB cannot be asked, else as [`Error::answered`] judges its answer.
    fn read<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Document>>>;

    /// An attachment that CouchDB itself keeps; `None` where there is none. Fails as [`read`](Self::read).
    fn attachment<'a>(&'a self, id: &'a str, name: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>>>;

    /// Sets a member of the document as it was at this revision. One that has changed meanwhile stays as it is, which is
    /// success. Fails as [`read`](Self::read).
    fn set<'a>(&'a self, id: &'a str, rev: &'a str, member: &'a str, text: &'a Secret) -> BoxFuture<'a, Result<()>>;
}

/// The members of an OAuth document; there are secrets among them.
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

    /// The revision; empty where it says none.
    pub(super) fn rev(&self) -> String {
        self.text("_rev").unwrap_or_default()
    }

    pub(super) fn members(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(member, value)| (member.as_str(), value))
    }
}

/// Reads what there is about a grant.
#[derive(Debug)]
pub(super) struct Documents(pub(super) Arc<dyn OAuthDocuments>);

impl Documents {
    /// Reads the documents of a grant.
    ///
    /// # Errors
    /// `Settings` for documents that are missing or do not say what they have to, `Passing` where CouchDB cannot be asked.
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

    /// Puts a refresh token that came in place of an older one (RFC 6749 section 6) where the older one stands, unless
    /// that document has changed meanwhile. The newest is kept in memory too, so a failure is told and nothing more.
    pub(super) async fn keep(&self, grant: &Grant, refresh_token: &Secret) {
        let Some((id, rev)) = grant.document() else { return };
        if let Err(error) = self.0.set(id, rev, REFRESH_TOKEN, refresh_token).await {
            tracing::warn!(document = %id, %error, "the new refresh token of a grant cannot be saved: it lasts until the next start");
        }
    }

    /// The key of a service account as KAZOO keeps it: an attachment.
    async fn server_key(&self, id: String) -> Result<ServerKey> {
        let rev = self.document(&id).await?.rev();
        let pem = self.0.attachment(&id, KEY_FILE).await?;
        let pem = pem.ok_or_else(|| missing(&id, "attachment private_key.pem in CouchDB"))?;
        Ok(ServerKey { id, rev, pem: Secret::new(String::from_utf8(pem).unwrap_or_default()) })
    }

    /// Whether a document is there.
    ///
    /// # Errors
    /// Where CouchDB does not say.
    pub(super) async fn knows(&self, id: &str) -> Result<bool> {
        Ok(self.undeleted(id).await?.is_some())
    }

    async fn document(&self, id: &str) -> Result<Document> {
        let absent = || Error::new(Kind::Settings, format!("OAuth document {id} does not exist"));
        self.undeleted(id).await?.ok_or_else(absent)
    }

    /// A document that KAZOO has not marked as deleted.
    async fn undeleted(&self, id: &str) -> Result<Option<Document>> {
        let document = self.0.read(id).await?;
        Ok(document.filter(|document| document.value("pvt_deleted") != Some(&Value::Bool(true))))
    }
}

/// KAZOO's name for it.
const KEY_FILE: &str = "private_key.pem";
