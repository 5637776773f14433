//! The databases that a walk covers.

use bytes::Bytes;
use http::{Method, StatusCode};

use super::Scope;
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

/// Builds the message that no database matches, with what there is.
fn nothing(scope: &Scope, names: &[String]) -> String {
    let patterns: Vec<&str> = scope.databases.iter().map(glob::Pattern::as_str).collect();
    let accounts: Vec<&str> = scope.accounts.iter().map(crate::database::AccountId::as_str).collect();
    let asked = [patterns, accounts].concat().join(", ");
    let known: Vec<&String> = names.iter().filter(|name| Database::of(name).is_some()).collect();
    let example = known.first().map(|name| format!(", such as {name}")).unwrap_or_default();
    let asked = if asked.is_empty() { "databases".to_owned() } else { asked };
    format!("no database fits {asked}: CouchDB has {} that plans speak of{example}", known.len())
}
