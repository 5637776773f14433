//! An open database: its engine, its `_security`, and what describes it.

use std::time::{SystemTime, UNIX_EPOCH};

use rouchdb_adapter_redb::RedbAdapter;
use rouchdb_core::adapter::Adapter as _;
use rouchdb_core::document::SecurityDocument;
use rouchdb_core::error::RouchError;
use serde_json::{Map, Value, json};
use stowage_base::tasks::Tasks;
use tokio::sync::Mutex;

use crate::exchange::answer::Failure;

/// Extra members of the engine's security record that store this front end's own data. The engine's own representation of the
/// record loses unknown members and their order, so it is not used for `_security`.
const SECURITY: &str = "stowage_security";
const CREATED: &str = "stowage_created";

/// An open database.
pub(crate) struct Database {
    pub(crate) name: String,
    pub(crate) engine: RedbAdapter,
    /// Held from reading a document's leaf to the save that builds on it.
    pub(crate) saving: Mutex<()>,
    /// What goes on when its client has gone.
    pub(crate) tasks: Tasks,
    /// Marks the sequences of this incarnation of the database.
    pub(crate) instance: String,
    /// When it was created, in seconds since 1970.
    pub(crate) created: String,
}

impl Database {
    /// Initializes a new database.
    pub(crate) async fn create(name: &str, engine: RedbAdapter, tasks: Tasks) -> Result<Self, RouchError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut record = SecurityDocument::default();
        record.extra.insert(CREATED.into(), now.as_secs().to_string().into());
        engine.put_security(record).await?;
        Self::load(name, engine, tasks).await
    }

    pub(crate) async fn load(name: &str, engine: RedbAdapter, tasks: Tasks) -> Result<Self, RouchError> {
        let record = engine.get_security().await?;
        let created = record.extra.get(CREATED).and_then(Value::as_str).unwrap_or("0").to_owned();
        let instance = engine.id().await?.chars().take(8).collect();
        Ok(Self { name: name.to_owned(), engine, saving: Mutex::default(), tasks, instance, created })
    }

    /// Returns the `_security` document as it was put.
    pub(crate) async fn security(&self) -> Result<Value, Failure> {
        let record = self.engine.get_security().await?;
        // In CouchDB 3, only admins may access a new database.
        let default = || json!({"members": {"roles": ["_admin"]}, "admins": {"roles": ["_admin"]}});
        Ok(record.extra.get(SECURITY).cloned().unwrap_or_else(default))
    }

    pub(crate) async fn set_security(&self, document: Map<String, Value>) -> Result<(), Failure> {
        let mut record = self.engine.get_security().await?;
        record.extra.insert(SECURITY.into(), document.into());
        Ok(self.engine.put_security(record).await?)
    }

    pub(crate) async fn info(&self) -> Result<Value, Failure> {
        let info = self.engine.info().await?;
        Ok(json!({
            "instance_start_time": self.created,
            "db_name": self.name,
            "purge_seq": self.seq(0),
            "update_seq": self.seq(info.update_seq.as_num()),
            "sizes": {"file": 0, "external": 0, "active": 0},
            "props": {},
            "doc_del_count": info.doc_del_count,
            "doc_count": info.doc_count,
            "disk_format_version": 8,
            "compact_running": false,
            "cluster": {"q": 1, "n": 1, "w": 1, "r": 1},
        }))
    }

    /// Formats a sequence for clients. It includes the incarnation, so that a deleted database's sequence is recognized.
    pub(crate) fn seq(&self, number: u64) -> String {
        format!("{number}-{}", self.instance)
    }
}
