//! Applying entries of the journal to the state.

use std::collections::{BTreeMap, HashMap, hash_map};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::brief::Brief;
use super::file::{Items, Writing};
use super::stored::{Meta, Place, Stored};
use super::{Change, Hot, State, StateError};
use crate::decision::Decision;
use crate::fold::{Attr, Item, Key, Micros, Standing};
use crate::journal::{Entry, Offset};
use crate::sources;
use crate::time::rfc3339;

/// The outcome of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Events, counted for metrics.
    pub events: u64,
    /// Events that were known already.
    pub repeated: u64,
    /// Unreadable entries.
    pub bad: u64,
    /// Decisions of an outdated epoch.
    pub refused: u64,
    /// Dialogs and legs declared dead.
    pub dead: u64,
}

/// A batch being applied.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    pub(super) state: &'a State,
    /// The items' previous places, `None` for new items; `fresh` holds the current items.
    known: HashMap<Key, Option<Place>>,
    pub(super) fresh: HashMap<Key, Stored>,
    /// The changed items, each with the name of its last event.
    pub(super) touched: BTreeMap<Key, Box<str>>,
    pub(super) meta: Meta,
    news: Vec<(Micros, Box<str>, Vec<u8>)>,
    /// The ids of notices that were delivered, and when. A later death of the dialog for the same reason has the same id.
    pub(super) told: BTreeMap<Box<str>, Micros>,
    /// The dialogs whose deaths found by these times need no notice any more.
    pub(super) settled: BTreeMap<Box<str>, Micros>,
    /// The items with saved records, each with the last entry that those include.
    pub(super) recorded: Vec<(Key, Offset)>,
    /// Decisions about other sites' calls.
    pub(super) of_others: BTreeMap<Box<str>, Vec<Decision>>,
    pub(super) done: Applied,
    pub(super) now: Micros,
    /// What the file had before, where it was looked into.
    items: Option<Items>,
}

impl State {
    /// Applies a batch of entries in one commit, skipping those applied before. Blocks on the disk.
    ///
    /// # Errors
    /// If the file cannot be read or written; then no entry is applied.
    pub fn apply(&self, entries: &[Entry], now: Micros) -> Result<Applied, StateError> {
        let mut hot = self.hot();
        let mut batch = Batch::new(self, now)?;
        for entry in entries {
            if batch.meta.offset.is_some_and(|last| entry.offset <= last) {
                continue;
            }
            batch.entry(entry, &mut hot.items)?;
            batch.meta.offset = Some(entry.offset);
            batch.meta.taken = batch.meta.taken.max(entry.taken);
        }
        // Pass decisions on before the commit: entries committed here are never read again.
        batch.done.dead += self.tell_others(std::mem::take(&mut batch.of_others), now)?;
        let is_durable = hot.flushed.elapsed() >= FLUSH;
        self.commit(batch, &mut hot, is_durable)
    }

    /// Writes a batch, and updates memory.
    pub(super) fn commit(&self, mut batch: Batch<'_>, hot: &mut Hot, is_durable: bool) -> Result<Applied, StateError> {
        batch.legs_of_recordings(&mut hot.items)?;
        batch.dialogs_of_legs(&mut hot.items)?;
        batch.settle(&mut hot.items)?;
        batch.tell_deaths(&hot.items)?;
        // Pages that a reader may look at are not used again.
        batch.items = None;
        let briefs = batch.briefs();
        let writing = self.file.write(is_durable)?;
        batch.write(&writing, &briefs)?;
        writing.commit()?;
        hot.is_flushed = is_durable;
        if is_durable {
            hot.flushed = Instant::now();
        }
        batch.publish(briefs);
        if hot.items.len() > HOT {
            hot.items.clear();
        }
        let done = batch.done.clone();
        hot.items.extend(batch.fresh);
        Ok(done)
    }
}

impl<'a> Batch<'a> {
    pub(super) fn new(state: &'a State, now: Micros) -> Result<Self, StateError> {
        Ok(Self {
            state,
            known: HashMap::new(),
            fresh: HashMap::new(),
            touched: BTreeMap::new(),
            meta: state.file.read()?.meta()?,
            news: Vec::new(),
            told: BTreeMap::new(),
            settled: BTreeMap::new(),
            recorded: Vec::new(),
            of_others: BTreeMap::new(),
            done: Applied::default(),
            now,
            items: None,
        })
    }

    fn entry(&mut self, entry: &Entry, hot: &mut HashMap<Key, Stored>) -> Result<(), StateError> {
        if entry.body.is_empty() {
            return Ok(());
        }
        if entry.is_decision {
            return match Decision::read(&entry.body) {
                Ok(decision) => self.decision(decision, entry, hot),
                Err(error) => {
                    self.done.bad += 1;
                    tracing::warn!(offset = entry.offset, %error, "a decision in the journal cannot be read");
                    Ok(())
                }
            };
        }
        let event = match sources::read(&entry.body, entry.taken) {
            Ok(event) => event,
            Err(error) => {
                self.done.bad += 1;
                tracing::debug!(offset = entry.offset, %error, "an event in the journal cannot be read");
                return Ok(());
            }
        };
        self.done.events += 1;
        if let Some(node) = &event.node {
            let known = self.meta.nodes.entry(node.clone()).or_default();
            known.event = known.event.max(event.at);
        }
        for (place, facts) in event.facts.into_iter().enumerate() {
            let key = facts.key.clone();
            let item = self.item(&key, hot)?;
            let is_repeated = place == 0 && facts.line.as_ref().is_some_and(|line| item.item.has(line));
            if item.item.merge(facts) {
                item.changed = entry.offset;
                self.touched.insert(key, event.name.clone());
            }
            self.done.repeated += u64::from(is_repeated);
        }
        Ok(())
    }

    /// Returns an item as changed by the batch so far.
    pub(super) fn item(&mut self, key: &Key, hot: &mut HashMap<Key, Stored>) -> Result<&mut Stored, StateError> {
        let free = match self.fresh.entry(key.clone()) {
            hash_map::Entry::Occupied(fresh) => return Ok(fresh.into_mut()),
            hash_map::Entry::Vacant(free) => free,
        };
        let known = match (hot.remove(key), &mut self.items) {
            (Some(known), _) => Some(known),
            (None, Some(items)) => items.get(key)?,
            (None, items) => items.insert(self.state.file.read()?.items()?).get(key)?,
        };
        self.known.insert(key.clone(), known.as_ref().map(Place::of));
        Ok(free.insert(known.unwrap_or_default()))
    }

    /// Marks the legs of dialogs whose recording was finalised: their records name it, too.
    fn legs_of_recordings(&mut self, hot: &mut HashMap<Key, Stored>) -> Result<(), StateError> {
        let finalised = self.touched.iter().filter(|(key, event)| key.is_dialog() && &***event == sources::FINALISED);
        let dialogs = finalised.filter_map(|(key, event)| Some((self.fresh.get(key)?, event)));
        let legs = dialogs.flat_map(|(dialog, event)| {
            dialog.item.linked("leg").map(|leg| (leg.clone(), (event.clone(), dialog.changed)))
        });
        for (key, (event, offset)) in legs.collect::<Vec<_>>() {
            let leg = self.item(&key, hot)?;
            // A leg that was only named, without events of its own, stays unknown.
            if leg.item.first.is_some() {
                leg.changed = leg.changed.max(offset);
                self.touched.entry(key).or_insert(event);
            }
        }
        Ok(())
    }

    /// Marks the dialogs of changed legs.
    fn dialogs_of_legs(&mut self, hot: &mut HashMap<Key, Stored>) -> Result<(), StateError> {
        let mut dialogs: BTreeMap<Key, (Box<str>, Offset)> = BTreeMap::new();
        for (key, event) in self.touched.iter().filter(|(key, _)| !key.is_dialog()) {
            let Some(leg) = self.fresh.get(key) else { continue };
            for dialog in ["dialog", "alone"].iter().flat_map(|kind| leg.item.linked(kind)) {
                let (last, changed) = dialogs.entry(dialog.clone()).or_default();
                // A leg whose record was saved has no event.
                if !event.is_empty() {
                    last.clone_from(event);
                }
                *changed = leg.changed.max(*changed);
            }
        }
        for (key, (event, offset)) in dialogs {
            let dialog = self.item(&key, hot)?;
            dialog.changed = dialog.changed.max(offset);
            let known = self.touched.entry(key).or_default();
            if known.is_empty() {
                *known = event;
            }
        }
        Ok(())
    }

    /// Queues notices of dialogs that have become dead, whatever else is in the batch: a standby that catches up reads much at once.
    fn tell_deaths(&mut self, hot: &HashMap<Key, Stored>) -> Result<(), StateError> {
        for (key, stored) in self.fresh.iter().filter(|(key, _)| key.is_dialog() && self.touched.contains_key(*key)) {
            let was_over = self.known.get(key).and_then(Option::as_ref).is_some_and(|known| known.over.is_some());
            // It lives again: a notice that was not sent yet would be wrong.
            if was_over && stored.over.is_none() {
                self.settled.insert(key.id().into(), Micros::MAX);
            }
            let is_dead = stored.standing == Some(Standing::Dead) && !stored.is_absorbed && self.state.serves(stored);
            let Some(ended) = stored.over.filter(|_| is_dead && !was_over) else { continue };
            // One leg's death suffices; the other leg may be from an earlier batch, and may be the recorded one.
            let legs = self.state.items_of(stored, &[&self.fresh, hot])?;
            if self.state.rang_only(stored, &legs, &[&self.fresh, hot])? {
                continue;
            }
            let items = || std::iter::once(&stored.item).chain(legs.iter().map(|leg| &leg.item));
            let death = stored.item.standing_death().or_else(|| items().filter_map(Item::standing_death).min());
            let Some(death) = death else { continue };
            let id = crate::decision::death_id(key, &death.kind, &death.cause);
            let text = |attr| items().find_map(|item| item.text(attr));
            let is_unfinished = |item: &Item| item.flag(Attr::Recorded) && !item.flag(Attr::RecordingStopped);
            let news = json!({
                "event": "dlg_dead",
                "id": &*id,
                "dialog_id": key.id(),
                "call_id": stored.call.as_deref(),
                "kind": &*death.kind,
                "cause": &*death.cause,
                "ended": rfc3339(ended),
                "found": rfc3339(death.found),
                "node": text(Attr::Node),
                "account_id": text(Attr::Account),
                "domain": text(Attr::Domain),
                "recording": text(Attr::Recording),
                "is_recorded": items().any(|item| item.flag(Attr::Recorded)),
                "is_unfinished": items().any(is_unfinished) && text(Attr::RecordingLink).is_none(),
                "legs": stored.item.linked("leg").map(Key::id).collect::<Vec<_>>(),
            });
            self.news.push((death.found, id, news.to_string().into_bytes()));
        }
        Ok(())
    }

    /// What was touched, in short. In their order, so that neighbours find their pages at hand.
    fn briefs(&self) -> Vec<Touched<'_>> {
        let mut names = self.state.names();
        let touched = self.touched.iter().filter_map(|(key, event)| {
            let stored = self.fresh.get(key)?;
            let known = self.known.get(key).and_then(Option::as_ref);
            Some(Touched { brief: Arc::new(names.brief(key, stored)), event, stored, known })
        });
        touched.collect()
    }

    fn write(&self, writing: &Writing, touched: &[Touched<'_>]) -> Result<(), StateError> {
        let mut tables = writing.tables()?;
        touched.iter().try_for_each(|item| tables.item(&item.brief, item.known, item.stored))?;
        drop(tables);
        for (at, id, news) in &self.news {
            writing.tell(*at, id, news)?;
        }
        writing.told(&self.told, &self.settled)?;
        writing.meta(&self.meta)
    }

    /// Updates memory, and notifies subscribers.
    fn publish(&self, touched: Vec<Touched<'_>>) {
        let mut index = self.state.index_mut();
        for Touched { brief, stored, known, .. } in &touched {
            let was_due = known.is_some_and(|known| known.due.is_some());
            index.waiting = (index.waiting + u64::from(stored.due.is_some())).saturating_sub(u64::from(was_due));
            if stored.is_live() {
                index.add(Arc::clone(brief));
            } else {
                index.remove(&brief.key);
            }
        }
        let adopted = &self.meta.adopted;
        self.state.adopted.send_if_modified(|known| {
            let is_news = known != adopted;
            if is_news {
                known.clone_from(adopted);
            }
            is_news
        });
        index.offset = self.meta.offset;
        index.taken = self.meta.taken;
        index.epoch = self.meta.epoch(self.state.serves.group());
        index.nodes = self.meta.nodes.iter().map(|(node, known)| (Arc::from(&**node), *known)).collect();
        drop(index);
        for Touched { brief, event, stored, .. } in touched {
            if !event.is_empty() && !brief.is_absorbed && stored.item.first.is_some() {
                // Fails only without subscribers.
                drop(self.state.changes.send(Change { brief, event: event.into() }));
            }
        }
    }
}

/// An item that a batch touched.
struct Touched<'a> {
    brief: Arc<Brief>,
    /// What its last event was called.
    event: &'a str,
    stored: &'a Stored,
    /// Where it stood.
    known: Option<&'a Place>,
}

/// The interval of flushes.
const FLUSH: Duration = Duration::from_secs(1);
/// The number of cached items.
const HOT: usize = 512;
