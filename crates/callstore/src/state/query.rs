//! Queries for lists.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::brief::Brief;
use super::{State, StateError, Stored};
use crate::fold::{Attr, Item, Key, Micros, Standing};
use crate::roles::is_within;

/// Selects dialogs or legs; unset fields match everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only dialogs, or only legs.
    pub is_dialog: Option<bool>,
    /// In this domain or a subdomain.
    pub domain: Option<String>,
    /// Of this account.
    pub account: Option<String>,
    /// With this status.
    pub state: Option<Standing>,
    /// With a caller or callee number that ends with this.
    pub number: Option<String>,
    /// On this switch.
    pub node: Option<String>,
    /// Started before this time.
    pub created_before: Option<Micros>,
    /// Talking for at least this long, in microseconds.
    pub longer_than: Option<Micros>,
    /// Of this call.
    pub call: Option<String>,
}

/// A dialog and its legs.
pub type WithLegs = (Stored, Vec<(Key, Stored)>);

/// A page of a list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The items of this page.
    pub items: Vec<Arc<Brief>>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

impl Filter {
    /// Returns whether an item matches.
    #[must_use]
    pub fn takes(&self, brief: &Brief, now: Micros) -> bool {
        let number =
            |known: &Option<Box<str>>, wanted: &str| known.as_deref().is_some_and(|known| known.ends_with(wanted));
        !brief.is_absorbed
            && self.is_dialog.is_none_or(|wanted| brief.key.is_dialog() == wanted)
            && self
                .domain
                .as_deref()
                .is_none_or(|wanted| brief.domain.as_deref().is_some_and(|known| is_within(known, wanted)))
            && self.account.as_deref().is_none_or(|wanted| brief.account.as_deref() == Some(wanted))
            && self.state.is_none_or(|wanted| brief.standing == wanted)
            && self.number.as_deref().is_none_or(|wanted| number(&brief.from, wanted) || number(&brief.to, wanted))
            && self.node.as_deref().is_none_or(|wanted| brief.node.as_deref() == Some(wanted))
            && self.created_before.is_none_or(|wanted| brief.created < wanted)
            && self.call.as_deref().is_none_or(|wanted| &*brief.call == wanted)
            && self.longer_than.is_none_or(|wanted| {
                brief.answered.is_some_and(|answered| brief.ended.unwrap_or(now).saturating_sub(answered) >= wanted)
            })
    }
}

impl State {
    /// Returns a page of matching items: live ones ordered by id, ended ones starting with the newest. `after` is the previous page's `next`.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn list(&self, filter: &Filter, after: Option<&str>, most: usize, now: Micros) -> Result<Page, StateError> {
        if filter.state.is_some_and(Standing::is_over) {
            return self.list_over(filter, after, most, now);
        }
        let index = self.index();
        let begin = after.and_then(Key::parse);
        // Dialogs sort before legs.
        let border = Key::leg("");
        let (least, most_of) = match filter.is_dialog {
            Some(true) => (Bound::Unbounded, Bound::Excluded(&border)),
            Some(false) => (Bound::Included(&border), Bound::Unbounded),
            None => (Bound::Unbounded, Bound::Unbounded),
        };
        let least = begin.as_ref().map_or(least, Bound::Excluded);
        if begin.as_ref().is_some_and(|begin| filter.is_dialog == Some(true) && *begin >= border) {
            return Ok(Page::default());
        }
        let range = index.live.range::<Key, _>((least, most_of));
        let mut page = Page::default();
        for brief in range.map(|(_, brief)| brief).filter(|brief| !brief.standing.is_over() && filter.takes(brief, now))
        {
            if page.items.len() == most {
                page.next = page.items.last().map(|last| last.key.as_str().to_owned());
                break;
            }
            page.items.push(Arc::clone(brief));
        }
        Ok(page)
    }

    fn list_over(&self, filter: &Filter, after: Option<&str>, most: usize, now: Micros) -> Result<Page, StateError> {
        let reading = self.file.read()?;
        let mut before = after.and_then(|after| {
            let (at, key) = after.split_once('/')?;
            Some((at.parse().ok()?, Key::parse(key)?))
        });
        let mut page = Page::default();
        for _ in 0..SCANS {
            let rows = match &before {
                Some((at, key)) => reading.over((*at, key.as_str()), SCAN)?,
                None => reading.over((Micros::MAX, ""), SCAN)?,
            };
            let Some((at, key)) = rows.last().cloned() else { return Ok(page) };
            for (at, key) in rows {
                let Some(stored) = reading.item(&key)? else { continue };
                let brief = self.names().brief(&key, &stored);
                if filter.takes(&brief, now) {
                    page.items.push(Arc::new(brief));
                }
                if page.items.len() == most {
                    page.next = Some(format!("{at}/{}", key.as_str()));
                    return Ok(page);
                }
            }
            page.next = Some(format!("{at}/{}", key.as_str()));
            before = Some((at, key));
        }
        Ok(page)
    }

    /// Returns which of a tracker's channels are not followed: unknown ones, and those declared dead. A call that was closed for its age stays
    /// closed: it would only be closed again. One whose end is known stays ended, whatever a tracker lists.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn unfollowed<'a>(&self, channels: impl Iterator<Item = &'a str>) -> Result<BTreeSet<String>, StateError> {
        let candidates: Vec<Key> = {
            let index = self.index();
            let is_followed = |key: &Key| index.live.get(key).is_some_and(|brief| brief.standing != Standing::Dead);
            channels.map(Key::leg).filter(|key| !is_followed(key)).collect()
        };
        let is_closed = |item: &Item| {
            item.ended().is_some() || item.standing_death().is_some_and(|death| &*death.kind == "timeout")
        };
        let items = self.file.read()?.items()?;
        let mut found = BTreeSet::new();
        for key in candidates {
            let stored = items.get(&key)?;
            if stored.is_none_or(|stored| !is_closed(&stored.item)) {
                found.insert(key.id().to_owned());
            }
        }
        Ok(found)
    }

    /// Returns which of a tracker's answered channels are live here without that answer, or without the dialog with the leg that they talk with: those
    /// events were lost. So was one that joined legs again whose dialog is over, if both live.
    #[must_use]
    pub fn missed_talks<'a>(
        &self,
        talking: impl Iterator<Item = (&'a str, Option<&'a str>)>,
    ) -> BTreeMap<String, Option<String>> {
        let index = self.index();
        let living = |key: &Key| index.live.get(key).filter(|brief| !brief.standing.is_over());
        let is_missed = |(leg, other): &(&str, Option<&str>)| {
            let Some(brief) = living(&Key::leg(leg)) else { return false };
            let is_joined = |other: &str| {
                let dialogs = [Key::dialog(&format!("{leg}+{other}")), Key::dialog(&format!("{other}+{leg}"))];
                let mut known = dialogs.iter().filter(|dialog| brief.links.contains(dialog)).peekable();
                // Where the other leg is over, so is the dialog: to tell of it would take up again a leg that was closed for its age.
                known.peek().is_some()
                    && (living(&Key::leg(other)).is_none() || known.any(|dialog| living(dialog).is_some()))
            };
            brief.answered.is_none() || other.is_some_and(|other| !is_joined(other))
        };
        talking.filter(is_missed).map(|(leg, other)| (leg.to_owned(), other.map(str::to_owned))).collect()
    }

    /// Returns all legs and dialogs of a call, live or ended, that an event dates.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn call(&self, id: &str) -> Result<Vec<(Key, Stored)>, StateError> {
        let reading = self.file.read()?;
        let mut found = Vec::new();
        for key in reading.call(id)? {
            found.extend(reading.item(&key)?.filter(|stored| stored.item.first.is_some()).map(|stored| (key, stored)));
        }
        Ok(found)
    }

    /// Returns a dialog and its legs.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn dialog(&self, key: &Key) -> Result<Option<WithLegs>, StateError> {
        let reading = self.file.read()?;
        let Some(dialog) = reading.item(key)? else { return Ok(None) };
        let mut legs = Vec::new();
        for leg in dialog.item.linked("leg") {
            legs.extend(reading.item(leg)?.map(|stored| (leg.clone(), stored)));
        }
        Ok(Some((dialog, legs)))
    }

    /// Returns the link to the recording of a leg's dialog, if a mixer finalised it.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn recording_of(&self, leg: &Stored) -> Result<Option<Box<str>>, StateError> {
        let reading = self.file.read()?;
        for dialog in leg.item.linked("dialog").chain(leg.item.linked("alone")) {
            let dialog = reading.item(dialog)?;
            let link = dialog.as_ref().and_then(|dialog| dialog.item.text(Attr::RecordingLink));
            if let Some(link) = link {
                return Ok(Some(link.into()));
            }
        }
        Ok(None)
    }
}

/// Rows of ended items read at once.
const SCAN: usize = 256;
/// Maximum number of such reads per page.
const SCANS: usize = 16;
