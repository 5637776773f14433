//! What an event says of a leg or dialog.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::attr::Attr;
use super::value::{Micros, Val};

/// The name of a leg or a dialog in state.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key(Box<str>);

impl Key {
    /// A leg: its Call-ID.
    #[must_use]
    pub fn leg(id: &str) -> Self {
        Self(format!("leg/{id}").into())
    }

    /// A dialog.
    #[must_use]
    pub fn dialog(id: &str) -> Self {
        Self(format!("dialog/{id}").into())
    }

    /// From the text that [`as_str`](Self::as_str) gives.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.starts_with("leg/") || text.starts_with("dialog/")).then(|| Self(text.into()))
    }

    /// With its kind in front.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without its kind.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, id)| id)
    }

    /// Whether it is a dialog.
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
    /// The event's identity: the same event has the same number.
    #[serde(rename = "k")]
    pub key: u64,
    /// The event's name.
    #[serde(rename = "n")]
    pub name: Box<str>,
    /// What else is worth showing.
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Box<str>>,
}

/// What one event says of one leg or dialog.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Whom it is about.
    pub key: Key,
    /// When it happened.
    pub at: Micros,
    /// Whether it shows that the thing lives.
    pub is_sign: bool,
    /// What it says, with its rank.
    pub sets: Vec<(Attr, u8, Val)>,
    /// What it is connected with: the kind of the link, and the other one.
    pub links: Vec<(Box<str>, Key)>,
    /// Members that have no meaning here, as they stand.
    pub extra: Vec<(Box<str>, Box<str>)>,
    /// The event itself.
    pub line: Option<Line>,
}

impl Facts {
    /// Nothing yet.
    #[must_use]
    pub const fn about(key: Key, at: Micros) -> Self {
        Self { key, at, is_sign: true, sets: Vec::new(), links: Vec::new(), extra: Vec::new(), line: None }
    }

    /// Says something with the rank of a passing remark.
    pub fn set(&mut self, attr: Attr, val: impl Into<Option<Val>>) {
        self.set_ranked(attr, 0, val);
    }

    /// Says something with a rank.
    pub fn set_ranked(&mut self, attr: Attr, rank: u8, val: impl Into<Option<Val>>) {
        if let Some(val) = val.into() {
            self.sets.push((attr, rank, val));
        }
    }

    /// Names something that it is connected with.
    pub fn link(&mut self, kind: &str, to: Key) {
        self.links.push((kind.into(), to));
    }
}
