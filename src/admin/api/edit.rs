//! Creates, reads, replaces, patches and removes plans.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use stowage_base::log::RequestId;
use stowage_base::settings::as_flag;
use uuid::Uuid;

use super::Api;
use super::documents::Stored;
use super::envelope::{Failure, Success};
use super::request::{Data, Query};
use super::route::Scope;
use super::secrets::{masked, public, unmasked};
use super::validate::connections::check_connections;
use crate::record::GREGORIAN_EPOCH;

/// The `pvt_type` of the plans of the system, of accounts and of users.
const STORAGE: &str = "storage";
/// The `pvt_type` of plans that accounts name.
const STORAGE_PLAN: &str = "storage_plan";

/// The parts of a change that do not depend on its scope.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change<'a> {
    /// The request's body.
    pub(super) data: &'a Data,
    /// The request's query.
    pub(super) query: &'a Query,
    /// The request's id in the log.
    pub(super) request: &'a RequestId,
    /// Whether the caller holds the operator's token.
    pub(super) is_operator: bool,
}

impl Api {
    pub(super) async fn read(&self, scope: &Scope) -> Result<Success, Failure> {
        let (_, stored) = self.existing(scope).await?;
        Ok(Success::new(shown(&stored.members), Some(stored.rev)))
    }

    pub(super) async fn list(&self, scope: &Scope) -> Result<Success, Failure> {
        let plans = self.0.documents.all(|stored| fits(scope, stored)).await?;
        let data: Vec<Value> = plans.iter().map(|stored| shown(&stored.members)).collect();
        Ok(Success::new(Value::Array(data), None).with("page_size", plans.len()))
    }

    pub(super) async fn create(&self, scope: &Scope, change: Change<'_>) -> Result<Success, Failure> {
        let id = document_id(scope).map_or_else(|| Uuid::new_v4().simple().to_string(), str::to_owned);
        if !may_be_named(scope) {
            return Err(Failure::bad_identifier(&id));
        }
        let old = self.0.documents.read(&id).await?;
        let is_free = |old: &Stored| (old.is_deleted() && fits(scope, old)) || is_squatted(scope, old);
        if !old.as_ref().is_none_or(is_free) {
            return Err(Failure::conflict());
        }
        let mut members = unmasked(public(&change.data.members), &Map::new())?;
        members.extend(private(scope, &id));
        if let Some(old) = old {
            members.insert("_rev".to_owned(), old.rev.into());
        }
        let (members, rev) = self.save(scope, &id, members, None, change).await?;
        Ok(Success::created(shown(&members), Some(rev)))
    }

    pub(super) async fn replace(&self, scope: &Scope, change: Change<'_>) -> Result<Success, Failure> {
        let (id, old) = self.existing(scope).await?;
        let members = unmasked(public(&change.data.members), &old.members)?;
        self.update(scope, &id, members, &old, change).await
    }

    pub(super) async fn patch(&self, scope: &Scope, change: Change<'_>) -> Result<Success, Failure> {
        let (id, old) = self.existing(scope).await?;
        // Over what the caller may see: a secret that stays while its address changes is a mask, and treated like one.
        let mut members = Value::Object(masked(&old.members));
        merge(&mut members, &Value::Object(public(&change.data.members)));
        let Value::Object(members) = members else { return Err(Failure::bad_identifier(&id)) };
        let members = unmasked(members, &old.members)?;
        self.update(scope, &id, members, &old, change).await
    }

    /// Does what POST would, without saving: checks every storage of the plan, including those that have not changed.
    pub(super) async fn check_only(&self, scope: &Scope, change: Change<'_>) -> Result<Success, Failure> {
        let Change { data, query, request, is_operator } = change;
        let id = document_id(scope).unwrap_or_default();
        let old = self.0.documents.read(id).await?.filter(|stored| !stored.is_deleted() && fits(scope, stored));
        let stored = old.as_ref().map(|old| old.members.clone()).unwrap_or_default();
        let mut members = unmasked(public(&data.members), &stored)?;
        check_connections(&members, old.as_ref(), is_operator)?;
        let own = stored.into_iter().filter(|(key, _)| key.starts_with("pvt_"));
        members.extend(own);
        let members = self.validated(scope, members, None, data, query, request).await?;
        let mut data = masked(&members);
        data.insert("id".to_owned(), id.into());
        Ok(Success::new(Value::Object(data), None))
    }

    pub(super) async fn remove(&self, scope: &Scope) -> Result<Success, Failure> {
        let (id, old) = self.existing(scope).await?;
        let tombstone = Map::from_iter([
            ("_id".to_owned(), json!(id)),
            ("_rev".to_owned(), json!(old.rev)),
            ("_deleted".to_owned(), json!(true)),
        ]);
        let rev = self.0.documents.write(&id, &tombstone).await?;
        self.0.gateway.plans.document_changed(&id, None);
        Ok(Success::new(shown(&old.members), Some(rev)))
    }

    async fn update(
        &self,
        scope: &Scope,
        id: &str,
        mut members: Map<String, Value>,
        old: &Stored,
        change: Change<'_>,
    ) -> Result<Success, Failure> {
        for (key, value) in &old.members {
            if key.starts_with("pvt_") || key.starts_with('_') {
                members.insert(key.clone(), value.clone());
            }
        }
        members.insert("pvt_modified".to_owned(), now().into());
        let (members, rev) = self.save(scope, id, members, Some(old), change).await?;
        Ok(Success::new(shown(&members), Some(rev)))
    }

    /// Validates the plan, checks its storages and saves it. It takes effect with the next request.
    async fn save(
        &self,
        scope: &Scope,
        id: &str,
        members: Map<String, Value>,
        old: Option<&Stored>,
        change: Change<'_>,
    ) -> Result<(Map<String, Value>, String), Failure> {
        let Change { data, query, request, is_operator } = change;
        check_connections(&members, old, is_operator)?;
        let members = self.validated(scope, members, old, data, query, request).await?;
        let bytes = Value::Object(members.clone()).to_string().len() as u64;
        if bytes > self.0.document_bytes {
            // The gateway could not read it again.
            return Err(Failure::too_large());
        }
        let rev = self.0.documents.write(id, &members).await?;
        self.0.gateway.plans.document_changed(id, Some(&Value::Object(members.clone())));
        Ok((members, rev))
    }

    async fn existing(&self, scope: &Scope) -> Result<(String, Stored), Failure> {
        let id = document_id(scope).ok_or_else(|| Failure::bad_identifier(""))?;
        let stored = self.0.documents.read(id).await?;
        let stored = stored.filter(|stored| !stored.is_deleted() && fits(scope, stored));
        stored.map(|stored| (id.to_owned(), stored)).ok_or_else(|| Failure::bad_identifier(id))
    }
}

/// Returns the document id of a scope; `None` if it has no id yet.
fn document_id(scope: &Scope) -> Option<&str> {
    match scope {
        Scope::System => Some("system"),
        Scope::SystemPlan(id) | Scope::ResellerPlan(_, id) | Scope::User(_, id) => Some(id),
        Scope::Account(account) => Some(account.as_str()),
        Scope::SystemPlans | Scope::ResellerPlans(_) => None,
    }
}

/// Returns whether a scope's id is allowed: users' plans share a database with the others, and must not use the id of the system's or the account's
/// own.
fn may_be_named(scope: &Scope) -> bool {
    !matches!(scope, Scope::User(account, user) if user == "system" || user == account.as_str())
}

/// Returns whether another user's plan occupies an account's own id, which the platform never assigns to a user.
fn is_squatted(scope: &Scope, stored: &Stored) -> bool {
    let Scope::Account(own) = scope else { return false };
    stored.text("pvt_type") == Some(STORAGE)
        && stored.text("pvt_account_id").is_some_and(|account| account != own.as_str())
}

/// Returns whether a document matches a scope: an id alone must not give access to another's document.
fn fits(scope: &Scope, stored: &Stored) -> bool {
    let kind = stored.text("pvt_type");
    let account = stored.text("pvt_account_id");
    let is_system = stored.members.get("pvt_system_plan").and_then(as_flag) == Some(true);
    match scope {
        Scope::System => kind == Some(STORAGE),
        Scope::SystemPlans | Scope::SystemPlan(_) => kind == Some(STORAGE_PLAN) && (is_system || account.is_none()),
        Scope::Account(own) => kind == Some(STORAGE) && account.is_none_or(|account| account == own.as_str()),
        Scope::ResellerPlans(own) | Scope::ResellerPlan(own, _) => {
            kind == Some(STORAGE_PLAN) && !is_system && account == Some(own.as_str())
        }
        Scope::User(own, _) => may_be_named(scope) && kind == Some(STORAGE) && account == Some(own.as_str()),
    }
}

/// Returns the private members of a new document.
fn private(scope: &Scope, id: &str) -> Map<String, Value> {
    let is_plan = matches!(scope, Scope::SystemPlans | Scope::ResellerPlans(_));
    let mut members = Map::from_iter([
        ("_id".to_owned(), json!(id)),
        ("pvt_type".to_owned(), json!(if is_plan { STORAGE_PLAN } else { STORAGE })),
        ("pvt_created".to_owned(), now().into()),
        ("pvt_modified".to_owned(), now().into()),
    ]);
    if is_plan {
        members.insert("pvt_system_plan".to_owned(), json!(scope.account().is_none()));
    }
    if let Some(account) = scope.account() {
        members.insert("pvt_account_id".to_owned(), json!(account.as_str()));
    }
    members
}

/// Returns a document as callers see it.
fn shown(members: &Map<String, Value>) -> Value {
    let mut data = masked(members);
    if let Some(id) = members.get("_id") {
        data.insert("id".to_owned(), id.clone());
    }
    Value::Object(data)
}

/// Merges a patch (RFC 7396): objects merge key by key, null removes, anything else replaces.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(members) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            // Order does not matter, and a patch of several megabytes may remove every key.
            members.swap_remove(key);
        } else {
            merge(members.entry(key).or_insert(Value::Null), value);
        }
    }
}

/// Returns seconds since year 0, as in the platform's timestamps.
fn now() -> u64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    GREGORIAN_EPOCH + unix.as_secs()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::merge;

    #[test]
    fn a_patch_merges_and_null_removes() {
        let mut target = json!({"a": {"b": 1, "c": [1, 2]}, "d": "x", "e": 1});
        merge(&mut target, &json!({"a": {"b": null, "c": [3], "f": {"g": null, "h": 1}}, "d": {"i": 1}}));
        assert_eq!(target, json!({"a": {"c": [3], "f": {"h": 1}}, "d": {"i": 1}, "e": 1}));
    }
}
