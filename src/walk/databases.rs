//! The databases that a walk covers.

use bytes::Bytes;
use http::{Method, StatusCode};

use super::{Fault, Scope};
use crate::database::AccountId;
use crate::error::Error;
use crate::gateway::Gateway;
use crate::moving::refused;
use crate::router::Database;

/// Returns the databases of a scope, ordered by name: those of the configured CouchDB. A database that only exists on a plan's connection is not
/// found.
pub(crate) async fn of(gateway: &Gateway, scope: &Scope) -> Result<Vec<Database>, Error> {
    let answer = gateway.homes.local().own_account().send(Method::GET, "_all_dbs", Bytes::new()).await?;
    if answer.status() != StatusCode::OK {
        return Err(refused(answer.status(), "the list of databases"));
    }
    let names: Vec<String> =
        serde_json::from_slice(answer.body()).map_err(|_| refused(answer.status(), "the list of databases"))?;
    let known = names.iter().filter_map(|name| Database::of(name));
    let found: Vec<Database> = known.filter(|database| scope.has(database)).collect();
    if found.is_empty() {
        return Err(Error::refused(StatusCode::NOT_FOUND, "not_found", nothing(scope, &names)));
    }
    Ok(found)
}

/// Returns a fault for each pattern and each account of a scope that has no database among those found.
pub(super) fn absent(scope: &Scope, found: &[Database]) -> Vec<Fault> {
    let is_idle = |pattern: &&glob::Pattern| !found.iter().any(|database| pattern.matches(&database.name));
    let has_none = |account: &&AccountId| !found.iter().any(|database| database.account.as_ref() == Some(*account));
    let patterns = scope.databases.iter().filter(is_idle).map(glob::Pattern::as_str);
    let accounts = scope.accounts.iter().filter(has_none).map(AccountId::as_str);
    let pattern = patterns.map(|text| Fault::new((text, "", ""), ABSENT, "no database that plans speak of fits it"));
    let account = accounts.map(|id| Fault::new((id, "", ""), ABSENT, "CouchDB has no database of this account"));
    pattern.chain(account).collect()
}

/// The kind of fault that a part of the scope has no database.
const ABSENT: &str = "absent";

/// Builds the message that no database matches, with what there is.
fn nothing(scope: &Scope, names: &[String]) -> String {
    let patterns: Vec<&str> = scope.databases.iter().map(glob::Pattern::as_str).collect();
    let accounts: Vec<&str> = scope.accounts.iter().map(AccountId::as_str).collect();
    let asked = [patterns, accounts].concat().join(", ");
    let known: Vec<&String> = names.iter().filter(|name| Database::of(name).is_some()).collect();
    let example = known.first().map(|name| format!(", such as {name}")).unwrap_or_default();
    let asked = if asked.is_empty() { "databases".to_owned() } else { asked };
    format!("no database fits {asked}: CouchDB has {} that plans speak of{example}", known.len())
}
