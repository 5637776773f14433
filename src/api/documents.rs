//! Plan documents in CouchDB, with the gateway's own account.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value};

use super::envelope::{Failure, refused};
use crate::couch::{Answer, Couch, Document, DocumentPath};
use crate::http::target::encode;

/// The plans database.
#[derive(Debug)]
pub(super) struct PlanDocuments {
    couch: Couch,
    database: String,
}

/// A document as it is in CouchDB.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) members: Map<String, Value>,
    pub(super) rev: String,
}

impl Stored {
    fn of(members: Map<String, Value>) -> Option<Self> {
        let rev = members.get("_rev")?.as_str()?.to_owned();
        Some(Self { members, rev })
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.members.get(key)?.as_str()
    }

    /// Whether the platform counts it as absent.
    pub(super) fn is_deleted(&self) -> bool {
        self.members.get("pvt_deleted") == Some(&Value::Bool(true))
    }
}

impl PlanDocuments {
    pub(super) fn new(couch: Couch, database: &str) -> Self {
        Self { couch, database: encode(database) }
    }

    /// Reads a document.
    ///
    /// # Errors
    /// Where CouchDB cannot be asked, or refuses.
    pub(super) async fn read(&self, id: &str) -> Result<Option<Stored>, Failure> {
        match self.couch.read(&self.path(id), "", &self.couch.own_account()).await? {
            Answer::Document(document, _) => Ok(Stored::of(members(&document)?)),
            Answer::Other(answer) if answer.status() == StatusCode::NOT_FOUND => Ok(None),
            Answer::Other(answer) => Err(refused(answer.status(), "give the plan")),
        }
    }

    /// Writes a document; the revision that it follows stands in it. Gives the new revision.
    ///
    /// # Errors
    /// 409 where another revision is the current one.
    pub(super) async fn write(&self, id: &str, members: &Map<String, Value>) -> Result<String, Failure> {
        let bytes = Bytes::from(Value::Object(members.clone()).to_string());
        let path = self.path(id);
        let mut save = self.couch.save(&path, &bytes, &self.couch.own_account()).await?;
        if save.head.status == StatusCode::NOT_FOUND {
            self.make_database().await?;
            save = self.couch.save(&path, &bytes, &self.couch.own_account()).await?;
        }
        match save.head.status {
            status if status.is_success() => {
                let answer: Map<String, Value> = serde_json::from_slice(&save.body).unwrap_or_default();
                let rev = answer.get("rev").and_then(Value::as_str).map(str::to_owned);
                rev.ok_or_else(|| refused(status, "name the revision of the plan"))
            }
            StatusCode::CONFLICT => Err(Failure::conflict()),
            status => Err(refused(status, "save the plan")),
        }
    }

    /// All documents of a kind, ordered by id.
    ///
    /// # Errors
    /// Where CouchDB cannot be asked, or refuses.
    pub(super) async fn all(&self, wanted: impl Fn(&Stored) -> bool) -> Result<Vec<Stored>, Failure> {
        let mut found = Vec::new();
        let mut from: Option<String> = None;
        loop {
            let start =
                from.as_ref().map(|id| format!("&startkey={}&skip=1", encode(&Value::from(id.as_str()).to_string())));
            let query = format!("include_docs=true&limit={PAGE}{}", start.unwrap_or_default());
            let path = DocumentPath { database: self.database.clone(), document: "_all_docs".to_owned() };
            let page = match self.couch.read(&path, &query, &self.couch.own_account()).await? {
                Answer::Document(page, _) => page,
                Answer::Other(answer) if answer.status() == StatusCode::NOT_FOUND => return Ok(found),
                Answer::Other(answer) => return Err(refused(answer.status(), "list the plans")),
            };
            let Some(Value::Array(rows)) = page.value("rows") else { return Ok(found) };
            let full = rows.len() >= PAGE;
            from = rows.last().and_then(|row| row.get("id")?.as_str().map(str::to_owned));
            let documents = rows.into_iter().filter_map(|mut row| match row.get_mut("doc")?.take() {
                Value::Object(members) => Stored::of(members),
                _ => None,
            });
            found.extend(documents.filter(|document| !document.is_deleted() && wanted(document)));
            if !full || from.is_none() {
                return Ok(found);
            }
        }
    }

    async fn make_database(&self) -> Result<(), Failure> {
        make_database(&self.couch, &self.database).await
    }

    fn path(&self, id: &str) -> DocumentPath {
        DocumentPath { database: self.database.clone(), document: encode(id) }
    }
}

/// Makes a database that may be there already. `database` is percent-encoded.
///
/// # Errors
/// Where CouchDB cannot be asked, or refuses.
pub(super) async fn make_database(couch: &Couch, database: &str) -> Result<(), Failure> {
    let path = DocumentPath { database: database.to_owned(), document: String::new() };
    let made = couch.save(&path, &Bytes::new(), &couch.own_account()).await?;
    match made.head.status {
        status if status.is_success() || status == StatusCode::PRECONDITION_FAILED => Ok(()),
        status => Err(refused(status, "make the database")),
    }
}

fn members(document: &Document) -> Result<Map<String, Value>, Failure> {
    let bytes = document.to_bytes().map_err(|_| refused(StatusCode::OK, "give a document"))?;
    serde_json::from_slice(&bytes).map_err(|_| refused(StatusCode::OK, "give a document"))
}

/// Documents asked for at once; each may be as large as a plan is.
const PAGE: usize = 200;
