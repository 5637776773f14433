//! Google's API as accessed with one grant.

use http::Method;
use stowage_base::settings::Settings;
use stowage_base::tasks::Tasks;
use stowage_http::body::Body;
use stowage_http::client::Patience;
use stowage_http::target::Origin;
use url::Url;

use super::fault::fault;
use crate::engine::api::{Api, Call, Lost, Reply, Vendor, by_status};
use crate::oauth::{Authorized, Key, Subject};
use crate::{Context, Error, Kind, Result};

/// Endpoints of both storages. Without a token endpoint, the provider document's applies.
pub(super) const ENDPOINTS: &[(&str, &str)] = &[(API, "https://www.googleapis.com"), (OAUTH, "")];
const API: &str = "google_api";
const OAUTH: &str = "google_oauth";

static GOOGLE: Vendor = Vendor { name: "Google", fails: by_status, fault, header: None };

/// Google's API as accessed with one grant.
#[derive(Debug)]
pub(super) struct Service {
    /// The storage's id in the plan, for logs.
    pub(super) id: String,
    pub(super) origin: Origin,
    /// The document that defines how tokens are obtained.
    pub(super) grant: String,
    pub(super) tasks: Tasks,
    /// The path of the configured endpoint, if that is a proxy.
    prefix: String,
    authorized: Authorized,
}

impl Service {
    /// # Errors
    /// `Settings` if the configured endpoint is not a URL.
    pub(super) fn open(settings: &Settings, context: &Context, subject: Subject, scope: &'static str) -> Result<Self> {
        let endpoints = &context.options.endpoints;
        let wrong = || Error::new(Kind::Settings, "the configured endpoint google_api is no http or https URL");
        let url: Url = endpoints.get(API).parse().map_err(|_| wrong())?;
        let origin = Origin::of(&url).ok_or_else(wrong)?;
        let api = Api::new(&GOOGLE, context.client.clone(), vec![origin.clone()]);
        let grant = subject.to_string();
        let endpoint = Some(endpoints.get(OAUTH).to_owned()).filter(|endpoint| !endpoint.is_empty());
        let authorized = Authorized::new(api, context.oauth.clone(), Key { subject, scope, endpoint });
        let prefix = url.path().trim_end_matches('/').to_owned();
        Ok(Self { id: settings.id().to_owned(), origin, grant, tasks: context.tasks.clone(), prefix, authorized })
    }

    /// Creates a call. `target` is path and query from the API's root.
    pub(super) fn call(&self, method: Method, target: &str) -> Call {
        Call::new(method, &self.origin, format!("{}{target}", self.prefix))
    }

    /// Returns the URL of a path, for people.
    pub(super) fn url(&self, target: &str) -> String {
        format!("{}{}{target}", self.origin, self.prefix)
    }

    /// Makes a call with the token.
    pub(super) async fn ask(&self, call: &Call) -> std::result::Result<Reply, Lost> {
        self.authorized.ask(call).await
    }

    /// Makes a call once, with or without the token.
    pub(super) async fn once(
        &self,
        call: &Call,
        token: bool,
        body: Body,
        patience: Patience,
    ) -> std::result::Result<Reply, Lost> {
        match token {
            true => self.authorized.once(call, body, patience).await,
            false => self.api().once(call, None, body, patience).await,
        }
    }

    /// Returns the API without the token, for session URIs.
    pub(super) const fn api(&self) -> &Api {
        self.authorized.api()
    }
}
