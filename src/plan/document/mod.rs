//! Plan documents, and their merge into one effective plan.

use std::fmt;

use serde_json::{Map, Value, json};
use stowage_base::settings::as_flag;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

/// The members of a plan document that are merged.
const MEMBERS: [&str; 3] = ["attachments", "connections", "plan"];

/// The `pvt_type` of the plans of the system, of accounts and of users.
const STORAGE: &str = "storage";

/// The `pvt_type` of a plan that accounts name in `pvt_plan_id`.
const STORAGE_PLAN: &str = "storage_plan";

/// The documents that may cover an account's databases, or the system's, as stored in CouchDB.
///
/// Each may be absent. A deleted document, or one of another kind than its role requires, counts as absent: an id in a client's document must not
/// turn an arbitrary document into a plan.
#[derive(Clone, Copy, Default)]
pub struct Documents<'a> {
    /// The account that owns the databases; without one, only `system` counts.
    pub account_id: Option<&'a str>,
    /// The document `system`.
    pub system: Option<&'a Value>,
    /// The plan that the account's own document names in `pvt_plan_id` (see [`plan_id`]).
    pub named: Option<&'a Value>,
    /// The account's own document.
    pub account: Option<&'a Value>,
    /// The plan of the user who owns the documents in question.
    pub owner: Option<&'a Value>,
}

impl fmt::Debug for Documents<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Documents").field("account_id", &self.account_id).finish_non_exhaustive()
    }
}

impl<'a> Documents<'a> {
    /// Returns the documents that count, with their ids, in merge order.
    fn that_count(&self) -> Vec<(&'a str, &'a Value)> {
        let account = self.account_id.and_then(|id| account_document(self.account, id));
        let named = account
            .and_then(|document| text(document, "pvt_plan_id"))
            .and_then(|_| self.named.filter(|named| is_plan(named, STORAGE_PLAN)));
        let owner = self.account_id.and_then(|id| {
            self.owner.filter(|owner| is_plan(owner, STORAGE) && text(owner, "pvt_account_id") == Some(id))
        });
        let system = self.system.filter(|system| is_plan(system, STORAGE));
        [("system", system), ("named", named), ("account", account), ("owner", owner)]
            .into_iter()
            .filter_map(|(role, document)| document.map(|document| (text(document, "_id").unwrap_or(role), document)))
            .collect()
    }
}

/// The effective plan: all documents that count, merged over the built-in default. Holds secrets, which `Debug` hides.
#[derive(Clone, PartialEq)]
pub struct Merged {
    members: Map<String, Value>,
    sources: Vec<String>,
    parts: Vec<(String, Vec<String>)>,
}

impl Merged {
    /// Merges the documents that count over the built-in default.
    pub fn from_documents(documents: &Documents<'_>) -> Self {
        documents.that_count().into_iter().fold(Self::default(), |mut merged, (id, document)| {
            merged.sources.push(id.to_owned());
            merged.note(id, document);
            merged.under(document)
        })
    }

    /// Merges one more document over this plan, whatever its kind.
    #[must_use]
    pub fn under(mut self, document: &Value) -> Self {
        for key in MEMBERS {
            if let Some(part) = document.get(key) {
                merge_into(self.members.entry(key).or_insert(Value::Null), part);
            }
        }
        self
    }

    /// Returns the merged `attachments`, `connections` and `plan`, secrets included.
    pub fn members(&self) -> &Map<String, Value> {
        &self.members
    }

    /// Returns the ids of the merged documents, in merge order.
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// Returns each part of the plan, such as `attachments.ID` or `plan.modb.types.fax`, with the ids of the documents that define it, in merge
    /// order: the last one wins.
    pub fn parts(&self) -> &[(String, Vec<String>)] {
        &self.parts
    }

    fn note(&mut self, id: &str, document: &Value) {
        for part in parts_of(document) {
            match self.parts.iter_mut().find(|(known, _)| *known == part) {
                Some((_, documents)) => documents.push(id.to_owned()),
                None => self.parts.push((part, vec![id.to_owned()])),
            }
        }
    }
}

/// Returns the parts that a document defines.
fn parts_of(document: &Value) -> Vec<String> {
    let members = |value: &Value, path: &str| -> Vec<(String, Value)> {
        let members = value.as_object().into_iter().flatten();
        members.map(|(key, member)| (format!("{path}.{key}"), member.clone())).collect()
    };
    let mut parts = Vec::new();
    for key in MEMBERS {
        for (path, member) in document.get(key).map(|part| members(part, key)).unwrap_or_default() {
            let types = member.get("types").filter(|_| key == "plan");
            let types = types.map(|types| members(types, &format!("{path}.types"))).unwrap_or_default();
            parts.push(path);
            parts.extend(types.into_iter().map(|(path, _)| path));
        }
    }
    parts
}

impl Default for Merged {
    fn default() -> Self {
        Self { members: default_plan(), sources: Vec::new(), parts: Vec::new() }
    }
}

impl fmt::Debug for Merged {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Merged").field("sources", &self.sources).finish_non_exhaustive()
    }
}

/// Returns the plan below all others: nothing leaves CouchDB.
pub fn default_plan() -> Map<String, Value> {
    let plan = json!({ "account": {}, "modb": {}, "system": {}, "yodb": {} });
    Map::from_iter([
        ("attachments".to_owned(), json!({})),
        ("connections".to_owned(), json!({ "local": {} })),
        ("plan".to_owned(), plan),
    ])
}

/// Merges values in order: objects key by key; any other value is replaced by the later one. Returns null for no values.
pub fn merge<'a>(documents: impl IntoIterator<Item = &'a Value>) -> Value {
    let mut documents = documents.into_iter();
    let mut merged = documents.next().cloned().unwrap_or_default();
    for document in documents {
        merge_into(&mut merged, document);
    }
    merged
}

/// Returns the id of the plan that an account's own document names, if that document counts.
pub fn plan_id<'a>(document: &'a Value, account_id: &str) -> Option<&'a str> {
    text(account_document(Some(document), account_id)?, "pvt_plan_id")
}

fn merge_into(merged: &mut Value, later: &Value) {
    let (Value::Object(members), Value::Object(later_members)) = (&mut *merged, later) else {
        merged.clone_from(later);
        return;
    };
    for (key, value) in later_members {
        match members.get_mut(key) {
            Some(member) => merge_into(member, value),
            None => {
                members.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Returns the account's own document if it counts: it need not have a `pvt_account_id`, but must not have another account's.
fn account_document<'a>(document: Option<&'a Value>, account_id: &str) -> Option<&'a Value> {
    document.filter(|document| {
        is_plan(document, STORAGE)
            && match document.get("pvt_account_id") {
                None | Some(Value::Null) => true,
                Some(account) => account.as_str() == Some(account_id),
            }
    })
}

fn is_plan(document: &Value, kind: &str) -> bool {
    let is_set = |key| document.get(key).and_then(as_flag) == Some(true);
    text(document, "pvt_type") == Some(kind) && !is_set("pvt_deleted") && !is_set("_deleted")
}

/// Returns a member that is a non-empty string.
fn text<'a>(document: &'a Value, key: &str) -> Option<&'a str> {
    document.get(key)?.as_str().filter(|text| !text.is_empty())
}
