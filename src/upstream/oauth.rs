//! OAuth documents in CouchDB, read and written with the gateway's own account.

use futures_util::future::BoxFuture;
use http::StatusCode;
use serde_json::Value;
use stowage_base::secret::Secret;
use stowage_couch::{Answer, Couch, DocumentPath};
use stowage_http::target::encode;
use stowage_storage::{Error, Kind, OAuthDocument, OAuthDocuments, Result};

/// The database of OAuth documents (`plans.auth_database`).
#[derive(Debug)]
pub struct AuthDatabase {
    couch: Couch,
    name: String,
}

impl AuthDatabase {
    /// Creates the accessor; `name` is the decoded name.
    #[must_use]
    pub fn new(couch: Couch, name: &str) -> Self {
        Self { couch, name: encode(name) }
    }

    fn path(&self, id: &str) -> DocumentPath {
        DocumentPath { database: self.name.clone(), document: encode(id) }
    }

    /// Reads an OAuth document by its id.
    async fn document(&self, id: &str) -> Result<Option<stowage_couch::Document>> {
        let answer = self.couch.own_account().read(&self.path(id), "").await;
        match answer.map_err(|error| unasked(id, error))? {
            Answer::Found(document, _) => Ok(Some(document)),
            Answer::Missing(answer) | Answer::Refused(answer)
                if answer.status() == StatusCode::NOT_FOUND && is_of_couchdb(answer.body()) =>
            {
                Ok(None)
            }
            Answer::Missing(answer) | Answer::Refused(answer) => {
                let status = answer.status();
                Err(Error::answered(status, format!("CouchDB does not give OAuth document {id}")))
            }
        }
    }

    async fn replace(&self, id: &str, rev: &str, member: &str, text: &Secret) -> Result<()> {
        let Some(mut document) = self.document(id).await?.filter(|document| document.rev().as_deref() == Some(rev))
        else {
            return Ok(());
        };
        let written = document.set(member, &text.expose().into()).and_then(|()| document.to_bytes());
        let body = written.map_err(|error| unasked(id, error))?;
        let saved = self.couch.own_account().save(&self.path(id), &body.into()).await;
        match saved.map_err(|error| unasked(id, error))?.head.status {
            status if status.is_success() || status == StatusCode::CONFLICT => Ok(()),
            status => Err(Error::answered(status, format!("CouchDB does not take OAuth document {id}"))),
        }
    }
}

impl OAuthDocuments for AuthDatabase {
    fn read<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<OAuthDocument>>> {
        Box::pin(async move {
            let document = self.document(id).await?;
            let members = |document: stowage_couch::Document| {
                let members = document.keys().filter_map(|key| Some((key.to_owned(), document.value(key)?)));
                OAuthDocument::from(members.collect::<serde_json::Map<_, _>>())
            };
            Ok(document.map(members))
        })
    }

    fn attachment<'a>(&'a self, id: &'a str, name: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>>> {
        Box::pin(async move {
            let answer = self.couch.own_account().attachment(&self.path(id), name).await;
            let answer = answer.map_err(|error| unasked(id, error))?;
            match answer.status() {
                StatusCode::OK => Ok(Some(answer.into_body().into())),
                StatusCode::NOT_FOUND if is_of_couchdb(answer.body()) => Ok(None),
                status => Err(Error::answered(status, format!("CouchDB does not give the key of OAuth document {id}"))),
            }
        })
    }

    fn set<'a>(&'a self, id: &'a str, rev: &'a str, member: &'a str, text: &'a Secret) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.replace(id, rev, member, text))
    }
}

fn unasked(id: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(Kind::Passing, format!("CouchDB cannot be asked for OAuth document {id}")).because(error)
}

/// Returns whether a 404 is CouchDB's own rather than that of a proxy in front of it.
fn is_of_couchdb(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body)
        .is_ok_and(|answer| answer.get("error").and_then(Value::as_str) == Some("not_found"))
}
