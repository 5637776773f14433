//! Tracks, from the changes feed, which accounts have users with plans.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::local;

/// The users that have a plan.
#[derive(Debug, Default)]
pub(super) enum Users {
    /// Unknown until the feed is read.
    #[default]
    Unknown,
    /// The users by account, and the account of each.
    Known {
        /// The users of each account who have plans, and whether these use connections.
        accounts: HashMap<String, BTreeMap<String, bool>>,
        /// The account of each user who has a plan.
        account_of: HashMap<String, String>,
    },
}

impl Users {
    /// Returns an empty set, to be filled from the feed.
    pub(super) fn none() -> Self {
        Self::Known { accounts: HashMap::new(), account_of: HashMap::new() }
    }

    /// Returns whether the feed is being read, or was.
    pub(super) const fn is_known(&self) -> bool {
        matches!(self, Self::Known { .. })
    }

    /// Records that a document has changed, or was deleted if `document` is `None`.
    pub(super) fn changed(&mut self, id: &str, document: Option<&Value>) {
        let Self::Known { accounts, account_of } = self else { return };
        if let Some(account) = account_of.remove(id)
            && let Some(users) = accounts.get_mut(&account)
        {
            users.remove(id);
            if users.is_empty() {
                accounts.remove(&account);
            }
        }
        let Some((document, account)) = document.and_then(|document| Some((document, account_of_plan(id, document)?)))
        else {
            return;
        };
        account_of.insert(id.to_owned(), account.to_owned());
        accounts.entry(account.to_owned()).or_default().insert(id.to_owned(), local::connections(document));
    }

    /// Returns whether any user of an account has a plan.
    pub(super) fn has(&self, account: &str) -> bool {
        matches!(self, Self::Known { accounts, .. } if accounts.contains_key(account))
    }

    /// Returns the users of an account whose plans use connections.
    pub(super) fn with_connections(&self, account: &str) -> Vec<String> {
        let Self::Known { accounts, .. } = self else { return Vec::new() };
        let users = accounts.get(account).into_iter().flatten();
        users.filter(|(_, speaks)| **speaks).map(|(user, _)| user.clone()).collect()
    }
}

/// Returns the account of a document that is a user's plan.
fn account_of_plan<'a>(id: &str, document: &'a Value) -> Option<&'a str> {
    let text = |key: &str| document.get(key).and_then(Value::as_str);
    let account = text("pvt_account_id").filter(|account| *account != id)?;
    (text("pvt_type") == Some("storage")).then_some(account)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Users;

    fn plan(account: &str, plan: &Value) -> Value {
        json!({"pvt_type": "storage", "pvt_account_id": account, "plan": plan})
    }

    #[test]
    fn users_are_known_by_account_until_their_plans_are_gone() {
        let mut users = Users::default();
        users.changed("u", Some(&plan("a", &json!({}))));
        assert!(!users.has("a"), "the feed was not read");
        users = Users::none();
        users.changed("u", Some(&plan("a", &json!({}))));
        users.changed("v", Some(&plan("a", &json!({"modb": {"types": {"x": {"connection": "c"}}}}))));
        users.changed("a", Some(&plan("a", &json!({"modb": {"connection": "c"}}))));
        users.changed("x", Some(&json!({"pvt_type": "media", "pvt_account_id": "b"})));
        assert!(users.has("a") && !users.has("b"));
        assert_eq!(users.with_connections("a"), ["v"]);
        users.changed("v", Some(&plan("b", &json!({"modb": {"connection": "c"}}))));
        assert_eq!((users.with_connections("a").len(), users.with_connections("b")), (0, vec!["v".to_owned()]));
        users.changed("u", None);
        users.changed("v", None);
        assert!(!users.has("a") && !users.has("b"));
    }
}
