//! What sources say: pure functions from the bytes of an event to facts about legs and dialogs.
//!
//! Which source it is follows from the event's own form. Events and members without a meaning here are kept with what they are
//! about; only what is no JSON object, or names nothing that it is about, is refused.

mod era;
mod kazoo;
mod members;
mod mixer;
mod time;

use std::fmt;

pub use members::Members;
pub use time::{GREGORIAN, from_kazoo, to_gregorian};

use crate::fold::{Facts, Micros};

/// An event, understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its identity: the same event has the same number.
    pub key: u64,
    /// Its name.
    pub name: Box<str>,
    /// When it happened.
    pub at: Micros,
    /// The switch that it comes from, where it says so and the switch itself said it.
    pub node: Option<Box<str>>,
    /// What it says.
    pub facts: Vec<Facts>,
}

/// Why an event cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bad {
    /// It is no JSON object; with what the parser says.
    Json(String),
    /// It has none of the members by which events are known.
    Unknown,
    /// It does not say what it is about; with the member that is missing.
    Nameless(&'static str),
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => write!(f, "is no JSON object: {error}"),
            Self::Unknown => {
                f.write_str("is neither an event of KAZOO (Event-Name), of ERA (eventid, acallid or dialogid) nor of a mixer (event)")
            }
            Self::Nameless(member) => write!(f, "has no {member}"),
        }
    }
}

impl std::error::Error for Bad {}

/// Reads an event. `taken` is when the journal took it, for events that do not say when they happened.
///
/// # Errors
/// See [`Bad`].
pub fn read(bytes: &[u8], taken: Micros) -> Result<Event, Bad> {
    let members = Members::parse(bytes).map_err(|error| Bad::Json(error.to_string()))?;
    if kazoo::owns(&members) {
        kazoo::read(&members, taken)
    } else if mixer::owns(&members) {
        mixer::read(&members)
    } else if era::owns(&members) {
        era::read(&members, taken)
    } else {
        Err(Bad::Unknown)
    }
}

/// Whether an event can be used, without reading all of it.
///
/// # Errors
/// See [`Bad`].
pub fn judge(bytes: &[u8]) -> Result<(), Bad> {
    let members = Members::parse(bytes).map_err(|error| Bad::Json(error.to_string()))?;
    if kazoo::owns(&members) {
        kazoo::judge(&members)
    } else if mixer::owns(&members) {
        mixer::read(&members).map(drop)
    } else if era::owns(&members) {
        era::judge(&members)
    } else {
        Err(Bad::Unknown)
    }
}

/// The identity of an event from the parts that make it (FNV-1a, <http://www.isthe.com/chongo/tech/comp/fnv/>): the same in
/// every release and on every machine.
pub(crate) fn identity(parts: &[&str]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in part.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}
