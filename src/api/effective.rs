//! The plan that a document would be part of, once it is saved.

use serde_json::{Map, Value, json};

use super::Api;
use super::envelope::Failure;
use super::route::Scope;
use crate::plan::{Documents, Merged};

impl Api {
    /// Merges a plan that is to be saved with the documents below it.
    ///
    /// # Errors
    /// Where CouchDB cannot be asked.
    pub(super) async fn effective(&self, scope: &Scope, members: &Map<String, Value>) -> Result<Merged, Failure> {
        let own = Value::Object(members.clone());
        if *scope == Scope::System {
            return Ok(Merged::from_documents(&Documents { system: Some(&own), ..Documents::default() }));
        }
        let system = self.document("system").await?;
        let account_id = scope.account().map_or(NOBODY, |account| account.as_str());
        let base = Documents { account_id: Some(account_id), system: system.as_ref(), ..Documents::default() };
        match scope {
            Scope::System
            | Scope::SystemPlans
            | Scope::SystemPlan(_)
            | Scope::ResellerPlans(_)
            | Scope::ResellerPlan(..) => {
                let account = json!({ "pvt_type": "storage", "pvt_plan_id": "plan" });
                Ok(Merged::from_documents(&Documents { named: Some(&own), account: Some(&account), ..base }))
            }
            Scope::Account(_) => {
                let named = self.named(&own).await?;
                Ok(Merged::from_documents(&Documents { named: named.as_ref(), account: Some(&own), ..base }))
            }
            Scope::User(..) => {
                let account = self.document(account_id).await?;
                let named = match &account {
                    Some(account) => self.named(account).await?,
                    None => None,
                };
                let documents =
                    Documents { named: named.as_ref(), account: account.as_ref(), owner: Some(&own), ..base };
                Ok(Merged::from_documents(&documents))
            }
        }
    }

    async fn named(&self, account: &Value) -> Result<Option<Value>, Failure> {
        match account.get("pvt_plan_id").and_then(Value::as_str) {
            Some(id) => self.document(id).await,
            None => Ok(None),
        }
    }

    async fn document(&self, id: &str) -> Result<Option<Value>, Failure> {
        Ok(self.0.documents.read(id).await?.map(|stored| Value::Object(stored.members)))
    }
}

/// Stands for the account of a plan that none names yet.
const NOBODY: &str = "00000000000000000000000000000000";
