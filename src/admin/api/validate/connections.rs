//! Restricts who may define connections: a CouchDB named by a plan receives clients' requests with their credentials.

use serde_json::{Map, Value};

use super::super::documents::Stored;
use super::super::envelope::{Errors, Failure};
use crate::plan::LOCAL;

/// Refuses new or changed connections, except from the operator. Connections that the operator added to an account's plan remain when the rest is
/// changed.
///
/// # Errors
/// Returns a 400 with each of them.
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
