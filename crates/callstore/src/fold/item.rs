//! A leg or a dialog: the merge of all statements about it.
//!
//! Every part is insensitive to order and repetition: registers with a total order, and the smallest or largest elements of a set. A call of a
//! million events stays bounded: [`HEAD`] and [`TAIL`] lines of its story, [`EXTRAS`] members of at most [`EXTRA_BYTES`] ([`VARS`]: of
//! [`VARS_BYTES`]), [`LINKS`] links.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::attr::Attr;
use super::facts::{Facts, Key, Line};
use super::value::{Micros, Reg, Rule, Val};

/// The declaration by an instance of the call store that a leg or dialog is dead. The one of the newest epoch wins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Death {
    /// The epoch of the instance that decided.
    pub epoch: u64,
    /// The last sign of life known at that time; a newer one revokes the death.
    pub seen: Micros,
    /// When the leg or dialog ended.
    pub ended: Micros,
    /// When the death was detected.
    pub found: Micros,
    /// `dead` or `timeout`.
    pub kind: Box<str>,
    /// The reason for the declaration.
    pub cause: Box<str>,
}

/// The status of a leg or dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Alive.
    Live,
    /// Suspected to be dead.
    Suspect,
    /// Ended, according to its source.
    Ended,
    /// Declared dead.
    Dead,
}

impl Standing {
    /// Returns the status' name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Suspect => "suspect",
            Self::Ended => "ended",
            Self::Dead => "dead",
        }
    }

    /// The standing of a word.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Live, Self::Suspect, Self::Ended, Self::Dead].into_iter().find(|standing| standing.name() == name)
    }

    /// Returns whether the status is final.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Ended | Self::Dead)
    }
}

/// A leg or a dialog.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The earliest time of any statement; `None` if none has a time.
    #[serde(default)]
    pub first: Option<Micros>,
    /// The last sign of life.
    #[serde(default)]
    pub last: Option<Micros>,
    /// The attributes, sorted.
    #[serde(default)]
    pub attrs: Vec<(Attr, Reg)>,
    /// The links to other items.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub links: BTreeSet<(Box<str>, Key)>,
    /// Members without a meaning to the call store, as JSON.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<Box<str>, Reg>,
    /// The first events.
    #[serde(default)]
    pub head: BTreeSet<Line>,
    /// The last events.
    #[serde(default)]
    pub tail: BTreeSet<Line>,
    /// The declaration of its death.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub death: Option<Death>,
    /// The fingerprints of its saved records, by kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub recorded: BTreeMap<Box<str>, Box<str>>,
}

impl Item {
    /// Merges an event. Returns whether anything changed.
    ///
    /// An event without a time sets no time and is no part of the story. What else it states yields to every statement with a time, whichever comes
    /// first.
    pub fn merge(&mut self, facts: Facts) -> bool {
        let mut changed = false;
        let is_dated = facts.at > 0;
        if is_dated && self.first.is_none_or(|first| facts.at < first) {
            self.first = Some(facts.at);
            changed = true;
        }
        if is_dated && facts.is_sign && self.last.is_none_or(|last| facts.at > last) {
            self.last = Some(facts.at);
            changed = true;
        }
        for (attr, rank, val) in facts.sets {
            if is_dated {
                changed |= self.set(attr, Reg { rank, at: facts.at, val });
            } else if val != Val::Num(facts.at) {
                let at = if attr.rule() == Rule::First { Micros::MAX } else { facts.at };
                changed |= self.set(attr, Reg { rank, at, val });
            }
        }
        for link in facts.links {
            changed |= keep_least(&mut self.links, link, LINKS);
        }
        for (name, value) in facts.extra {
            changed |= self.keep_extra(name, value, facts.at);
        }
        if let Some(line) = facts.line.filter(|_| is_dated) {
            changed |= self.keep_line(line);
        }
        changed
    }

    fn set(&mut self, attr: Attr, reg: Reg) -> bool {
        match self.attrs.binary_search_by_key(&attr, |(known, _)| *known) {
            Ok(at) => self.attrs.get_mut(at).is_some_and(|(_, known)| known.merge(reg, attr.rule())),
            Err(at) => {
                self.attrs.insert(at, (attr, reg));
                true
            }
        }
    }

    /// Keeps the first lines, and of all others the last. A line displaced from the first ones is one of the others.
    fn keep_line(&mut self, line: Line) -> bool {
        if self.has(&line) {
            return false;
        }
        let is_early = self.head.len() < HEAD || self.head.last().is_some_and(|last| line < *last);
        if !is_early {
            return keep_greatest(&mut self.tail, line, TAIL);
        }
        self.head.insert(line);
        if self.head.len() > HEAD
            && let Some(later) = self.head.pop_last()
        {
            keep_greatest(&mut self.tail, later, TAIL);
        }
        true
    }

    /// Keeps the smallest names, which does not depend on the order of arrival: those are never displaced.
    fn keep_extra(&mut self, name: Box<str>, value: Box<str>, at: Micros) -> bool {
        let most = if &*name == VARS { VARS_BYTES } else { EXTRA_BYTES };
        let val = if value.len() > most { format!("\"({} bytes)\"", value.len()).into() } else { value };
        let reg = Reg { rank: 0, at, val: Val::Text(val) };
        if let Some(known) = self.extra.get_mut(&name) {
            return known.merge(reg, Rule::Last);
        }
        if self.extra.len() >= EXTRAS {
            if self.extra.last_key_value().is_none_or(|(last, _)| *last <= name) {
                return false;
            }
            self.extra.pop_last();
        }
        self.extra.insert(name, reg);
        true
    }

    /// Merges a declaration of death. Returns whether it replaced an older one.
    pub fn die(&mut self, death: &Death) -> bool {
        let newer = self.death.as_ref().is_none_or(|known| known < death);
        if newer {
            self.death = Some(death.clone());
        }
        newer
    }

    /// Returns an attribute's value.
    #[must_use]
    pub fn get(&self, attr: Attr) -> Option<&Val> {
        self.reg(attr).map(|reg| &reg.val)
    }

    /// Returns an attribute's value with rank and time.
    #[must_use]
    pub fn reg(&self, attr: Attr) -> Option<&Reg> {
        let at = self.attrs.binary_search_by_key(&attr, |(known, _)| *known).ok()?;
        self.attrs.get(at).map(|(_, reg)| reg)
    }

    /// Returns a string attribute.
    #[must_use]
    pub fn text(&self, attr: Attr) -> Option<&str> {
        self.get(attr).and_then(Val::text)
    }

    /// Returns a number or time.
    #[must_use]
    pub fn num(&self, attr: Attr) -> Option<i64> {
        self.get(attr).and_then(Val::num)
    }

    /// Returns a flag; false if unknown.
    #[must_use]
    pub fn flag(&self, attr: Attr) -> bool {
        self.get(attr) == Some(&Val::Flag(true))
    }

    /// Returns whether the event of this line was merged before, as far as the kept lines tell.
    #[must_use]
    pub fn has(&self, line: &Line) -> bool {
        self.head.contains(line) || self.tail.contains(line)
    }

    /// Returns the kept events in order.
    pub fn story(&self) -> impl Iterator<Item = &Line> {
        self.head.union(&self.tail)
    }

    /// Returns the death, unless it was revoked by a later sign of life.
    #[must_use]
    pub fn standing_death(&self) -> Option<&Death> {
        self.death.as_ref().filter(|death| self.last.is_none_or(|last| last <= death.seen))
    }

    /// Returns when it ended according to its source. Parties that were bridged again after an unbridging have not ended.
    #[must_use]
    pub fn ended(&self) -> Option<Micros> {
        let apart =
            self.num(Attr::Unbridged).filter(|apart| self.num(Attr::Bridged).is_none_or(|joined| joined < *apart));
        self.num(Attr::Ended).or(apart)
    }

    /// Returns when a leg was answered. If that event was lost, its end and the time billed for it tell; a sweep only tells that it was
    /// answered by then.
    #[must_use]
    pub fn answered(&self) -> Option<Micros> {
        let billing = self.num(Attr::Billing).filter(|seconds| *seconds > 0);
        let ended = self.num(Attr::Ended).zip(billing);
        let billed = ended.map(|(ended, billing)| ended.saturating_sub(billing.saturating_mul(SECOND)));
        match (self.num(Attr::Answered), billed) {
            // Billed are whole seconds.
            (Some(told), Some(billed)) if told.saturating_sub(billed) > 2 * SECOND => Some(billed),
            (told, billed) => told.or(billed),
        }
    }

    /// Returns whether a leg was never answered, as far as is known. Of a leg whose beginning was missed, the answer was missed as well,
    /// unless its end says that there was none.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        let is_whole = || self.head.iter().any(|line| &*line.name == "CHANNEL_CREATE");
        self.answered().is_none() && (self.num(Attr::Billing) == Some(0) || is_whole())
    }

    /// Returns the status according to its own events and decisions.
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

    /// Returns the targets of its links of a kind.
    pub fn linked<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Key> {
        self.links.iter().filter(move |(known, _)| &**known == kind).map(|(_, key)| key)
    }
}

/// Returns the latest time that a timestamp may mean: one in whole seconds, as ecallmgr's, covers its whole second.
const fn latest(at: Micros) -> Micros {
    if at % SECOND == 0 { at.saturating_add(SECOND - 1) } else { at }
}

fn keep_least<T: Ord>(set: &mut BTreeSet<T>, value: T, most: usize) -> bool {
    if set.len() >= most && set.last().is_some_and(|last| *last < value) || !set.insert(value) {
        return false;
    }
    if set.len() > most {
        set.pop_last();
    }
    true
}

fn keep_greatest<T: Ord>(set: &mut BTreeSet<T>, value: T, most: usize) -> bool {
    if set.len() >= most && set.first().is_some_and(|first| *first > value) || !set.insert(value) {
        return false;
    }
    if set.len() > most {
        set.pop_first();
    }
    true
}

/// Microseconds per second.
const SECOND: Micros = 1_000_000;
/// How many of the first events are kept.
pub const HEAD: usize = 32;
/// How many of the last events are kept.
pub const TAIL: usize = 64;
/// How many links are kept.
pub const LINKS: usize = 32;
/// How many members without a known meaning are kept.
pub const EXTRAS: usize = 64;
/// The maximum length of such a member.
pub(super) const EXTRA_BYTES: usize = 2048;
/// The channel's variables in KAZOO's events, which its documents repeat.
pub(crate) const VARS: &str = "Custom-Channel-Vars";
/// The maximum length of these.
pub(super) const VARS_BYTES: usize = 16 << 10;
