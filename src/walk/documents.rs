//! Pages through the documents of a database.

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use stowage_couch::{self as couch, Caller, Document, is_without_database};
use stowage_http::body::{BoxError, TooLarge, cause};
use stowage_http::target::encode;

use crate::error::Error;
use crate::moving::refused;
use crate::router::Database;

/// An id, with its document or the reason that it cannot be read.
pub(crate) type Read = (String, Result<Document, Error>);

/// The pages of a database.
pub(crate) struct Pages<'a> {
    caller: &'a Caller,
    database: &'a Database,
    /// The first id of the next page; `None` at the end.
    from: Option<String>,
    /// The id at which the last page ends, exclusive; `None` for the last document.
    end: Option<String>,
    size: usize,
}

#[derive(Deserialize)]
struct Rows {
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    id: String,
    doc: Option<Box<RawValue>>,
}

impl<'a> Pages<'a> {
    pub(crate) const fn of(caller: &'a Caller, database: &'a Database) -> Self {
        Self { caller, database, from: Some(String::new()), end: None, size: PAGE }
    }

    /// Restricts the pages to the documents from one id up to another.
    pub(super) fn between(self, from: &str, end: Option<&str>) -> Self {
        Self { from: Some(from.to_owned()), end: end.map(str::to_owned), ..self }
    }

    /// Returns the first id of the next page; `None` at the end.
    pub(super) fn from(&self) -> Option<&str> {
        self.from.as_deref()
    }

    /// Skips a page.
    pub(super) async fn pass(&mut self) -> Result<(), Error> {
        if let Some(from) = self.from.clone()
            && self.rows(&from, PAGE, false).await??.is_none()
        {
            self.from = None;
        }
        Ok(())
    }

    /// Counts the documents; `None` if the database is gone.
    pub(super) async fn count(&self) -> Result<Option<u64>, Error> {
        #[derive(Deserialize)]
        struct About {
            doc_count: u64,
        }
        let answer = self.caller.send(Method::GET, &self.database.path, Bytes::new()).await?;
        match answer.status() {
            StatusCode::OK => {
                Ok(serde_json::from_slice::<About>(answer.body()).map_or(Some(0), |about| Some(about.doc_count)))
            }
            StatusCode::NOT_FOUND if is_without_database(answer.body()) => Ok(None),
            status => Err(refused(status, "the database")),
        }
    }

    /// Returns the next page, without design documents; `None` at the end, or if the database is gone.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Read>>, Error> {
        let Some(from) = self.from.clone() else { return Ok(None) };
        let rows = loop {
            match self.rows(&from, self.size, true).await {
                Ok(rows) => break rows,
                // Large documents are read one by one, and those above the limit not at all.
                Err(couch::Error::Body(error)) if cause::<TooLarge>(&*error).is_some() && self.size > 1 => {
                    self.size /= 4
                }
                Err(couch::Error::Body(error)) if cause::<TooLarge>(&*error).is_some() => {
                    return self.too_large(&from, error).await;
                }
                Err(error) => return Err(error.into()),
            }
        };
        let Some(rows) = rows? else {
            self.from = None;
            return Ok(None);
        };
        self.size = (self.size * 2).clamp(1, PAGE);
        let documents = rows.into_iter().filter(|row| !row.id.starts_with("_design/")).filter_map(|row| {
            let parsed = Document::parse(row.doc?.get().as_bytes());
            Some((row.id, parsed.map_err(|error| couch::Error::Nonsense(error).into())))
        });
        Ok(Some(documents.collect()))
    }

    /// Skips a document that exceeds the size limit.
    async fn too_large(&mut self, from: &str, error: BoxError) -> Result<Option<Vec<Read>>, Error> {
        let Some(rows) = self.rows(from, 1, false).await?? else { return Ok(None) };
        let id = rows.into_iter().next().map(|row| row.id).unwrap_or_default();
        Ok(Some(vec![(id, Err(couch::Error::Body(error).into()))]))
    }

    /// Requests one row more than wanted, which is the start of the next page.
    async fn rows(
        &mut self,
        from: &str,
        size: usize,
        with_documents: bool,
    ) -> Result<Result<Option<Vec<Row>>, Error>, couch::Error> {
        let (path, start) = (&self.database.path, encode(&json!(from).to_string()));
        let documents = if with_documents { "&include_docs=true&att_encoding_info=true" } else { "" };
        let end =
            self.end.as_ref().map(|end| format!("&inclusive_end=false&endkey={}", encode(&json!(end).to_string())));
        let end = end.unwrap_or_default();
        let target = format!("{path}/_all_docs?limit={}&startkey={start}{end}{documents}", size + 1);
        let answer = self.caller.send(Method::GET, &target, Bytes::new()).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND if is_without_database(answer.body()) => return Ok(Ok(None)),
            status => return Ok(Err(refused(status, "the list of documents"))),
        }
        let nonsense = |error: serde_json::Error| couch::Error::Body(error.into());
        let Rows { mut rows } = serde_json::from_slice(answer.body()).map_err(nonsense)?;
        self.from = if rows.len() > size { rows.pop().map(|row| row.id) } else { None };
        Ok(Ok(Some(rows)))
    }
}

/// Documents per request.
const PAGE: usize = 128;
