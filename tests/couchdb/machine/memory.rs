//! The known documents on both sides, and the correspondence of their revisions.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::operation::{At, Rev};

/// The side that a request is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The server without a gateway.
    Direct,
    Gateway,
}

/// The names of one revision on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub direct: String,
    pub gateway: String,
}

impl Pair {
    pub fn on(&self, side: Side) -> &str {
        match side {
            Side::Direct => &self.direct,
            Side::Gateway => &self.gateway,
        }
    }

    pub fn generation(&self) -> u64 {
        generation(&self.direct)
    }

    /// Returns whether a server made the hash; hashes of replicated revisions are chosen to sort before or after all of those.
    fn is_made(&self) -> bool {
        let hash = self.direct.split_once('-').map_or("", |(_, hash)| hash);
        !hash.starts_with("0000000000") && !hash.starts_with("ffffffffff")
    }
}

/// A leaf revision.
#[derive(Clone, Debug)]
pub struct Leaf {
    pub pair: Pair,
    pub deleted: bool,
    /// The stubs of its attachments.
    pub attachments: Map<String, Value>,
}

/// A document.
#[derive(Debug, Default)]
struct Known {
    /// The leaves, the winner first.
    leaves: Vec<Leaf>,
    /// All revisions, in the order of their creation.
    history: Vec<Pair>,
}

/// The documents of one run.
#[derive(Debug, Default)]
pub struct Memory {
    documents: BTreeMap<String, Known>,
    /// Maps the hashes behind the gateway to those on the direct side.
    hashes: HashMap<String, String>,
    /// Whether an attachment was sent as gzip.
    pub packed: bool,
    /// Whether a document may have attachments both in CouchDB and outside: CouchDB's come first then, which changes the order.
    pub mixed: bool,
}

impl Memory {
    /// Records that two responses contain the same revision under different names.
    pub fn learn(&mut self, document: &str, direct: &str, gateway: &str) -> Result<(), String> {
        let pair = Pair { direct: direct.to_owned(), gateway: gateway.to_owned() };
        let (Some((before, here)), Some((after, there))) = (direct.split_once('-'), gateway.split_once('-')) else {
            return Err(format!("{direct:?} and {gateway:?} are no revisions"));
        };
        if before != after {
            return Err(format!("generation {before} directly, {after} through the gateway"));
        }
        let known = self.documents.entry(document.to_owned()).or_default();
        if let Some(old) = known.history.iter().find(|old| (old.direct == direct) != (old.gateway == gateway)) {
            return Err(format!("{direct} is {gateway} now, and {old:?} before"));
        }
        if let Some(old) = self.hashes.insert(there.to_owned(), here.to_owned()).filter(|old| old != here) {
            return Err(format!("the gateway's {there} is {here} now, and was {old} before"));
        }
        if !known.history.contains(&pair) {
            known.history.push(pair);
        }
        Ok(())
    }

    /// Returns the revision with this name on the direct side.
    fn pair(&self, document: &str, direct: &str) -> Pair {
        let known = self.documents.get(document);
        let found = known.and_then(|known| known.history.iter().find(|pair| pair.direct == direct));
        found.cloned().unwrap_or_else(|| Pair { direct: direct.to_owned(), gateway: direct.to_owned() })
    }

    /// Updates a document from the direct side's response to `open_revs=all`.
    pub fn see(&mut self, document: &str, revisions: &Value) {
        let mut leaves: Vec<Leaf> = Vec::new();
        for revision in revisions.as_array().into_iter().flatten().filter_map(|one| one.get("ok")) {
            let rev = revision["_rev"].as_str().unwrap_or_default();
            leaves.push(Leaf {
                pair: self.pair(document, rev),
                deleted: revision["_deleted"] == true,
                attachments: revision["_attachments"].as_object().cloned().unwrap_or_default(),
            });
        }
        leaves.sort_by_key(|leaf| std::cmp::Reverse((!leaf.deleted, leaf.pair.generation(), leaf.pair.direct.clone())));
        self.documents.entry(document.to_owned()).or_default().leaves = leaves;
    }

    /// Returns the leaves of a document, the winner first.
    pub fn leaves(&self, document: &str) -> &[Leaf] {
        self.documents.get(document).map_or(&[], |known| &known.leaves)
    }

    /// Returns the leaf selected by a read; `None` for the winner of a document without leaves.
    pub fn leaf(&self, document: &str, at: At) -> Option<&Leaf> {
        match at {
            At::Winner => self.leaves(document).first(),
            At::Leaf(index) => self.leaves(document).get(index),
            At::Unknown => None,
        }
    }

    /// Returns the revision selected by a write, if any. `Err` if the document has no such revision.
    pub fn rev(&self, document: &str, rev: Rev) -> Result<Option<Pair>, ()> {
        let leaf = |index: usize| self.leaves(document).get(index).map(|leaf| Some(leaf.pair.clone())).ok_or(());
        let same = |text: &str| Ok(Some(Pair { direct: text.to_owned(), gateway: text.to_owned() }));
        match rev {
            Rev::None => Ok(None),
            // The document is created if it does not exist.
            Rev::Current | Rev::Elsewhere | Rev::Spelt => Ok(leaf(0).unwrap_or_default()),
            Rev::Leaf(index) => leaf(index),
            Rev::Old(back) => {
                let history = self.documents.get(document).map_or(&[][..], |known| &known.history);
                history.iter().rev().nth(back).cloned().map(Some).ok_or(())
            }
            Rev::Unknown => same("2-0123456789abcdef0123456789abcdef"),
            Rev::Malformed => same("nonsense"),
        }
    }

    /// Returns whether an edit over this revision would create two leaves of one generation with hashes made by servers: which of them wins is
    /// random, and independent on each side.
    pub fn is_ambiguous(&self, document: &str, over: Option<&Pair>) -> bool {
        let leaves = self.leaves(document);
        let Some(over) = over.or_else(|| leaves.first().map(|leaf| &leaf.pair)) else {
            return false;
        };
        let rivals = leaves.iter().filter(|leaf| leaf.pair != *over && leaf.pair.is_made());
        rivals.map(|leaf| leaf.pair.generation()).any(|generation| generation == over.generation() + 1)
    }

    /// Translates the hashes in the gateway's text to those of the direct side.
    pub fn translated(&self, text: &str) -> String {
        let mut translated = String::with_capacity(text.len());
        let mut word = String::new();
        for character in text.chars().chain(['\n']) {
            if character.is_ascii_alphanumeric() {
                word.push(character);
                continue;
            }
            translated.push_str(self.hashes.get(&word).unwrap_or(&word));
            translated.push(character);
            word.clear();
        }
        translated.pop();
        translated
    }
}

pub fn generation(rev: &str) -> u64 {
    rev.split_once('-').and_then(|(generation, _)| generation.parse().ok()).unwrap_or_default()
}
