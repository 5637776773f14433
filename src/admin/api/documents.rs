//! Plan documents in CouchDB, accessed with the gateway's own account.

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use stowage_base::settings::as_flag;
use stowage_couch::{self as couch, Couch, Document, DocumentPath};
use stowage_http::body::{TooLarge, cause};
use stowage_http::target::encode;

use super::envelope::{Failure, refused};

/// The plans database.
#[derive(Debug)]
pub(super) struct PlanDocuments {
    couch: Couch,
    database: String,
}

/// A document as stored in CouchDB.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) members: Map<String, Value>,
    pub(super) rev: String,
}

/// A row of `_all_docs`. Its document may be anything, and may be invalid.
#[derive(Deserialize)]
struct Row {
    id: Option<String>,
    doc: Option<Box<RawValue>>,
}

impl Stored {
    fn of(members: Map<String, Value>) -> Option<Self> {
        let rev = members.get("_rev")?.as_str()?.to_owned();
        Some(Self { members, rev })
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.members.get(key)?.as_str()
    }

    /// Returns whether the platform considers the document absent.
    pub(super) fn is_deleted(&self) -> bool {
        self.members.get("pvt_deleted").and_then(as_flag) == Some(true)
    }
}

impl PlanDocuments {
    pub(super) fn new(couch: Couch, database: &str) -> Self {
        Self { couch, database: encode(database) }
    }

    /// Reads a document.
    ///
    /// # Errors
    /// Returns an error if CouchDB refuses or cannot be reached.
    pub(super) async fn read(&self, id: &str) -> Result<Option<Stored>, Failure> {
        let answer = self.couch.own_account().read(&self.path(id), "").await?;
        let found = answer.found().map_err(|answer| refused(answer.status(), "give the plan"))?;
        Ok(found.as_ref().map(members).transpose()?.and_then(Stored::of))
    }

    /// Saves a document, which contains the revision that it follows. Returns the new revision.
    ///
    /// # Errors
    /// Returns a 409 if another revision is current.
    pub(super) async fn write(&self, id: &str, members: &Map<String, Value>) -> Result<String, Failure> {
        let bytes = Bytes::from(Value::Object(members.clone()).to_string());
        let path = self.path(id);
        let mut save = self.couch.own_account().save(&path, &bytes).await?;
        if save.head.status == StatusCode::NOT_FOUND {
            self.make_database().await?;
            save = self.couch.own_account().save(&path, &bytes).await?;
        }
        match save.head.status {
            status if status.is_success() => save.rev().ok_or_else(|| refused(status, "name the revision of the plan")),
            StatusCode::CONFLICT => Err(Failure::conflict()),
            status => Err(refused(status, "save the plan")),
        }
    }

    /// Returns all documents that match, ordered by id.
    ///
    /// # Errors
    /// Returns an error if CouchDB refuses or cannot be reached.
    pub(super) async fn all(&self, wanted: impl Fn(&Stored) -> bool) -> Result<Vec<Stored>, Failure> {
        let (mut found, mut from, mut limit) = (Vec::new(), None, PAGE);
        loop {
            let rows = match self.page(from.as_deref(), limit).await {
                Ok(rows) => rows,
                // Documents of several megabytes exceed the limit together.
                Err(couch::Error::Body(error)) if limit > 1 && cause::<TooLarge>(&*error).is_some() => {
                    limit = (limit / 8).max(1);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let rows = rows.map_err(|status| refused(status, "list the plans"))?;
            let full = rows.len() >= limit;
            from = rows.last().and_then(|row| row.id.clone());
            let documents = rows.into_iter().filter_map(|row| Stored::of(serde_json::from_str(row.doc?.get()).ok()?));
            found.extend(documents.filter(|document| !document.is_deleted() && wanted(document)));
            if !full || from.is_none() {
                return Ok(found);
            }
        }
    }

    /// Returns a page of rows after a document, or from the first one; the inner error is CouchDB's status.
    async fn page(&self, after: Option<&str>, limit: usize) -> Result<Result<Vec<Row>, StatusCode>, couch::Error> {
        let start = after.map(|id| format!("&startkey={}&skip=1", encode(&Value::from(id).to_string())));
        let query = format!("include_docs=true&limit={limit}{}", start.unwrap_or_default());
        let path = DocumentPath { database: self.database.clone(), document: "_all_docs".to_owned() };
        Ok(match self.couch.own_account().read(&path, &query).await?.found() {
            Ok(Some(page)) => {
                let rows = page.raw("rows").and_then(|rows| serde_json::from_str(rows.get()).ok());
                rows.ok_or(StatusCode::OK)
            }
            Ok(None) => Ok(Vec::new()),
            Err(answer) => Err(answer.status()),
        })
    }

    /// Creates the database, which may exist already.
    async fn make_database(&self) -> Result<(), Failure> {
        let path = DocumentPath { database: self.database.clone(), document: String::new() };
        let made = self.couch.own_account().save(&path, &Bytes::new()).await?;
        match made.head.status {
            status if status.is_success() || status == StatusCode::PRECONDITION_FAILED => Ok(()),
            status => Err(refused(status, "make the database")),
        }
    }

    fn path(&self, id: &str) -> DocumentPath {
        DocumentPath { database: self.database.clone(), document: encode(id) }
    }
}

fn members(document: &Document) -> Result<Map<String, Value>, Failure> {
    let bytes = document.to_bytes().map_err(|_| refused(StatusCode::OK, "give a document"))?;
    serde_json::from_slice(&bytes).map_err(|_| refused(StatusCode::OK, "give a document"))
}

/// Documents per page; each may be as large as a plan can be.
const PAGE: usize = 200;
