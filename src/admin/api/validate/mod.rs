//! Validates a plan before it is saved: schema, then references and settings, then addresses.

mod addresses;
pub(super) mod connections;
mod grants;
mod references;

use serde_json::{Map, Value};
use stowage_base::log::RequestId;

use super::Api;
use super::documents::Stored;
use super::envelope::{Errors, Failure};
use super::request::{Data, Query};
use super::route::Scope;
use super::secrets::public;
use crate::plan::{Documents, Merged, plan_id};
use addresses::check_addresses;
use grants::check_grants;
use references::{Ground, check_references};

impl Api {
    /// Returns the plan to be saved.
    ///
    /// # Errors
    /// Returns a 400 with the errors of each field.
    pub(super) async fn validated(
        &self,
        scope: &Scope,
        mut members: Map<String, Value>,
        old: Option<&Stored>,
        data: &Data,
        query: &Query,
        request: &RequestId,
    ) -> Result<Map<String, Value>, Failure> {
        self.check_schema(&members, data)?;
        let below = self.below(scope, &members).await?;
        let ground = Ground::new(below, &members);
        let gateway = &self.0.gateway;
        check_references(&ground, &gateway.storages)?;
        check_grants(&ground, gateway.storages.oauth()).await?;
        check_addresses(&ground, &gateway.storages, &gateway.egress, gateway.timeouts.http.connect).await?;
        if !self.may_skip_the_check(data, query)? {
            self.check(scope, &ground.merged, &mut members, old, request).await?;
        }
        Ok(members)
    }

    fn check_schema(&self, members: &Map<String, Value>, data: &Data) -> Result<(), Failure> {
        let mut errors = Errors::default();
        let mut members = public(members);
        members.extend(data.members.get("id").map(|id| ("id".to_owned(), id.clone())));
        self.0.schemas.check(&members, &mut errors);
        errors.check()
    }

    /// Returns whether the caller requests to skip the credential check.
    fn may_skip_the_check(&self, data: &Data, query: &Query) -> Result<bool, Failure> {
        let skip = data.is_unvalidated(query);
        if skip && !self.0.allow_unvalidated {
            let message = "The system does not allow bypassing settings validation";
            return Err(Failure::wrong("validate_settings", "forbidden", message));
        }
        Ok(skip)
    }

    /// Merges the documents that a plan will be merged over.
    async fn below(&self, scope: &Scope, members: &Map<String, Value>) -> Result<Merged, Failure> {
        if *scope == Scope::System {
            return Ok(Merged::default());
        }
        let system = self.document("system").await?;
        let (account, account_id) = match scope {
            // Only its private members: the others are being validated.
            Scope::Account(id) => {
                let own = members.iter().filter(|(key, _)| key.starts_with("pvt_"));
                let own = own.map(|(key, value)| (key.clone(), value.clone())).collect();
                (Some(Value::Object(own)), Some(id.as_str()))
            }
            Scope::User(id, _) => (self.document(id.as_str()).await?, Some(id.as_str())),
            _ => (None, None),
        };
        let plan = account.as_ref().zip(account_id).and_then(|(document, id)| plan_id(document, id));
        let named = match plan {
            Some(id) => self.document(id).await?,
            None => None,
        };
        Ok(Merged::from_documents(&Documents {
            account_id,
            system: system.as_ref(),
            named: named.as_ref(),
            account: account.as_ref(),
            owner: None,
        }))
    }

    async fn document(&self, id: &str) -> Result<Option<Value>, Failure> {
        Ok(self.0.documents.read(id).await?.map(|stored| Value::Object(stored.members)))
    }
}
