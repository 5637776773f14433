//! What a plan has to be before it is saved.

use serde_json::{Map, Value};

use super::Api;
use super::documents::Stored;
use super::envelope::{Errors, Failure};
use super::request::{Data, Query};
use super::route::Scope;
use crate::telemetry::log::RequestId;

impl Api {
    /// The plan as it is to be saved, with the signatures of its checked storages.
    ///
    /// # Errors
    /// 400 with what is wrong with each field.
    pub(super) async fn validated(
        &self,
        scope: &Scope,
        mut members: Map<String, Value>,
        old: Option<&Stored>,
        data: &Data,
        query: &Query,
        request: &RequestId,
    ) -> Result<Map<String, Value>, Failure> {
        let mut errors = Errors::default();
        let unvalidated = data.unvalidated || query.is_off("validate_settings");
        if unvalidated && !self.0.allow_unvalidated {
            let message = "The system does not allow bypassing settings validation";
            errors.say(&["validate_settings"], "forbidden", message);
        }
        errors.check()?;
        if !unvalidated {
            self.check(scope, &mut members, old, request).await?;
        }
        Ok(members)
    }
}
