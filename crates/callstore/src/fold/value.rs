//! Register values: a value with its rank and time, and how two of them merge.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Unix time in microseconds.
pub type Micros = i64;

/// A value in state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
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
    /// Returns the text, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Flag(_) | Self::Num(_) => None,
        }
    }

    /// Returns the number; text is parsed.
    #[must_use]
    pub fn num(&self) -> Option<i64> {
        match self {
            Self::Num(number) => Some(*number),
            Self::Text(text) => text.trim().parse().ok(),
            Self::Flag(_) => None,
        }
    }

    /// Converts it to JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        match self {
            Self::Flag(flag) => (*flag).into(),
            Self::Num(number) => (*number).into(),
            Self::Text(text) => (&**text).into(),
        }
    }
}

/// Written by hand, because the derived one tries each variant in turn: building the errors of those that do not fit took longer than all else.
impl<'de> Deserialize<'de> for Val {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Val;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a flag, a whole number or a text")
            }

            fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Val, E> {
                Ok(Val::Flag(flag))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Val, E> {
                Ok(Val::Num(number))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Val, E> {
                i64::try_from(number).map(Val::Num).map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Val, E> {
                Ok(Val::from(text))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl From<&str> for Val {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

/// Which of two values of the same rank is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The older one.
    First,
    /// The newer one.
    Last,
}

/// A value with its rank (a higher rank takes precedence) and time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reg {
    /// The value's precedence.
    #[serde(rename = "r", default, skip_serializing_if = "is_zero")]
    pub rank: u8,
    /// When it was stated.
    #[serde(rename = "t")]
    pub at: Micros,
    /// The value.
    #[serde(rename = "v")]
    pub val: Val,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_zero(rank: &u8) -> bool {
    *rank == 0
}

impl Reg {
    /// Takes the other register if it takes precedence. The order is total, so the result does not depend on the order or the number of
    /// merges. Returns whether anything changed.
    pub fn merge(&mut self, other: Self, rule: Rule) -> bool {
        let wins = match rule {
            Rule::Last => (other.rank, other.at, &other.val) > (self.rank, self.at, &self.val),
            Rule::First => {
                other.rank > self.rank || other.rank == self.rank && (other.at, &other.val) < (self.at, &self.val)
            }
        };
        if wins {
            *self = other;
        }
        wins
    }
}
