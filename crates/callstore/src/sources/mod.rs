//! Event sources: pure functions from an event's bytes to facts about legs and dialogs.
//!
//! The source is recognized by the event's form. Events and members without a meaning here are kept with their subject; only input
//! that is not a JSON object, or does not identify its subject, is rejected.

mod era;
mod kazoo;
mod members;
mod mixer;
mod time;

pub use members::Members;
pub(crate) use mixer::FINALISED;
pub use time::{GREGORIAN, from_kazoo, to_gregorian};

use crate::fold::{Facts, Micros};

/// A parsed event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The event's identity: equal events have equal keys.
    pub key: u64,
    /// The event's name.
    pub name: Box<str>,
    /// When it happened.
    pub at: Micros,
    /// The switch it comes from, if named and reported by the switch itself.
    pub node: Option<Box<str>>,
    /// The facts it states.
    pub facts: Vec<Facts>,
}

/// Why an event cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Bad {
    /// Not a JSON object; with the parser's message.
    #[error("is no JSON object: {0}")]
    Json(String),
    /// None of the members by which events are recognized.
    #[error("is neither an event of KAZOO (Event-Name), of ERA (eventid, acallid or dialogid) nor of a mixer (event)")]
    Unknown,
    /// No identification of the subject; with the missing member.
    #[error("has no {0}")]
    Nameless(&'static str),
}

/// Parses an event. `taken` is when the journal received it, for events without a time.
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

/// Checks whether an event can be used, without parsing it completely.
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

/// Hashes the parts that identify an event (FNV-1a, <http://www.isthe.com/chongo/tech/comp/fnv/>): the result is the same in every
/// release and on every machine.
pub(crate) fn identity(parts: &[&str]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in part.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}
