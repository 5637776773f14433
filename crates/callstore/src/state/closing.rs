//! Decides when a dialog is over, and when its record is due.

use std::borrow::Cow;
use std::collections::HashMap;

use super::stored::Stored;
use super::{State, StateError};
use crate::clock::micros;
use crate::fold::{Attr, Key, Micros, Standing};
use crate::records::CDR;

/// The combined status of a dialog's legs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Legs {
    /// The earliest end reported by a source.
    pub ended: Option<Micros>,
    /// The earliest end of a leg declared dead.
    pub dead: Option<Micros>,
    /// Whether a leg is suspected to be dead.
    pub suspect: bool,
    /// Whether a leg was connected with another leg.
    pub connected: bool,
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
        self.connected |= leg.item.linked("dialog").next().is_some();
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

/// Returns a dialog's status with these legs, and its end if it is over.
#[must_use]
pub fn standing_of(stored: &Stored, legs: &[(Key, Stored)]) -> (Standing, Option<Micros>) {
    let mut known = Legs::default();
    legs.iter().for_each(|(_, leg)| known.add(leg));
    standing(stored, known)
}

/// Returns whether a one-legged dialog was replaced by one with two legs.
pub(super) fn is_absorbed(key: &Key, stored: &Stored, legs: Legs) -> bool {
    key.is_dialog()
        && stored.item.get(Attr::LegB).is_none()
        && stored.item.text(Attr::Source) == Some("kazoo")
        && legs.connected
}

impl State {
    /// Returns the combined status of a dialog's legs. The first of `known` holds the items of the uncommitted batch.
    pub(super) fn legs_of(&self, dialog: &Stored, known: &[&HashMap<Key, Stored>]) -> Result<Legs, StateError> {
        let mut legs = Legs::default();
        self.each_leg(dialog, known, |leg| legs.add(&leg))?;
        Ok(legs)
    }

    /// Returns the legs themselves; see [`legs_of`](Self::legs_of).
    pub(super) fn items_of(&self, dialog: &Stored, known: &[&HashMap<Key, Stored>]) -> Result<Vec<Stored>, StateError> {
        let mut items = Vec::new();
        self.each_leg(dialog, known, |leg| items.push(leg.into_owned()))?;
        Ok(items)
    }

    fn each_leg(
        &self,
        dialog: &Stored,
        known: &[&HashMap<Key, Stored>],
        mut each: impl FnMut(Cow<'_, Stored>),
    ) -> Result<(), StateError> {
        let mut reading = None;
        for key in dialog.item.linked("leg") {
            if let Some(leg) = known.iter().find_map(|known| known.get(key)) {
                each(Cow::Borrowed(leg));
                continue;
            }
            if reading.is_none() {
                reading = Some(self.file.read()?);
            }
            let Some(reading) = &reading else { continue };
            if let Some(leg) = reading.item(key)? {
                each(Cow::Owned(leg));
            }
        }
        Ok(())
    }

    /// Returns whether this instance's group follows the item to its end.
    fn serves(&self, stored: &Stored) -> bool {
        self.serves.has(stored.item.text(Attr::Domain))
    }

    /// Updates whether an item is over, and whether its record is due. `changed` is set if the item has new facts.
    pub(super) fn settle(&self, stored: &mut Stored, key: &Key, legs: Legs, changed: bool, now: Micros) {
        let (standing, ended) = standing(stored, legs);
        stored.over = ended.filter(|_| standing.is_over());
        stored.standing = Some(standing);
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

/// Returns whether an item that is over gets a record: dialogs do; of legs only dead ones, since KAZOO writes the records of the others. A leg
/// that was dead when its record was written has that one corrected: it is in the place of KAZOO's.
fn wants_record(key: &Key, stored: &Stored, standing: Standing) -> bool {
    let is_ours = standing == Standing::Dead || stored.item.recorded.contains_key(CDR);
    key.is_dialog() || is_ours && stored.item.text(Attr::Source) == Some("kazoo")
}
