//! What memory holds of what lives: the few things that lists and the watchdog ask for.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::stored::Stored;
use crate::fold::{Attr, Key, Micros, Standing};
use crate::journal::Offset;
use crate::time::rfc3339;

/// A leg or dialog in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brief {
    /// Which one.
    pub key: Key,
    /// How it stands; a dialog also by its legs.
    pub standing: Standing,
    /// The call it belongs to; its own id where nobody named one.
    pub call: Arc<str>,
    /// Its switch.
    pub node: Option<Arc<str>>,
    /// Its account.
    pub account: Option<Arc<str>>,
    /// Its domain.
    pub domain: Option<Arc<str>>,
    /// `kazoo` or `era`.
    pub source: Option<Arc<str>>,
    /// The caller's number.
    pub from: Option<Box<str>>,
    /// The called number.
    pub to: Option<Box<str>>,
    /// When it began.
    pub created: Micros,
    /// When talk began.
    pub answered: Option<Micros>,
    /// When it ended.
    pub ended: Option<Micros>,
    /// The last sign of life.
    pub last: Micros,
    /// Since when it is doubted.
    pub doubted: Option<Micros>,
    /// The legs of a dialog, the dialogs of a leg.
    pub links: Box<[Key]>,
    /// A leg's dialog with the exchange itself, which does not count once it was connected with another.
    pub is_absorbed: bool,
}

/// A switch, by what its events and its answers told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Node {
    /// The time of its newest event.
    pub event: Micros,
    /// The time of its newest answer.
    pub answer: Micros,
}

impl Node {
    /// Its last sign of life.
    #[must_use]
    pub fn last(&self) -> Micros {
        self.event.max(self.answer)
    }
}

/// All that lives, and how far the journal was read.
#[derive(Debug, Default)]
pub struct Index {
    /// What is not over, or is over and not recorded yet.
    pub live: BTreeMap<Key, Arc<Brief>>,
    /// How many dialogs of these go on, and how many are doubted.
    pub dialogs: Dialogs,
    /// The switches.
    pub nodes: BTreeMap<Arc<str>, Node>,
    /// The last entry that was taken in.
    pub offset: Option<Offset>,
    /// When the journal took it.
    pub taken: Micros,
    /// The newest epoch.
    pub epoch: u64,
    /// How many records wait to be written.
    pub waiting: u64,
}

/// Numbers of dialogs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dialogs {
    /// Those that go on.
    pub live: u64,
    /// Those that are doubted.
    pub suspect: u64,
}

impl Index {
    pub(super) fn add(&mut self, brief: Arc<Brief>) {
        self.count(&brief, u64::saturating_add);
        let known = self.live.insert(brief.key.clone(), brief);
        if let Some(known) = known {
            self.count(&known, u64::saturating_sub);
        }
    }

    pub(super) fn remove(&mut self, key: &Key) {
        if let Some(known) = self.live.remove(key) {
            self.count(&known, u64::saturating_sub);
        }
    }

    pub(super) fn clear(&mut self) {
        self.live.clear();
        (self.dialogs, self.waiting) = (Dialogs::default(), 0);
    }

    fn count(&mut self, brief: &Brief, change: fn(u64, u64) -> u64) {
        if !brief.key.is_dialog() || brief.is_absorbed {
            return;
        }
        match brief.standing {
            Standing::Live => self.dialogs.live = change(self.dialogs.live, 1),
            Standing::Suspect => self.dialogs.suspect = change(self.dialogs.suspect, 1),
            Standing::Ended | Standing::Dead => {}
        }
    }
}

/// One copy of each text that many have.
#[derive(Debug, Default)]
pub(super) struct Names(HashSet<Arc<str>>);

impl Names {
    fn get(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return Arc::clone(known);
        }
        let name: Arc<str> = text.into();
        self.0.insert(Arc::clone(&name));
        name
    }

    /// Forgets those that nobody has any more.
    pub(super) fn forget(&mut self) {
        self.0.retain(|name| Arc::strong_count(name) > 1);
    }

    /// In short.
    pub(super) fn brief(&mut self, key: &Key, stored: &Stored) -> Brief {
        let item = &stored.item;
        let first = |attrs: &[Attr]| attrs.iter().find_map(|attr| item.text(*attr)).map(Box::from);
        let mut shared = |attr| item.text(attr).map(|text| self.get(text));
        let (node, account, domain, source) =
            (shared(Attr::Node), shared(Attr::Account), shared(Attr::Domain), shared(Attr::Source));
        let kind = if key.is_dialog() { "leg" } else { "dialog" };
        Brief {
            key: key.clone(),
            standing: stored.standing.unwrap_or_else(|| item.standing()),
            call: self.get(item.text(Attr::Call).unwrap_or_else(|| key.id())),
            node,
            account,
            domain,
            source,
            from: first(&[Attr::Caller, Attr::CallerOriginal, Attr::From]),
            to: first(&[Attr::Dialled, Attr::Callee, Attr::To, Attr::Request]),
            created: item.num(Attr::Created).or(item.first).unwrap_or_default(),
            answered: item.num(Attr::Answered).or_else(|| item.num(Attr::Started)),
            ended: stored.over,
            last: item.last.or(item.first).unwrap_or_default(),
            doubted: item.reg(Attr::Suspect).map(|reg| reg.at),
            links: item.linked(kind).cloned().collect(),
            is_absorbed: stored.is_absorbed,
        }
    }
}

impl Brief {
    /// As lists show it.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "id": self.key.id(),
            "kind": if self.key.is_dialog() { "dialog" } else { "leg" },
            "state": self.standing.name(),
            "call_id": &*self.call,
            "node": self.node.as_deref(),
            "account_id": self.account.as_deref(),
            "domain": self.domain.as_deref(),
            "from": self.from.as_deref(),
            "to": self.to.as_deref(),
            "created": rfc3339(self.created),
            "answered": self.answered.map(rfc3339),
            "ended": self.ended.map(rfc3339),
            "last_sign": rfc3339(self.last),
        })
    }
}
