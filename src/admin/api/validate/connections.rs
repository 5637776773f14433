//! Who may define connections: a CouchDB that a plan names gets the requests of clients, with their credentials.

use serde_json::{Map, Value};

use super::super::documents::Stored;
use super::super::envelope::{Errors, Failure};
use crate::plan::LOCAL;

/// Refuses connections that are new or changed, for all but the operator. What the operator has put into an account's
/// plan stays in it when the rest is changed.
///
/// # Errors
/// 400 with each of them.
pub(in crate::admin::api) fn check_connections(
    members: &Map<String, Value>,
    old: Option<&Stored>,
    is_operator: bool,
) -> Result<(), Failure> {
    let mut errors = Errors::default();
    let entries = |members: &Map<String, Value>| members.get("connections")?.as_object().cloned();
    let old = old.and_then(|old| entries(&old.members)).unwrap_or_default();
    for (id, entry) in entries(members).unwrap_or_default() {
        if !is_operator && id != LOCAL && !entry.is_null() && old.get(&id) != Some(&entry) {
            let message = "Only the operator's token may define or change a connection";
            errors.say(&["connections", &id], "forbidden", message);
        }
    }
    errors.check()
}
