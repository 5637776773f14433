//! Attachments that KAZOO stored: its entries are put straight into documents, its objects straight into the storages.
//!
//! Each storage is a [`Row`]; every test of `life` runs for every row.

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

/// The attachment that each test is about.
pub const NAME: &str = "call.mp3";
/// Its bytes.
pub const BYTES: &[u8] = b"what KAZOO recorded";

/// A storage that KAZOO has written to.
pub trait Row {
    /// For messages.
    fn name(&self) -> &'static str;
    /// The driver and settings of today's plan for the same place; they work.
    fn today(&self) -> (&'static str, Value);
    /// The entry's `handler` for [`NAME`] of a document, with settings that work or have been rotated away.
    fn handler(&self, database: &str, document: &str, secrets: Secrets) -> Value;
    /// Puts the object there that this entry means.
    fn store(&self, database: &str, document: &str, bytes: &[u8]);
    /// Whether the object is still there.
    fn has(&self, database: &str, document: &str) -> bool;
    /// What a gateway has to be told to find it.
    fn storage(&self) -> Option<&Storage> {
        None
    }
    /// Why it cannot keep a rule.
    fn cannot(&self, _rule: Rule) -> Option<&'static str> {
        None
    }
    /// Whether it cannot keep a rule: then that is printed.
    fn skips(&self, rule: Rule) -> bool {
        let reason = self.cannot(rule);
        if let Some(reason) = reason {
            println!("skipped: {rule:?} on {}: {reason}", self.name());
        }
        reason.is_some()
    }
}

/// A rule that not every storage can keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Credentials inside an entry may be old.
    RotatedKeys,
    /// An entry that was copied to another document shows it.
    Copies,
    /// Two entries may name one object.
    TwoEntries,
    /// An entry names a server, and another may have the object now.
    Moved,
}

/// What an entry says of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    /// They work.
    Good,
    /// They worked once.
    Rotated,
    /// They worked once, on a server that is gone.
    Moved,
}

/// KAZOO's entry.
pub fn entry(handler: &Value) -> Value {
    json!({"content_type": "audio/mpeg", "length": BYTES.len(), "stub": false, "handler": handler})
}

/// A gateway, and a document whose attachment KAZOO stored in the row's storage.
pub struct Scene {
    pub gateway: Running,
    pub rev: String,
}

impl Scene {
    /// Today's plan is given after the gateway has started; none where it is `None`.
    pub async fn of(row: &dyn Row, secrets: Secrets, plan: Option<(&str, Value)>) -> Self {
        let gateway = started(row).await;
        if let Some((handler, settings)) = plan {
            gateway.plan(handler, settings).await;
        }
        Self::with(row, secrets, gateway).await
    }

    /// The same with a gateway that has its plan.
    pub async fn with(row: &dyn Row, secrets: Secrets, gateway: Running) -> Self {
        row.store(&gateway.database(), "doc", BYTES);
        let entry = entry(&row.handler(&gateway.database(), "doc", secrets));
        let document = json!({"pvt_type": "call_recording", "owner_id": "user", "pvt_attachments": { NAME: entry }});
        let rev = gateway.save("doc", document).await;
        Self { gateway, rev }
    }

    pub async fn ask(&self, method: &str, headers: &[(&str, &str)]) -> RawResponse {
        let target = format!("/{}/doc/{NAME}", self.gateway.path());
        self.gateway.request(method, &target, headers, b"").await
    }

    pub async fn delete(&self) -> RawResponse {
        let answer = self.gateway.delete(&format!("doc/{NAME}?rev={}", self.rev)).await;
        self.gateway.settled().await;
        answer
    }
}

/// A gateway that reaches the row's storage; the month database is there.
pub async fn started(row: &dyn Row) -> Running {
    let gateway = match row.storage() {
        Some(storage) => storage.gateway().await,
        None => Setup::default().start().await,
    };
    gateway.make_database().await;
    gateway
}

/// Erlang's binary.
pub fn binary(text: &str) -> Term {
    Binary::from(text.as_bytes().to_vec()).into()
}

/// A map of settings, as KAZOO has them: atoms for keys, binaries for values.
pub fn map(settings: &[(&str, &str)]) -> Term {
    let pairs = settings.iter().map(|(key, value)| (Atom::from(*key).into(), binary(value)));
    Map::from(pairs.collect::<std::collections::HashMap<Term, Term>>()).into()
}

pub fn tuple(elements: Vec<Term>) -> Term {
    Tuple::from(elements).into()
}

/// What KAZOO keeps of a term.
pub fn kept(term: &Term) -> Value {
    let mut bytes = Vec::new();
    term.encode(&mut bytes).unwrap();
    STANDARD.encode(bytes).into()
}
