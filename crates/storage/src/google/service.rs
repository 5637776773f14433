//! Google's API as accessed with one grant.

use http::Method;
use stowage_base::settings::Settings;
use stowage_base::tasks::Tasks;

use super::fault::fault;
use crate::engine::api::{Api, Call, Lost, Reply, Vendor, by_status};
use crate::engine::endpoint::Endpoint;
use crate::oauth::{Authorized, Key, Subject};
use crate::{Context, Result};

/// Endpoints of both storages. Without a token endpoint, the provider document's applies.
pub(super) const ENDPOINTS: &[(&str, &str)] = &[(API, "https://www.googleapis.com"), (OAUTH, "")];
const API: &str = "google_api";
const OAUTH: &str = "google_oauth";

static GOOGLE: Vendor = Vendor { name: "Google", fails: by_status, fault };

/// Google's API as accessed with one grant.
#[derive(Debug)]
pub(super) struct Service {
    /// The storage's id in the plan, for logs.
    pub(super) id: String,
    pub(super) endpoint: Endpoint,
    /// The document that defines how tokens are obtained.
    pub(super) grant: String,
    pub(super) tasks: Tasks,
    pub(super) authorized: Authorized,
}

impl Service {
    /// # Errors
    /// `Settings` if the configured endpoint is not a URL.
    pub(super) fn open(settings: &Settings, context: &Context, subject: Subject, scope: &'static str) -> Result<Self> {
        let endpoints = &context.options.endpoints;
        let endpoint = Endpoint::read(endpoints.get(API))?;
        let api = Api::new(&GOOGLE, context.client.clone(), vec![endpoint.origin.clone()]);
        let grant = subject.to_string();
        let tokens = Some(endpoints.get(OAUTH).to_owned()).filter(|endpoint| !endpoint.is_empty());
        let authorized = Authorized::new(api, context.oauth.clone(), Key { subject, scope, endpoint: tokens });
        Ok(Self { id: settings.id().to_owned(), endpoint, grant, tasks: context.tasks.clone(), authorized })
    }

    /// Creates a call. `target` is path and query from the API's root.
    pub(super) fn call(&self, method: Method, target: &str) -> Call {
        self.endpoint.call(method, target)
    }

    /// Makes a call with the token.
    pub(super) async fn ask(&self, call: &Call) -> std::result::Result<Reply, Lost> {
        self.authorized.ask(call).await
    }

    /// Returns the API without the token, for session URIs.
    pub(super) const fn api(&self) -> &Api {
        self.authorized.api()
    }
}
