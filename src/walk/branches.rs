//! Documents of a database that have more than their winner: a list of documents shows neither losing branches nor deleted leaves.

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use stowage_couch::Caller;
use stowage_http::target::encode;

use crate::error::Error;
use crate::moving::refused;
use crate::router::Database;

/// A document as the changes feed has it with all its leaves.
#[derive(Deserialize)]
pub(crate) struct Branched {
    pub(crate) id: String,
    /// One for each leaf.
    pub(crate) changes: Vec<Value>,
    /// Whether its winner is.
    #[serde(default)]
    pub(crate) deleted: bool,
}

/// The documents of a database that have several leaves, or a deleted winner, page by page.
pub(crate) struct Branches<'a> {
    caller: &'a Caller,
    database: &'a Database,
    /// `None` at the end.
    since: Option<Value>,
}

impl<'a> Branches<'a> {
    pub(crate) fn of(caller: &'a Caller, database: &'a Database) -> Self {
        Self { caller, database, since: Some(json!(0)) }
    }

    /// The next page; `None` at the end, also where the database is gone.
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
            StatusCode::NOT_FOUND => return Ok(None),
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

/// Changes that are read at once.
const PAGE: usize = 1000;
