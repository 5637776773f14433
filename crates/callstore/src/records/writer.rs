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
    /// CouchDB rejected it with this status.
    Refused(u16),
    /// CouchDB rejected access to its database, or the creation of that, with this status.
    Barred(u16),
}

impl Outcome {
    /// Returns its label in metrics.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Known => "known",
            Self::Corrected => "corrected",
            Self::Foreign => "foreign",
            Self::Refused(_) | Self::Barred(_) => "refused",
        }
    }
}

/// CouchDB answered that it cannot save a record now; other databases may be able to.
#[derive(Debug, thiserror::Error)]
#[error("CouchDB answered {status} for {database}")]
pub(crate) struct Unable {
    /// The database, unencoded.
    pub(crate) database: String,
    status: u16,
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
                    if let Some(refused) = self.make(&path.database, record).await? {
                        return Ok(refused);
                    }
                }
                status => return self.refused(&path, record, status).await,
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
            let known = found.found().map_err(|answer| unable(record, answer.status()))?;
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
                status => return self.refused(path, record, status).await,
            }
        }
        Err("the record changes all the time".into())
    }

    /// Creates the database; it may exist already. Returns the outcome for the record if CouchDB refuses.
    async fn make(&self, database: &str, record: &Record) -> Result<Option<Outcome>, BoxError> {
        let answer = self.0.own_account().send(Method::PUT, database, Bytes::new()).await?;
        match answer.status() {
            StatusCode::CREATED | StatusCode::ACCEPTED | StatusCode::PRECONDITION_FAILED => Ok(None),
            // An account that is no server admin gets 401, though its password is right: records of other databases can be written.
            status @ (StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Ok(Some(Outcome::Barred(status.as_u16())))
            }
            status => Err(unable(record, status)),
        }
    }

    /// Separates permanent rejections from transient failures.
    async fn refused(&self, path: &DocumentPath, record: &Record, status: StatusCode) -> Result<Outcome, BoxError> {
        match status {
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Ok(Outcome::Refused(status.as_u16())),
            // A validation function refuses one document; an account that is no member cannot read the database either.
            StatusCode::FORBIDDEN => {
                let answer = self.0.own_account().send(Method::GET, &path.database, Bytes::new()).await?;
                let outcome = if answer.status() == StatusCode::OK { Outcome::Refused } else { Outcome::Barred };
                Ok(outcome(status.as_u16()))
            }
            status => Err(unable(record, status)),
        }
    }
}

fn unable(record: &Record, status: StatusCode) -> BoxError {
    Unable { database: record.database.clone(), status: status.as_u16() }.into()
}

/// How many times a conflict is retried.
const TRIES: usize = 5;
