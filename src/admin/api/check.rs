//! The credential check: stores a small file in each new or changed storage, reads it back, and removes it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use stowage_base::log::RequestId;
use stowage_couch::{Couch, Document, DocumentPath};
use stowage_http::body::{Body, collect};
use stowage_http::target::encode;
use stowage_storage::{self as storage, Backend as _, Fetch, Kind, Leftovers, Object, Opened, Upload};
use uuid::Uuid;

use super::Api;
use super::documents::Stored;
use super::envelope::{Errors, Failure, refused};
use super::route::Scope;
use crate::database::{AccountId, month_database};
use crate::error::Error;
use crate::gateway::Gateway;
use crate::plan::{Merged, NameSource, Settings, compose};
use crate::router::Database;

/// The member of a storage with the signature of the settings last checked.
const SIGNATURE: &str = "_sig";

impl Api {
    /// Checks every storage that is new or has changed since its last successful check, and signs those that pass. `merged` is the plan over the
    /// documents below it.
    ///
    /// # Errors
    /// Returns a 400 with each storage's response.
    pub(super) async fn check(
        &self,
        scope: &Scope,
        merged: &Merged,
        members: &mut Map<String, Value>,
        old: Option<&Stored>,
        request: &RequestId,
    ) -> Result<(), Failure> {
        let Some(Value::Object(entries)) = members.get_mut("attachments") else { return Ok(()) };
        let mut wanted = Vec::new();
        for (id, entry) in entries.iter_mut().filter(|(_, entry)| entry.is_object()) {
            let signature = signature(entry);
            let known = old.and_then(|old| old.members.get("attachments")?.get(id)?.get(SIGNATURE)?.as_str());
            if known != Some(&signature) {
                wanted.push(id.clone());
            }
            if let Some(entry) = entry.as_object_mut() {
                entry.insert(SIGNATURE.to_owned(), signature.into());
            }
        }
        let target = ProbeTarget::of(scope);
        let probes = wanted.iter().map(|id| probe(Arc::clone(&self.0.gateway), merged, &target, id, request));
        let mut errors = Errors::default();
        for (id, outcome) in wanted.iter().zip(join_all(probes).await) {
            if let Err(fault) = outcome? {
                errors.add(&["attachments", id], "invalid", fault);
            }
        }
        errors.check()
    }
}

/// Computes a hash that changes whenever a public field of the storage does.
fn signature(entry: &Value) -> String {
    let mut public = entry.clone();
    if let Some(members) = public.as_object_mut() {
        members.retain(|key, _| !key.starts_with('_'));
    }
    public.sort_all_objects();
    hex::encode(Sha256::digest(public.to_string()))
}

/// The location of a probe's document.
struct ProbeTarget {
    account: Option<AccountId>,
    /// The decoded name.
    database: String,
}

impl ProbeTarget {
    fn of(scope: &Scope) -> Self {
        match scope.account() {
            Some(account) => {
                Self { account: Some(account.clone()), database: month_database(account, SystemTime::now()) }
            }
            None => Self { account: None, database: SYSTEM.to_owned() },
        }
    }
}

/// The outcome for one storage: the inner `Err` is the failure as shown to the caller.
type ProbeResult = Result<Result<(), Value>, Failure>;

async fn probe(
    gateway: Arc<Gateway>,
    merged: &Merged,
    target: &ProbeTarget,
    id: &str,
    request: &RequestId,
) -> ProbeResult {
    let Some(settings) = merged.storage(id) else {
        return Ok(Err(shown(&storage::Error::new(Kind::Settings, "its entry cannot be read"))));
    };
    let backend = match gateway.storages.open(&settings) {
        Ok(backend) => backend,
        Err(error) => return Ok(Err(shown(&error))),
    };
    let hex = Uuid::new_v4().simple().to_string();
    let file =
        File { name: format!("{hex}_test_credentials_file.txt"), content: format!("some random content: {hex}") };
    // Boxed: the combined future is too deep for the compiler.
    let document = Box::pin(ProbeDocument::save(&gateway, target, id, &file, request)).await?;
    let trying = tokio::time::timeout(LONGEST, attempt(&gateway, &backend, &settings, target, &document, &file));
    let late = || storage::Error::answered(StatusCode::GATEWAY_TIMEOUT, "it did not answer in time");
    let outcome = trying.await.unwrap_or_else(|_| Err(late()));
    Ok(outcome.map_err(|error| shown(&error)))
}

/// Stores the file, reads it back, compares, and removes it.
async fn attempt(
    gateway: &Arc<Gateway>,
    backend: &Arc<Opened>,
    settings: &Settings,
    target: &ProbeTarget,
    probed: &ProbeDocument,
    file: &File,
) -> storage::Result<()> {
    let object = object(settings, target, probed, file)?;
    let body = Body::full(file.content.clone());
    let upload = Upload::new(body, gateway.limits.attachment_bytes, backend.budget().clone());
    let stored = backend.put(&object, upload).await?;
    let guard =
        Guard { gateway: Arc::clone(gateway), backend: Arc::clone(backend), location: Some(stored.location.clone()) };
    let fetch = Fetch { range: None, length: Some(file.content.len() as u64), metadata: &object.document };
    let download = backend.get(&stored.location, fetch).await?;
    let read = collect(download.body, LONGEST_ANSWER).await.map_err(storage::Error::of_body)?;
    if read != file.content.as_bytes() {
        return Err(storage::Error::new(Kind::Refused, "it gave back something else than it was given"));
    }
    guard.remove().await
}

/// Builds the object with the name that the plan gives it.
fn object(settings: &Settings, target: &ProbeTarget, probed: &ProbeDocument, file: &File) -> storage::Result<Object> {
    let source = NameSource {
        account: Some(target.account.as_ref().map_or(SYSTEM, AccountId::as_str)),
        database: &target.database,
        document_id: &probed.id,
        attachment: &file.name,
        document: &probed.document,
    };
    let wrong = |error| storage::Error::new(Kind::Settings, Error::from(error).to_string());
    let name = compose(settings, &source).map_err(wrong)?;
    let unique: String = Uuid::new_v4().simple().to_string().chars().take(8).collect();
    Ok(Object {
        name: name.as_str().to_owned(),
        spare: name.with_suffix(&unique),
        taken: false,
        content_type: "text/plain".to_owned(),
        document: probed.document.public_fields(&probed.id),
        leftovers: Leftovers::new(|left| {
            tracing::warn!(location = %json!(left.location), "a credential check that failed may have left a file in its storage");
        }),
    })
}

struct File {
    name: String,
    content: String,
}

/// Removes an object, even if the check is cancelled.
struct Guard {
    gateway: Arc<Gateway>,
    backend: Arc<Opened>,
    location: Option<storage::Location>,
}

impl Guard {
    async fn remove(mut self) -> storage::Result<()> {
        if let Some(location) = &self.location {
            self.backend.delete(location).await?;
        }
        self.location = None;
        Ok(())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(location) = self.location.take() else { return };
        let backend = Arc::clone(&self.backend);
        drop(self.gateway.tasks.spawn("credential check's clean-up", async move {
            if let Err(error) = backend.delete(&location).await {
                tracing::warn!(location = %json!(location), %error, "the file of a credential check stays in its storage");
            }
        }));
    }
}

/// The document that a probe's file would belong to. Dropping it removes it.
struct ProbeDocument {
    gateway: Arc<Gateway>,
    couch: Couch,
    id: String,
    path: DocumentPath,
    rev: String,
    document: Document,
}

impl ProbeDocument {
    async fn save(
        gateway: &Arc<Gateway>,
        target: &ProbeTarget,
        storage: &str,
        file: &File,
        request: &RequestId,
    ) -> Result<Self, Failure> {
        let id = Uuid::new_v4().simple().to_string();
        let mut document = Document::default();
        let members = [
            ("_id", json!(id)),
            ("att_uuid", json!(storage)),
            ("content", json!(file.content)),
            ("request_id", json!(request.to_string())),
            ("pvt_type", json!("storage_settings_probe")),
            ("pvt_account_id", json!(target.account.as_ref().map(AccountId::as_str))),
        ];
        for (key, value) in members.iter().filter(|(_, value)| !value.is_null()) {
            document.set(key, value).map_err(Error::from)?;
        }
        let path = DocumentPath { database: encode(&target.database), document: id.clone() };
        let bytes = Bytes::from(document.to_bytes().map_err(Error::from)?);
        let home = gateway.homes.of_name(&target.database).await?;
        let save = home.save_own(Database::of(&target.database).as_ref(), &path, &bytes).await?;
        let couch = home.couch;
        match save.rev() {
            Some(rev) if save.head.status.is_success() => {
                Ok(Self { gateway: Arc::clone(gateway), couch, id, path, rev, document })
            }
            _ => Err(refused(save.head.status, "save the document of a credential check")),
        }
    }
}

impl Drop for ProbeDocument {
    /// A task of its own, so that the response need not wait, and a check that is cancelled leaves no document.
    fn drop(&mut self) {
        let (couch, path, id) = (self.couch.clone(), self.path.clone(), self.id.clone());
        let tombstone = json!({ "_id": id, "_rev": self.rev, "_deleted": true }).to_string();
        drop(self.gateway.tasks.spawn("credential check's document", async move {
            let gone = couch.own_account().save(&path, &tombstone.into()).await;
            if !gone.is_ok_and(|gone| gone.head.status.is_success()) {
                tracing::warn!(document = %id, "the document of a credential check stays in CouchDB");
            }
        }));
    }
}

/// Formats a failure as the platform shows it.
fn shown(error: &storage::Error) -> Value {
    let said = error.said();
    let body = serde_json::from_str(said).unwrap_or_else(|_| Value::from(said));
    json!({
        "error_code": error.status().map_or(UNKNOWN_CODE, |status| status.as_u16()),
        "error_body": body,
        "message": error.to_string(),
    })
}

/// The time limit of a storage's check; all storages of a plan are checked concurrently.
const LONGEST: Duration = Duration::from_secs(30);
/// The limit on a storage's response, which is 53 bytes, or base64 of them.
const LONGEST_ANSWER: u64 = 64 << 10;
/// The platform's code for a failure without a status.
const UNKNOWN_CODE: u16 = 500;
/// The account segment of system plans, and the database of their probes.
const SYSTEM: &str = "system_data";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::signature;

    #[test]
    fn a_signature_is_of_the_public_fields() {
        let one = signature(&json!({"handler": "s3", "settings": {"a": 1, "b": [1]}}));
        assert_eq!(one, signature(&json!({"settings": {"b": [1], "a": 1}, "_sig": "x", "handler": "s3"})));
        assert_ne!(one, signature(&json!({"handler": "s3", "settings": {"a": 2, "b": [1]}})));
    }
}
