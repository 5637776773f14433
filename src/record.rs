//! Failure records, as the platform keeps them: documents in the account's month database.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use moka::sync::Cache;
use serde_json::{Value, json};
use stowage_base::log::RequestId;
use stowage_base::tasks::Tasks;
use stowage_couch::DocumentPath;
use stowage_http::target::encode;
use stowage_storage::Kind;
use uuid::Uuid;

use crate::database::{AccountId, month, month_database};
use crate::error::Error;
use crate::router::{Database, Operation, Target};
use crate::upstream::Homes;

/// The `pvt_type` of a record.
pub const RECORD_TYPE: &str = "attachment_handler_error";

/// The request that failed.
#[derive(Debug, Clone)]
pub struct About {
    /// The account that owns the attachment; failures outside accounts leave no document.
    pub account: Option<AccountId>,
    /// The database's decoded name.
    pub database: String,
    /// The document's id.
    pub document: String,
    /// The attachment's name.
    pub attachment: String,
    /// `get`, `put` or `delete`.
    pub operation: &'static str,
}

/// Describes a request for its failure record.
pub(crate) fn about(target: &Target, operation: Operation) -> About {
    About {
        account: target.database.account.clone(),
        database: target.database.name.clone(),
        document: target.document.clone(),
        attachment: target.attachment.clone(),
        operation: match operation {
            Operation::Get { .. } => "get",
            Operation::Put => "put",
            Operation::Delete => "delete",
        },
    }
}

/// Writes records with the gateway's own account; cheap to clone.
#[derive(Debug, Clone)]
pub struct Records(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    homes: Homes,
    tasks: Tasks,
    /// Causes recorded within the last [`CAUSE_INTERVAL`].
    recent: Cache<String, ()>,
    /// The latest records of all accounts, newest first.
    last: Mutex<VecDeque<Value>>,
}

impl Records {
    /// Creates records that are written to the home of the account's databases.
    #[must_use]
    pub fn new(homes: Homes, tasks: Tasks) -> Self {
        let recent = Cache::builder().max_capacity(MOST_CAUSES).time_to_live(CAUSE_INTERVAL).build();
        Self(Arc::new(Inner { homes, tasks, recent, last: Mutex::default() }))
    }

    /// Records a failure in a background task, at most once a minute for the same cause.
    pub fn failed(&self, about: About, error: &Error, request: &RequestId) {
        let Some(cause) = Cause::of(error) else { return };
        let account = about.account.as_ref().map_or("", AccountId::as_str);
        let key = format!("{account} {} {} {} {}", cause.storage, about.operation, cause.reason, cause.code);
        if !self.0.recent.entry(key).or_insert(()).is_fresh() {
            return;
        }
        let now = SystemTime::now();
        let record = record(now, &about, &cause, request);
        self.0.remember(&record);
        let Some(account) = about.account else { return };
        let inner = Arc::clone(&self.0);
        let request = *request;
        drop(self.0.tasks.spawn("failure record", async move {
            if let Err(reason) = inner.write(&month_database(&account, now), &record).await {
                tracing::warn!(request = %request, storage = %cause.storage, reason, "a failure could not be written down");
            }
        }));
    }

    /// Returns the latest failures of all accounts since the program started, newest first.
    #[must_use]
    pub fn last(&self) -> Vec<Value> {
        self.0.last().iter().filter_map(shown).collect()
    }
}

/// The storage or plan failure behind an error.
struct Cause {
    storage: String,
    reason: &'static str,
    code: u16,
    said: String,
    message: String,
}

impl Cause {
    fn of(error: &Error) -> Option<Self> {
        let (status, _, message) = error.answer();
        let cause = |storage: &str, reason| Self {
            storage: storage.to_owned(),
            reason,
            code: status.as_u16(),
            said: String::new(),
            message: message.clone(),
        };
        Some(match error {
            Error::Storage(id, error) => {
                let reason = match error.kind() {
                    Kind::Interrupted | Kind::TooLarge => return None,
                    Kind::Missing => "not_found",
                    Kind::Passing => "gateway_timeout",
                    Kind::Refused => "request_error",
                    Kind::Settings => "invalid_settings",
                    Kind::Location => "invalid_data",
                };
                Self {
                    code: error.status().unwrap_or(status).as_u16(),
                    said: error.said().to_owned(),
                    message: error.to_string(),
                    ..cause(id, reason)
                }
            }
            Error::Forgotten(id) | Error::Connection(id, _) => cause(id, "invalid_settings"),
            Error::Plan(error) => cause(error.id(), "invalid_settings"),
            Error::Pointer(_) => cause("", "invalid_data"),
            _ => return None,
        })
    }
}

impl Inner {
    fn last(&self) -> MutexGuard<'_, VecDeque<Value>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, record: &Value) {
        let mut last = self.last();
        last.truncate(MOST_REMEMBERED - 1);
        last.push_front(record.clone());
    }

    /// Writes a record; `database` is decoded.
    async fn write(&self, database: &str, record: &Value) -> Result<(), String> {
        let database = Database::of(database).ok_or("there is no such database")?;
        let id = record.get("_id").and_then(Value::as_str).unwrap_or_default();
        let path = DocumentPath { database: database.path.clone(), document: encode(id) };
        let bytes = Bytes::from(record.to_string());
        let home = self.homes.of(&database).await.map_err(|error| error.to_string())?;
        let saved = home.save_own(Some(&database), &path, &bytes).await.map_err(|error| error.to_string())?;
        let status = saved.head.status;
        if status.is_success() { Ok(()) } else { Err(format!("CouchDB answers {}", status.as_u16())) }
    }
}

fn record(now: SystemTime, about: &About, cause: &Cause, request: &RequestId) -> Value {
    let seconds = GREGORIAN_EPOCH + now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    json!({
        "_id": record_id(now),
        "reason": cause.reason,
        "message": cause.message,
        "handler_id": cause.storage,
        "db_name": about.database,
        "document_id": about.document,
        "attachment_name": about.attachment,
        "operation": about.operation,
        "resp_code": cause.code,
        "resp_body": cause.said,
        "request_id": request.to_string(),
        "occurred_at": humantime::format_rfc3339_millis(now).to_string(),
        "pvt_type": RECORD_TYPE,
        "pvt_account_id": about.account.as_ref().map(AccountId::as_str),
        "pvt_created": seconds,
        "pvt_modified": seconds,
    })
}

/// Returns an id with the month's prefix; ids sort by time.
fn record_id(now: SystemTime) -> String {
    let milliseconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    format!("{}{milliseconds:012x}-{}", id_prefix(now), Uuid::new_v4().simple())
}

/// Returns the prefix of the ids of a month's records.
#[must_use]
pub fn id_prefix(time: SystemTime) -> String {
    format!("{}-{RECORD_TYPE}-", month(time))
}

/// Returns a record as the storage API shows it.
#[must_use]
pub fn shown(record: &Value) -> Option<Value> {
    let members = record.as_object()?;
    if members.get("pvt_type")?.as_str()? != RECORD_TYPE {
        return None;
    }
    let public = members.iter().filter(|(key, _)| !key.starts_with('_') && !key.starts_with("pvt_"));
    let mut shown: serde_json::Map<String, Value> = public.map(|(key, value)| (key.clone(), value.clone())).collect();
    for (key, private) in [("id", "_id"), ("created", "pvt_created")] {
        if let Some(value) = members.get(private) {
            shown.insert(key.to_owned(), value.clone());
        }
    }
    Some(Value::Object(shown))
}

/// How long repeated records of the same cause are suppressed.
const CAUSE_INTERVAL: Duration = Duration::from_secs(60);
/// The number of records kept in memory for the operator's page.
const MOST_REMEMBERED: usize = 50;
/// The number of causes remembered for suppression.
const MOST_CAUSES: u64 = 10_000;
/// Seconds from year 0 to 1970, the epoch of the platform's timestamps.
pub const GREGORIAN_EPOCH: u64 = 62_167_219_200;
