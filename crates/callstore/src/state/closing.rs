//! Decides when a dialog is over, and when its record is due.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::apply::Batch;
use super::stored::Stored;
use super::{State, StateError};
use crate::clock::micros;
use crate::fold::{Attr, Item, Key, Micros, Standing};

/// The combined status of a dialog's legs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Legs {
    /// The earliest end reported by a source.
    pub ended: Option<Micros>,
    /// The earliest end of a leg declared dead.
    pub dead: Option<Micros>,
    /// Whether a leg is suspected to be dead.
    pub suspect: bool,
    /// Whether a leg talked with another leg.
    pub connected: bool,
    /// When the last of them was answered.
    pub answered: Option<Micros>,
    /// Whether one of them was never answered.
    pub unanswered: bool,
}

impl Legs {
    pub(super) fn add(&mut self, leg: &Stored) {
        let least = |known: Option<Micros>, other| Some(known.map_or(other, |known: Micros| known.min(other)));
        match leg.item.standing() {
            Standing::Ended => self.ended = leg.item.ended().map_or(self.ended, |at| least(self.ended, at)),
            Standing::Dead => {
                self.dead = leg.item.standing_death().map_or(self.dead, |death| least(self.dead, death.ended));
            }
            Standing::Suspect => self.suspect = true,
            Standing::Live => {}
        }
        self.answered = self.answered.max(leg.item.answered());
        self.unanswered |= leg.item.is_unanswered();
    }
}

/// Returns an item's status, and its end if it is over. Statements of a dialog's own source take precedence over the status of its legs.
#[must_use]
pub(super) fn standing(stored: &Stored, legs: Legs) -> (Standing, Option<Micros>) {
    let item = &stored.item;
    match item.standing() {
        Standing::Ended => (Standing::Ended, item.ended()),
        _ if legs.ended.is_some() => (Standing::Ended, legs.ended),
        Standing::Dead => (Standing::Dead, item.standing_death().map(|death| death.ended)),
        _ if legs.dead.is_some() => (Standing::Dead, legs.dead),
        Standing::Suspect => (Standing::Suspect, None),
        Standing::Live if legs.suspect => (Standing::Suspect, None),
        Standing::Live => (Standing::Live, None),
    }
}

/// Returns when the parties of a dialog began to talk. KAZOO's switch also bridges legs that ring or have early media.
fn talk(item: &Item, legs: Legs) -> Option<Micros> {
    let started = item.num(Attr::Started);
    if item.text(Attr::Source) != Some("kazoo") || item.get(Attr::LegB).is_none() {
        return item.num(Attr::Answered).or(started);
    }
    started.max(legs.answered).filter(|_| !legs.unanswered)
}

/// Returns a dialog's status with these legs, and its end if it is over.
#[must_use]
pub fn standing_of(stored: &Stored, legs: &[(Key, Stored)]) -> (Standing, Option<Micros>) {
    let mut known = Legs::default();
    legs.iter().for_each(|(_, leg)| known.add(leg));
    standing(stored, known)
}

/// Returns when the parties of a dialog with these legs began to talk. It does not depend on [`Stored::talk`], which a file of an older version lacks.
#[must_use]
pub fn talk_of(stored: &Stored, legs: &[(Key, Stored)]) -> Option<Micros> {
    let mut known = Legs::default();
    legs.iter().for_each(|(_, leg)| known.add(leg));
    talk_before_end(stored, known, standing(stored, known))
}

/// Returns when they began to talk, given the dialog's status and end. Legs that were answered only after they had been disconnected did not talk
/// with each other.
fn talk_before_end(stored: &Stored, legs: Legs, (standing, ended): (Standing, Option<Micros>)) -> Option<Micros> {
    let before = ended.filter(|_| standing == Standing::Ended);
    talk(&stored.item, legs).filter(|at| before.is_none_or(|end| *at <= end))
}

/// Returns whether a one-legged dialog was replaced by a conversation of two legs.
pub(super) fn is_absorbed(key: &Key, stored: &Stored, legs: Legs) -> bool {
    key.is_dialog()
        && stored.item.get(Attr::LegB).is_none()
        && stored.item.text(Attr::Source) == Some("kazoo")
        && legs.connected
}

impl State {
    /// Returns the combined status of a dialog's legs. The first of `known` holds the items of the uncommitted batch.
    pub(super) fn legs_of(&self, dialog: &Stored, known: &[&HashMap<Key, Stored>]) -> Result<Legs, StateError> {
        let (mut legs, mut others) = (Legs::default(), Vec::new());
        let is_alone = dialog.item.get(Attr::LegB).is_none();
        self.each(dialog.item.linked("leg"), known, |leg| {
            legs.add(&leg);
            if is_alone {
                others.extend(leg.item.linked("dialog").cloned());
            }
        })?;
        self.each(others.iter(), known, |other| legs.connected |= other.talk.is_some())?;
        Ok(legs)
    }

    /// Returns the legs themselves; see [`legs_of`](Self::legs_of).
    pub(super) fn items_of(&self, dialog: &Stored, known: &[&HashMap<Key, Stored>]) -> Result<Vec<Stored>, StateError> {
        let mut items = Vec::new();
        self.each(dialog.item.linked("leg"), known, |leg| items.push(leg.into_owned()))?;
        Ok(items)
    }

    /// Returns whether the dialog is one that rang only, between a leg and the exchange that it is still connected with: the dialog of these two
    /// stands for both.
    pub(super) fn rang_only(
        &self,
        dialog: &Stored,
        legs: &[Stored],
        known: &[&HashMap<Key, Stored>],
    ) -> Result<bool, StateError> {
        let item = &dialog.item;
        if dialog.talk.is_some() || item.get(Attr::LegB).is_none() || item.text(Attr::Source) != Some("kazoo") {
            return Ok(false);
        }
        let mut found = false;
        self.each(legs.iter().flat_map(|leg| leg.item.linked("alone")), known, |alone| found |= !alone.is_absorbed)?;
        Ok(found)
    }

    fn each<'k>(
        &self,
        keys: impl Iterator<Item = &'k Key>,
        known: &[&HashMap<Key, Stored>],
        mut each: impl FnMut(Cow<'_, Stored>),
    ) -> Result<(), StateError> {
        let mut reading = None;
        for key in keys {
            if let Some(item) = known.iter().find_map(|known| known.get(key)) {
                each(Cow::Borrowed(item));
                continue;
            }
            if reading.is_none() {
                reading = Some(self.file.read()?);
            }
            let Some(reading) = &reading else { continue };
            if let Some(item) = reading.item(key)? {
                each(Cow::Owned(item));
            }
        }
        Ok(())
    }

    /// Returns whether this instance's group follows the item to its end.
    pub(super) fn serves(&self, stored: &Stored) -> bool {
        self.serves.has(stored.item.text(Attr::Domain))
    }

    /// Updates whether an item is over, and whether its record is due. `changed` is set if the item has new facts.
    pub(super) fn settle(&self, stored: &mut Stored, key: &Key, legs: Legs, changed: bool, now: Micros) {
        let (standing, ended) = standing(stored, legs);
        stored.over = ended.filter(|_| standing.is_over());
        stored.standing = Some(standing);
        stored.talk = talk_before_end(stored, legs, (standing, ended)).filter(|_| key.is_dialog());
        stored.is_absorbed = is_absorbed(key, stored, legs);
        stored.call = stored.item.text(Attr::Call).map(Box::from).or_else(|| Some(key.id().into()));
        if !standing.is_over() || stored.is_absorbed {
            stored.due = None;
        } else if changed && stored.due.is_none() && self.serves(stored) && wants_record(key, stored, standing) {
            let wait = if stored.item.get(Attr::Stopped).is_some() { 0 } else { micros(self.close_after) };
            stored.due = Some(now.saturating_add(wait));
        } else if stored.item.get(Attr::Stopped).is_some() {
            stored.due = stored.due.map(|due| due.min(now));
        }
    }
}

impl Batch<'_> {
    /// Updates all touched items. A leg's dialog with the exchange itself comes after the others: it depends on whether those talked.
    pub(super) fn settle(&mut self, hot: &mut HashMap<Key, Stored>) -> Result<(), StateError> {
        // Later entries are not in the record, which is due again for them.
        let mut late = HashSet::new();
        for (key, through) in &self.recorded {
            let Some(item) = self.fresh.get_mut(key) else { continue };
            if item.changed <= *through {
                item.due = None;
                self.touched.insert(key.clone(), Box::default());
            } else {
                late.insert(key.clone());
            }
        }
        let joined: Vec<Key> = self.touched.keys().filter(|key| self.is_joined(key)).cloned().collect();
        for key in &joined {
            if self.settle_one(key, late.contains(key), hot)? {
                self.touch_alone(key, hot)?;
            }
        }
        let others: Vec<Key> = self.touched.keys().filter(|key| !self.is_joined(key)).cloned().collect();
        for key in &others {
            self.settle_one(key, late.contains(key), hot)?;
        }
        Ok(())
    }

    /// Returns whether it is a dialog of two legs.
    fn is_joined(&self, key: &Key) -> bool {
        self.fresh.get(key).is_some_and(|stored| stored.item.get(Attr::LegB).is_some())
    }

    /// Returns whether it became or ceased to be a conversation.
    fn settle_one(&mut self, key: &Key, is_late: bool, hot: &HashMap<Key, Stored>) -> Result<bool, StateError> {
        let Some(stored) = self.fresh.get(key) else { return Ok(false) };
        let legs = if key.is_dialog() { self.state.legs_of(stored, &[&self.fresh, hot])? } else { Legs::default() };
        let is_changed = is_late || self.touched.get(key).is_some_and(|event| !event.is_empty());
        let Some(stored) = self.fresh.get_mut(key) else { return Ok(false) };
        let talked = stored.talk.is_some();
        self.state.settle(stored, key, legs, is_changed, self.now);
        Ok(stored.talk.is_some() != talked)
    }

    /// Marks the dialogs of a dialog's legs with the exchange itself.
    fn touch_alone(&mut self, dialog: &Key, hot: &mut HashMap<Key, Stored>) -> Result<(), StateError> {
        let Some(stored) = self.fresh.get(dialog) else { return Ok(()) };
        let (changed, legs) = (stored.changed, stored.item.linked("leg").cloned().collect::<Vec<_>>());
        let event = self.touched.get(dialog).cloned().unwrap_or_default();
        for leg in legs {
            let alone: Vec<Key> = self.item(&leg, hot)?.item.linked("alone").cloned().collect();
            for key in alone {
                let known = self.item(&key, hot)?;
                known.changed = known.changed.max(changed);
                self.touched.entry(key).or_insert_with(|| event.clone());
            }
        }
        Ok(())
    }
}

/// Returns whether an item that is over gets a record. Every dialog gets one. KAZOO writes the records of its legs, so only its dead legs get one here.
/// If a leg with such a record turns out to have ended normally, the record is corrected, because it has taken the place of KAZOO's.
fn wants_record(key: &Key, stored: &Stored, standing: Standing) -> bool {
    let is_ours = standing == Standing::Dead || stored.item.recorded.contains_key(CDR);
    key.is_dialog() || is_ours && stored.item.text(Attr::Source) == Some("kazoo")
}

/// The kind of the record that stands in for KAZOO's own of a leg.
pub(crate) const CDR: &str = "cdr";
