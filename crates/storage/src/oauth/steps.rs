//! Access to one grant's calls for `tests/storages/oauth`.

use http::{HeaderMap, Method, StatusCode};

use super::{Authorized, Key, Subject};
use crate::driver::Context;
use crate::engine::api::{Api, Call, Fault, Vendor, by_status};
use crate::error::Result;

/// Calls with the token of a grant.
#[derive(Debug)]
pub struct GrantedCalls(Authorized);

static ANY: Vendor = Vendor { name: "the vendor", fails: by_status, fault: |_, _| Fault::default() };

impl GrantedCalls {
    /// For a user's grant. `endpoint` is the configured token endpoint.
    #[must_use]
    pub fn of_document(context: &Context, id: &str, endpoint: Option<String>) -> Self {
        Self::new(context, Subject::Document(id.to_owned()), endpoint)
    }

    /// For a service account.
    #[must_use]
    pub fn of_app(context: &Context, id: &str, endpoint: Option<String>) -> Self {
        Self::new(context, Subject::App(id.to_owned()), endpoint)
    }

    fn new(context: &Context, subject: Subject, endpoint: Option<String>) -> Self {
        let key = Key { subject, scope: "files.read files.write", endpoint };
        Self(Authorized::new(Api::new(&ANY, context.client.clone(), Vec::new()), context.oauth.clone(), key))
    }

    /// Requests a URL; returns the status and headers.
    ///
    /// # Errors
    /// If there is no token, or no response.
    pub async fn get(&self, url: &str) -> Result<(StatusCode, HeaderMap)> {
        let reply = self.0.ask(&Call::to(Method::GET, url)?).await?;
        Ok((reply.status, reply.headers))
    }
}
