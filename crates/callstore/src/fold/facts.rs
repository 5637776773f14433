//! The facts an event states about a leg or dialog.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::attr::Attr;
use super::value::{Micros, Val};

/// The key of a leg or dialog in state.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key(Box<str>);

impl Key {
    /// Creates the key of a leg from its Call-ID.
    #[must_use]
    pub fn leg(id: &str) -> Self {
        Self(format!("leg/{id}").into())
    }

    /// Creates the key of a dialog.
    #[must_use]
    pub fn dialog(id: &str) -> Self {
        Self(format!("dialog/{id}").into())
    }

    /// Parses the text returned by [`as_str`](Self::as_str).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.starts_with("leg/") || text.starts_with("dialog/")).then(|| Self(text.into()))
    }

    /// Returns the key with its kind as a prefix.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the id, without the kind.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, id)| id)
    }

    /// Returns whether it is a dialog.
    #[must_use]
    pub fn is_dialog(&self) -> bool {
        self.0.starts_with("dialog/")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One event in the story of a leg or dialog.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Line {
    /// When it happened.
    #[serde(rename = "t")]
    pub at: Micros,
    /// The event's identity: equal events have equal keys.
    #[serde(rename = "k")]
    pub key: u64,
    /// The event's name.
    #[serde(rename = "n")]
    pub name: Box<str>,
    /// Further details worth showing.
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Box<str>>,
}

/// The facts one event states about one leg or dialog.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The leg or dialog.
    pub key: Key,
    /// When it happened; 0 if neither the event nor the journal says.
    pub at: Micros,
    /// Whether it is a sign of life.
    pub is_sign: bool,
    /// Attribute values, each with its rank.
    pub sets: Vec<(Attr, u8, Val)>,
    /// Links to others: the kind of link, and the other key.
    pub links: Vec<(Box<str>, Key)>,
    /// Members that have no meaning here, as raw JSON.
    pub extra: Vec<(Box<str>, Box<str>)>,
    /// The event itself.
    pub line: Option<Line>,
}

impl Facts {
    /// Creates facts that state nothing yet.
    #[must_use]
    pub const fn about(key: Key, at: Micros) -> Self {
        Self { key, at, is_sign: true, sets: Vec::new(), links: Vec::new(), extra: Vec::new(), line: None }
    }

    /// Sets an attribute with the lowest rank.
    pub fn set(&mut self, attr: Attr, val: impl Into<Option<Val>>) {
        self.set_ranked(attr, 0, val);
    }

    /// Sets an attribute with a rank.
    pub fn set_ranked(&mut self, attr: Attr, rank: u8, val: impl Into<Option<Val>>) {
        if let Some(val) = val.into() {
            self.sets.push((attr, rank, val));
        }
    }

    /// Adds a link to another leg or dialog.
    pub fn link(&mut self, kind: &str, to: Key) {
        self.links.push((kind.into(), to));
    }
}
