//! What is known of one thing: a value, its rank and its time; and how two sayings become one.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Unix time in microseconds.
pub type Micros = i64;

/// A value as state keeps it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Val {
    /// A flag.
    Flag(bool),
    /// A number; times are [`Micros`].
    Num(i64),
    /// A text.
    Text(Box<str>),
}

impl Val {
    /// The text, where it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Flag(_) | Self::Num(_) => None,
        }
    }

    /// The number, also of a text that is one.
    #[must_use]
    pub fn num(&self) -> Option<i64> {
        match self {
            Self::Num(number) => Some(*number),
            Self::Text(text) => text.trim().parse().ok(),
            Self::Flag(_) => None,
        }
    }

    /// As JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        match self {
            Self::Flag(flag) => (*flag).into(),
            Self::Num(number) => (*number).into(),
            Self::Text(text) => (&**text).into(),
        }
    }
}

impl From<&str> for Val {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

/// Which of two sayings of the same rank stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The older one: what was said first.
    First,
    /// The newer one.
    Last,
}

/// A value, who said it (a higher rank is believed first), and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reg {
    /// How much the saying weighs.
    #[serde(rename = "r", default, skip_serializing_if = "is_zero")]
    pub rank: u8,
    /// When it was said.
    #[serde(rename = "t")]
    pub at: Micros,
    /// What was said.
    #[serde(rename = "v")]
    pub val: Val,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_zero(rank: &u8) -> bool {
    *rank == 0
}

impl Reg {
    /// Takes the other one where that weighs more. The order is total, so that the outcome is the same in whatever order, and
    /// however often, sayings come. Gives whether anything changed.
    pub fn merge(&mut self, other: &Self, rule: Rule) -> bool {
        let wins = match rule {
            Rule::Last => (other.rank, other.at, &other.val) > (self.rank, self.at, &self.val),
            Rule::First => {
                other.rank > self.rank || other.rank == self.rank && (other.at, &other.val) < (self.at, &self.val)
            }
        };
        if wins {
            self.clone_from(other);
        }
        wins
    }
}
