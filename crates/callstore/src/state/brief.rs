//! The in-memory index of live items: the fields that lists and the watchdog need.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde::Serialize;

use super::stored::{Node, Stored};
use crate::fold::{Attr, Key, Micros, Standing};
use crate::journal::Offset;
use crate::time::Rfc3339;

/// A summary of a leg or dialog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brief {
    /// The item's key.
    pub key: Key,
    /// The status; that of a dialog includes its legs.
    pub standing: Standing,
    /// The call that the item belongs to; its own id if no event names one.
    pub call: Arc<str>,
    /// The switch.
    pub node: Option<Arc<str>>,
    /// The account.
    pub account: Option<Arc<str>>,
    /// The domain.
    pub domain: Option<Arc<str>>,
    /// `kazoo` or `era`.
    pub source: Option<Arc<str>>,
    /// The caller's number.
    pub from: Option<Box<str>>,
    /// The called number.
    pub to: Option<Box<str>>,
    /// When the item was created.
    pub created: Micros,
    /// When the call was answered.
    pub answered: Option<Micros>,
    /// When the item ended.
    pub ended: Option<Micros>,
    /// When the last sign of life occurred.
    pub last: Micros,
    /// Since when the item is suspected to be dead.
    pub doubted: Option<Micros>,
    /// A dialog's legs, or a leg's dialogs.
    pub links: Box<[Key]>,
    /// Whether this is a leg's dialog with the exchange itself, which no longer counts once the leg talked with another.
    pub is_absorbed: bool,
}

/// All live items, and the position in the journal.
#[derive(Debug, Default)]
pub struct Index {
    /// The items that are live, or whose record is due.
    pub live: BTreeMap<Key, Arc<Brief>>,
    /// The numbers of live and suspected dialogs.
    pub dialogs: Dialogs,
    /// The switches.
    pub nodes: BTreeMap<Arc<str>, Node>,
    /// The last applied entry.
    pub offset: Option<Offset>,
    /// When the journal took that entry.
    pub taken: Micros,
    /// The newest epoch.
    pub epoch: u64,
    /// The number of records to be written.
    pub waiting: u64,
}

/// The numbers of dialogs by status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dialogs {
    /// Live dialogs.
    pub live: u64,
    /// Suspected dialogs.
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

/// An interner for strings that many items share.
#[derive(Debug, Default)]
pub(super) struct Names(HashSet<Arc<str>>);

impl Names {
    pub(super) fn get(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return Arc::clone(known);
        }
        let name: Arc<str> = text.into();
        self.0.insert(Arc::clone(&name));
        name
    }

    /// Drops unused strings.
    pub(super) fn forget(&mut self) {
        self.0.retain(|name| Arc::strong_count(name) > 1);
    }

    /// Summarizes an item.
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
            answered: item.num(Attr::Answered).or(stored.talk),
            ended: stored.over,
            last: item.last.or(item.first).unwrap_or_default(),
            doubted: item.reg(Attr::Suspect).map(|reg| reg.at),
            links: item.linked(kind).cloned().collect(),
            is_absorbed: stored.is_absorbed,
        }
    }
}

/// A leg or dialog as lists and changes show it. Written without a JSON value in between: lists have a thousand.
#[derive(Debug, Serialize)]
pub struct Listed<'a> {
    pub(crate) id: &'a str,
    pub(crate) kind: &'static str,
    pub(crate) state: &'static str,
    pub(crate) call_id: &'a str,
    pub(crate) node: Option<&'a str>,
    pub(crate) account_id: Option<&'a str>,
    pub(crate) domain: Option<&'a str>,
    pub(crate) from: Option<&'a str>,
    pub(crate) to: Option<&'a str>,
    pub(crate) created: Rfc3339,
    pub(crate) answered: Option<Rfc3339>,
    pub(crate) ended: Option<Rfc3339>,
    pub(crate) last_sign: Rfc3339,
    /// The other site that follows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) site: Option<&'a str>,
    /// The event that changed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) event: Option<&'a str>,
}

impl Brief {
    /// Returns what lists show.
    #[must_use]
    pub fn listed(&self) -> Listed<'_> {
        Listed {
            id: self.key.id(),
            kind: if self.key.is_dialog() { "dialog" } else { "leg" },
            state: self.standing.name(),
            call_id: &self.call,
            node: self.node.as_deref(),
            account_id: self.account.as_deref(),
            domain: self.domain.as_deref(),
            from: self.from.as_deref(),
            to: self.to.as_deref(),
            created: Rfc3339(self.created),
            answered: self.answered.map(Rfc3339),
            ended: self.ended.map(Rfc3339),
            last_sign: Rfc3339(self.last),
            site: None,
            event: None,
        }
    }
}
