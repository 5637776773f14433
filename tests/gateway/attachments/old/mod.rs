//! Attachments stored by KAZOO: its entries are put directly into documents, its objects directly into storages.
//!
//! Each storage is a [`Row`]; every test of `life` runs for all of them.

mod answers;
mod life;
mod rows;
mod vendors;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use eetf::{Atom, Binary, Map, Term, Tuple};
use serde_json::{Value, json};

use stowage_testing::gateway::{Running, Setup};
use stowage_testing::raw::RawResponse;
use stowage_testing::storages::Storage;

/// The name of the attachment in each test.
pub const NAME: &str = "call.mp3";
/// The attachment's bytes.
pub const BYTES: &[u8] = b"what KAZOO recorded";

/// A storage used by KAZOO.
pub trait Row {
    /// The name, for messages.
    fn name(&self) -> &'static str;
    /// Returns the driver and valid settings of a current plan for the same place.
    fn today(&self) -> (&'static str, Value);
    /// Returns the entry's `handler` for [`NAME`] of a document, with current or rotated settings.
    fn handler(&self, database: &str, document: &str, secrets: Secrets) -> Value;
    /// Stores the entry's object.
    fn store(&self, database: &str, document: &str, bytes: &[u8]);
    /// Returns whether the object still exists.
    fn has(&self, database: &str, document: &str) -> bool;
    /// The configuration for a gateway to reach the storage.
    fn storage(&self) -> Option<&Storage> {
        None
    }
    /// Returns why a rule does not apply to this storage, if so.
    fn cannot(&self, _rule: Rule) -> Option<&'static str> {
        None
    }
    /// Returns whether a rule does not apply, and prints the reason.
    fn skips(&self, rule: Rule) -> bool {
        let reason = self.cannot(rule);
        if let Some(reason) = reason {
            println!("skipped: {rule:?} on {}: {reason}", self.name());
        }
        reason.is_some()
    }
}

/// A rule that does not apply to every storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Credentials in an entry may be outdated.
    RotatedKeys,
    /// A copied entry is recognizable as such.
    Copies,
    /// Two entries may name one object.
    TwoEntries,
    /// An entry names a server, and the object may have moved to another one.
    Moved,
}

/// The credentials in an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    /// Valid credentials.
    Good,
    /// Outdated credentials.
    Rotated,
    /// Outdated credentials for a server that is gone.
    Moved,
}

/// Builds KAZOO's entry.
pub fn entry(handler: &Value) -> Value {
    json!({"content_type": "audio/mpeg", "length": BYTES.len(), "stub": false, "handler": handler})
}

/// A gateway, and a document with an attachment that KAZOO stored in the row's storage.
pub struct Scene {
    pub gateway: Running,
    pub rev: String,
}

impl Scene {
    /// Starts the gateway, then saves the current plan, if any.
    pub async fn of(row: &dyn Row, secrets: Secrets, plan: Option<(&str, Value)>) -> Self {
        let gateway = started(row).await;
        if let Some((handler, settings)) = plan {
            gateway.plan(handler, settings).await;
        }
        Self::with(row, secrets, gateway).await
    }

    /// Uses a gateway that has a plan already.
    pub async fn with(row: &dyn Row, secrets: Secrets, gateway: Running) -> Self {
        row.store(&gateway.database(), "doc", BYTES);
        let entry = entry(&row.handler(&gateway.database(), "doc", secrets));
        let document = json!({"pvt_type": "call_recording", "owner_id": "user", "pvt_attachments": { NAME: entry }});
        let rev = gateway.save("doc", document).await;
        Self { gateway, rev }
    }

    pub async fn ask(&self, method: &str, headers: &[(&str, &str)]) -> RawResponse {
        self.gateway.ask(method, &format!("doc/{NAME}"), headers, b"").await
    }

    pub async fn delete(&self) -> RawResponse {
        let answer = self.gateway.delete(&format!("doc/{NAME}?rev={}", self.rev)).await;
        self.gateway.settled().await;
        answer
    }
}

/// Starts a gateway that can reach the row's storage, with the month database.
pub async fn started(row: &dyn Row) -> Running {
    let gateway = match row.storage() {
        Some(storage) => storage.gateway().await,
        None => Setup::default().start().await,
    };
    gateway.make_database().await;
    gateway
}

/// Builds an Erlang binary.
pub fn binary(text: &str) -> Term {
    Binary::from(text.as_bytes().to_vec()).into()
}

/// Builds a map of settings as in KAZOO, with atoms as keys and binaries as values.
pub fn map(settings: &[(&str, &str)]) -> Term {
    let pairs = settings.iter().map(|(key, value)| (Atom::from(*key).into(), binary(value)));
    Map::from(pairs.collect::<std::collections::HashMap<Term, Term>>()).into()
}

pub fn tuple(elements: Vec<Term>) -> Term {
    Tuple::from(elements).into()
}

/// Encodes a term as KAZOO stores it.
pub fn kept(term: &Term) -> Value {
    let mut bytes = Vec::new();
    term.encode(&mut bytes).unwrap();
    STANDARD.encode(bytes).into()
}
