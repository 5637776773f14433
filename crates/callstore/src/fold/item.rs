//! A leg or a dialog: a merge of all that was said of it.
//!
//! Every part is one for which order and repetition do not matter: registers with a total order, the smallest and the largest of
//! a set. A call of a million events stays bounded: [`HEAD`] and [`TAIL`] lines of story, [`EXTRAS`] members of [`EXTRA_BYTES`]
//! at most, [`LINKS`] links.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::attr::Attr;
use super::facts::{Facts, Key, Line};
use super::value::{Micros, Reg, Val};

/// That an instance of the call store declared a leg or dialog dead. The one of the newest epoch stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Death {
    /// The epoch of who decided.
    pub epoch: u64,
    /// The last sign of life that was known then: a newer one undoes the death.
    pub seen: Micros,
    /// When it ended.
    pub ended: Micros,
    /// When it was found out.
    pub found: Micros,
    /// `dead` or `timeout`.
    pub kind: Box<str>,
    /// Why it is believed to be dead.
    pub cause: Box<str>,
}

/// How a leg or dialog stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It lives.
    Live,
    /// It is doubted.
    Suspect,
    /// Its source said that it ended.
    Ended,
    /// It was declared dead.
    Dead,
}

impl Standing {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Suspect => "suspect",
            Self::Ended => "ended",
            Self::Dead => "dead",
        }
    }

    /// Whether nothing more is expected.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Ended | Self::Dead)
    }
}

/// A leg or a dialog.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The earliest time that anything was said for.
    #[serde(default)]
    pub first: Option<Micros>,
    /// The last sign of life.
    #[serde(default)]
    pub last: Option<Micros>,
    /// What is known, sorted.
    #[serde(default)]
    pub attrs: Vec<(Attr, Reg)>,
    /// What it is connected with.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub links: BTreeSet<(Box<str>, Key)>,
    /// Members that have no meaning here, as JSON.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<Box<str>, Reg>,
    /// The first events.
    #[serde(default)]
    pub head: BTreeSet<Line>,
    /// The last events.
    #[serde(default)]
    pub tail: BTreeSet<Line>,
    /// That it was declared dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub death: Option<Death>,
    /// What its saved records hold, by the kind of the record: their fingerprints.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub recorded: BTreeMap<Box<str>, Box<str>>,
}

impl Item {
    /// Takes in what an event says. Gives whether anything changed.
    pub fn merge(&mut self, facts: &Facts) -> bool {
        let mut changed = false;
        if self.first.is_none_or(|first| facts.at < first) {
            self.first = Some(facts.at);
            changed = true;
        }
        if facts.is_sign && self.last.is_none_or(|last| facts.at > last) {
            self.last = Some(facts.at);
            changed = true;
        }
        for (attr, rank, val) in &facts.sets {
            changed |= self.set(*attr, &Reg { rank: *rank, at: facts.at, val: val.clone() });
        }
        for link in &facts.links {
            changed |= keep_least(&mut self.links, link, LINKS);
        }
        for (name, value) in &facts.extra {
            changed |= self.keep_extra(name, value, facts.at);
        }
        if let Some(line) = &facts.line {
            changed |= self.keep_line(line.clone());
        }
        changed
    }

    fn set(&mut self, attr: Attr, reg: &Reg) -> bool {
        match self.attrs.binary_search_by_key(&attr, |(known, _)| *known) {
            Ok(at) => self.attrs.get_mut(at).is_some_and(|(_, known)| known.merge(reg, attr.rule())),
            Err(at) => {
                self.attrs.insert(at, (attr, reg.clone()));
                true
            }
        }
    }

    /// The first lines, and of all others the last. What leaves the first ones is one of the others.
    fn keep_line(&mut self, line: Line) -> bool {
        if self.has(&line) {
            return false;
        }
        let is_early = self.head.len() < HEAD || self.head.last().is_some_and(|last| line < *last);
        if !is_early {
            return keep_greatest(&mut self.tail, &line, TAIL);
        }
        self.head.insert(line);
        if self.head.len() > HEAD
            && let Some(later) = self.head.pop_last()
        {
            keep_greatest(&mut self.tail, &later, TAIL);
        }
        true
    }

    /// Which names stay does not depend on their order of arrival: the smallest, and those never leave.
    fn keep_extra(&mut self, name: &str, value: &str, at: Micros) -> bool {
        let val = if value.len() > EXTRA_BYTES { format!("\"({} bytes)\"", value.len()).into() } else { value.into() };
        let reg = Reg { rank: 0, at, val: Val::Text(val) };
        if let Some(known) = self.extra.get_mut(name) {
            return known.merge(&reg, super::value::Rule::Last);
        }
        if self.extra.len() >= EXTRAS {
            if self.extra.last_key_value().is_none_or(|(last, _)| &**last <= name) {
                return false;
            }
            self.extra.pop_last();
        }
        self.extra.insert(name.into(), reg);
        true
    }

    /// Takes in that it was declared dead.
    pub fn die(&mut self, death: &Death) -> bool {
        let newer = self.death.as_ref().is_none_or(|known| known < death);
        if newer {
            self.death = Some(death.clone());
        }
        newer
    }

    /// What is known of something.
    #[must_use]
    pub fn get(&self, attr: Attr) -> Option<&Val> {
        self.reg(attr).map(|reg| &reg.val)
    }

    /// The same, with rank and time.
    #[must_use]
    pub fn reg(&self, attr: Attr) -> Option<&Reg> {
        let at = self.attrs.binary_search_by_key(&attr, |(known, _)| *known).ok()?;
        self.attrs.get(at).map(|(_, reg)| reg)
    }

    /// A text.
    #[must_use]
    pub fn text(&self, attr: Attr) -> Option<&str> {
        self.get(attr).and_then(Val::text)
    }

    /// A number or time.
    #[must_use]
    pub fn num(&self, attr: Attr) -> Option<i64> {
        self.get(attr).and_then(Val::num)
    }

    /// A flag; unknown is false.
    #[must_use]
    pub fn flag(&self, attr: Attr) -> bool {
        self.get(attr) == Some(&Val::Flag(true))
    }

    /// Whether the event of this line was taken in before, as far as the story reaches.
    #[must_use]
    pub fn has(&self, line: &Line) -> bool {
        self.head.contains(line) || self.tail.contains(line)
    }

    /// Its events in order.
    pub fn story(&self) -> impl Iterator<Item = &Line> {
        self.head.union(&self.tail)
    }

    /// The death, unless there was a sign of life after it.
    #[must_use]
    pub fn standing_death(&self) -> Option<&Death> {
        self.death.as_ref().filter(|death| self.last.is_none_or(|last| last <= death.seen))
    }

    /// When its source said that it ended; parties that were connected again afterwards are connected.
    #[must_use]
    pub fn ended(&self) -> Option<Micros> {
        let apart =
            self.num(Attr::Unbridged).filter(|apart| self.num(Attr::Bridged).is_none_or(|joined| joined < *apart));
        self.num(Attr::Ended).or(apart)
    }

    /// How it stands by what was said of itself.
    #[must_use]
    pub fn standing(&self) -> Standing {
        if self.ended().is_some() {
            Standing::Ended
        } else if self.standing_death().is_some() {
            Standing::Dead
        } else if self.reg(Attr::Suspect).is_some_and(|doubt| self.last.is_none_or(|last| last <= latest(doubt.at))) {
            Standing::Suspect
        } else {
            Standing::Live
        }
    }

    /// Those it is connected with by links of a kind.
    pub fn linked<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Key> {
        self.links.iter().filter(move |(known, _)| &**known == kind).map(|(_, key)| key)
    }
}

/// The latest moment that a time may mean: one in whole seconds, as ecallmgr's are, means all of its second.
const fn latest(at: Micros) -> Micros {
    if at % SECOND == 0 { at.saturating_add(SECOND - 1) } else { at }
}

fn keep_least<T: Ord + Clone>(set: &mut BTreeSet<T>, value: &T, most: usize) -> bool {
    if set.len() >= most && set.last().is_some_and(|last| last < value) || !set.insert(value.clone()) {
        return false;
    }
    if set.len() > most {
        set.pop_last();
    }
    true
}

fn keep_greatest<T: Ord + Clone>(set: &mut BTreeSet<T>, value: &T, most: usize) -> bool {
    if set.len() >= most && set.first().is_some_and(|first| first > value) || !set.insert(value.clone()) {
        return false;
    }
    if set.len() > most {
        set.pop_first();
    }
    true
}

/// Microseconds of a second.
const SECOND: Micros = 1_000_000;
/// How many of the first events are kept.
pub const HEAD: usize = 32;
/// How many of the last events are kept.
pub const TAIL: usize = 64;
/// How many links are kept.
pub const LINKS: usize = 32;
/// How many members without a meaning here are kept.
pub const EXTRAS: usize = 64;
/// How long such a member may be.
pub(super) const EXTRA_BYTES: usize = 2048;
