//! Reading CouchDB's OAuth documents: the grant of somebody, the app that it was given to, the app's provider and key.

use http::StatusCode;
use serde_json::Value;

use super::papers::{Grant, Papers, ServerKey, missing};
use super::{Key, Subject};
use crate::config::Secret;
use crate::couch::{Answer, Couch, Document, DocumentPath};
use crate::http::target::encode;
use crate::storage::error::{Error, Kind, Result};

/// The database of OAuth documents (`system_auth` by default), read with the gateway's own account.
#[derive(Debug)]
pub(super) struct Documents {
    couch: Couch,
    database: String,
}

impl Documents {
    pub(super) fn new(couch: Couch, database: &str) -> Self {
        Self { couch, database: encode(database) }
    }

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
        let mut papers = Papers { auth, app, app_id, provider: None, server_key: None };
        if let Some(id) = papers.app.text("pvt_auth_provider").filter(|id| !id.is_empty()) {
            papers.provider = Some((id.clone(), self.document(&id).await?));
        }
        if let Some(id) = papers.wants_key() {
            papers.server_key = Some(self.server_key(id).await?);
        }
        papers.grant(key)
    }

    /// Puts a refresh token that came in place of an older one (RFC 6749 section 6) where the older one stands, unless
    /// that document has changed meanwhile. The newest is kept in memory too, so a failure is told and nothing more.
    pub(super) async fn keep(&self, grant: &Grant, refresh_token: &Secret) {
        let Some((id, document)) = grant.with_refresh_token(refresh_token) else { return };
        let account = self.couch.own_account();
        match account.save(&self.path(id), &document).await {
            Ok(saved) if saved.head.status.is_success() => {}
            // Somebody else has written it: what stands there now is read soon.
            Ok(saved) if saved.head.status == StatusCode::CONFLICT => {}
            Ok(saved) => {
                let status = saved.head.status.as_u16();
                tracing::warn!(document = %id, status, "the new refresh token of a grant cannot be saved: it lasts until the next start");
            }
            Err(error) => {
                tracing::warn!(document = %id, %error, "the new refresh token of a grant cannot be saved: it lasts until the next start");
            }
        }
    }

    /// The key of a service account as KAZOO keeps it: an attachment.
    async fn server_key(&self, id: String) -> Result<ServerKey> {
        let rev = self.document(&id).await?.rev().unwrap_or_default();
        let answer = self.couch.own_account().attachment(&self.path(&id), KEY_FILE).await;
        let answer = answer.map_err(|error| unasked(&id, error))?;
        match answer.status() {
            StatusCode::OK => {
                let pem = String::from_utf8(answer.into_body().into()).unwrap_or_default();
                Ok(ServerKey { id, rev, pem: Secret::new(pem) })
            }
            StatusCode::NOT_FOUND if is_of_couchdb(answer.body()) => {
                Err(missing(&id, "attachment private_key.pem in CouchDB"))
            }
            status => Err(Error::answered(status, format!("CouchDB does not give the key of OAuth document {id}"))),
        }
    }

    /// Whether a document is there.
    ///
    /// # Errors
    /// Where CouchDB does not say.
    pub(super) async fn knows(&self, id: &str) -> Result<bool> {
        Ok(self.look(id).await?.is_some())
    }

    async fn document(&self, id: &str) -> Result<Document> {
        self.look(id).await?.ok_or_else(|| absent(id))
    }

    async fn look(&self, id: &str) -> Result<Option<Document>> {
        let answer = self.couch.own_account().read(&self.path(id), "").await;
        match answer.map_err(|error| unasked(id, error))? {
            Answer::Document(document, _) => {
                Ok(Some(document).filter(|document| document.value("pvt_deleted") != Some(Value::Bool(true))))
            }
            Answer::Other(answer) if answer.status() == StatusCode::NOT_FOUND && is_of_couchdb(answer.body()) => {
                Ok(None)
            }
            Answer::Other(answer) => {
                let status = answer.status();
                Err(Error::answered(status, format!("CouchDB does not give OAuth document {id}")))
            }
        }
    }

    fn path(&self, id: &str) -> DocumentPath {
        DocumentPath { database: self.database.clone(), document: encode(id) }
    }
}

fn unasked(id: &str, error: crate::couch::Error) -> Error {
    Error::new(Kind::Passing, format!("CouchDB cannot be asked for OAuth document {id}")).because(error)
}

/// Whether a 404 is CouchDB's own, and not that of something in front of it.
fn is_of_couchdb(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body)
        .is_ok_and(|answer| answer.get("error").and_then(Value::as_str) == Some("not_found"))
}

fn absent(id: &str) -> Error {
    Error::new(Kind::Settings, format!("OAuth document {id} does not exist"))
}

/// KAZOO's name for it.
const KEY_FILE: &str = "private_key.pem";
