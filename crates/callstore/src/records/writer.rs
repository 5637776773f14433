//! Saves records to CouchDB: each once, never overwriting another writer's, and verified if a response was lost.

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;
use stowage_couch::{Couch, DocumentPath};
use stowage_http::body::BoxError;
use stowage_http::target::encode;

use super::Record;

/// Outcome of saving a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The record was saved.
    Written,
    /// The record existed already, with the same content.
    Known,
    /// The record existed with other content, and was corrected.
    Corrected,
    /// Another writer created the record: it was left unchanged.
    Foreign,
    /// CouchDB rejected it, or the creation of its database, with this status.
    Refused(u16),
}

/// Writes records with the call store's own account.
#[derive(Debug, Clone)]
pub struct Writer(Couch);

impl Writer {
    /// Writes to this CouchDB.
    #[must_use]
    pub const fn new(couch: Couch) -> Self {
        Self(couch)
    }

    /// Saves a record.
    ///
    /// # Errors
    /// If CouchDB is unreachable or temporarily unable to respond: whether the record is saved is unknown, and saving must be retried.
    pub async fn save(&self, record: &Record) -> Result<Outcome, BoxError> {
        let path = DocumentPath { database: encode(&record.database), document: encode(&record.id) };
        for _ in 0..TRIES {
            match self.put(&path, record, None).await? {
                StatusCode::CREATED | StatusCode::ACCEPTED => return Ok(Outcome::Written),
                StatusCode::CONFLICT => return self.correct(&path, record).await,
                StatusCode::NOT_FOUND => {
                    if let Some(refused) = self.make(&path.database).await? {
                        return Ok(refused);
                    }
                }
                status => return refused(status),
            }
        }
        Err("the database is gone again".into())
    }

    async fn put(&self, path: &DocumentPath, record: &Record, rev: Option<&str>) -> Result<StatusCode, BoxError> {
        let mut members = record.members.clone();
        if let Some(rev) = rev {
            members.insert("_rev".to_owned(), rev.into());
        }
        let document = Bytes::from(Value::Object(members).to_string());
        Ok(self.0.own_account().save(path, &document).await?.head.status)
    }

    /// Handles an existing record: the same, an older version of ours, or another writer's.
    async fn correct(&self, path: &DocumentPath, record: &Record) -> Result<Outcome, BoxError> {
        for _ in 0..TRIES {
            let found = self.0.own_account().read(path, "").await?;
            let known = found.found().map_err(|answer| status_error(answer.status()))?;
            let Some(known) = known else { return Err("the record was removed meanwhile".into()) };
            let print = known.value("pvt_callstore").and_then(|ours| Some(ours.get("print")?.as_str()?.to_owned()));
            match print {
                None => return Ok(Outcome::Foreign),
                Some(print) if print == record.print => return Ok(Outcome::Known),
                Some(_) => {}
            }
            let rev = known.rev().ok_or("CouchDB gave a record without a revision")?;
            match self.put(path, record, Some(&rev)).await? {
                StatusCode::CREATED | StatusCode::ACCEPTED => return Ok(Outcome::Corrected),
                StatusCode::CONFLICT => {}
                status => return refused(status),
            }
        }
        Err("the record changes all the time".into())
    }

    /// Creates the database; it may exist already. Returns the outcome for the record if CouchDB refuses.
    async fn make(&self, database: &str) -> Result<Option<Outcome>, BoxError> {
        let answer = self.0.own_account().send(Method::PUT, database, Bytes::new()).await?;
        match answer.status() {
            StatusCode::CREATED | StatusCode::ACCEPTED | StatusCode::PRECONDITION_FAILED => Ok(None),
            // An account that is no server admin gets 401, though its password is right: records of other databases can be written.
            status @ (StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Ok(Some(Outcome::Refused(status.as_u16())))
            }
            status => Err(status_error(status)),
        }
    }
}

/// Separates permanent rejections from transient failures.
fn refused(status: StatusCode) -> Result<Outcome, BoxError> {
    match status {
        StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::PAYLOAD_TOO_LARGE => {
            Ok(Outcome::Refused(status.as_u16()))
        }
        status => Err(status_error(status)),
    }
}

fn status_error(status: StatusCode) -> BoxError {
    format!("CouchDB answered {}", status.as_u16()).into()
}

/// How many times a conflict is retried.
const TRIES: usize = 5;
