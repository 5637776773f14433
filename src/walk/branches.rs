//! Documents with more than a winner: a list of documents includes neither losing branches nor deleted leaves.

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use stowage_couch::{Caller, is_without_database};
use stowage_http::target::encode;

use crate::error::Error;
use crate::moving::refused;
use crate::router::Database;

/// A document in the changes feed, with all its leaves.
#[derive(Deserialize)]
pub(crate) struct Branched {
    pub(crate) id: String,
    /// The leaves.
    pub(crate) changes: Vec<Value>,
    /// Whether the winner is deleted.
    #[serde(default)]
    pub(crate) deleted: bool,
}

/// Pages of the documents in a database that have several leaves, or a deleted winner.
pub(crate) struct Branches<'a> {
    caller: &'a Caller,
    database: &'a Database,
    /// The sequence to continue from; `None` at the end.
    since: Option<Value>,
    is_gone: bool,
}

impl<'a> Branches<'a> {
    pub(crate) fn of(caller: &'a Caller, database: &'a Database) -> Self {
        Self { caller, database, since: Some(json!(0)), is_gone: false }
    }

    /// Returns whether the pages have ended because the server does not have the database.
    pub(crate) const fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Returns the next page; `None` at the end, or if the database is gone.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Branched>>, Error> {
        #[derive(Deserialize)]
        struct Feed {
            results: Vec<Branched>,
            last_seq: Value,
        }
        let Some(since) = self.since.take() else { return Ok(None) };
        let text = since.as_str().map_or_else(|| since.to_string(), str::to_owned);
        let target = format!("{}/_changes?style=all_docs&limit={PAGE}&since={}", self.database.path, encode(&text));
        let answer = self.caller.send(Method::GET, &target, Bytes::new()).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND if is_without_database(answer.body()) => {
                self.is_gone = true;
                return Ok(None);
            }
            status => return Err(refused(status, "the changes of the database")),
        }
        let Ok(Feed { results, last_seq }) = serde_json::from_slice(answer.body()) else {
            return Err(refused(answer.status(), "the changes of the database"));
        };
        self.since = (results.len() >= PAGE).then_some(last_seq);
        let branched = results.into_iter().filter(|change| change.deleted || change.changes.len() > 1);
        Ok(Some(branched.collect()))
    }
}

/// Changes per request.
const PAGE: usize = 1000;
