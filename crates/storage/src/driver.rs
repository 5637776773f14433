//! How a driver describes itself, and what it is opened with.

use std::sync::Arc;

use stowage_base::settings::Settings;
use stowage_base::tasks::Tasks;
use stowage_http::client::Client;

use crate::error::Result;
use crate::oauth::OAuth;
use crate::{Backend, Budget, Location, Options};

/// The description of a driver; each driver's folder defines one, and [`DRIVERS`](crate::DRIVERS) lists them.
#[derive(Debug)]
pub struct Driver {
    /// The driver's name in plans, as `handler`.
    pub handler: &'static str,
    /// How objects are named by default.
    pub naming: Naming,
    /// Whether a server stores an object only if no other process has stored one under the name.
    pub exclusive: bool,
    /// Whether a location that the driver returns has the object's id, so that no other object ever gets it: there is no tag to compare.
    pub by_id: bool,
    /// The names that the driver's servers accept.
    pub fit: Fit,
    /// The JSON Schema of the driver's entry in a plan; the common part is `api/schema/schemas/defs.json`.
    pub schema: &'static str,
    /// Who chooses the server.
    pub server: Server,
    /// Which storages of a plan match a pointer.
    pub identity: Identity,
    /// Settings that are never shown, in addition to `secret`, `password`, the values of `headers` and the secret parts of a URL.
    pub secrets: &'static [&'static str],
    /// The keys of `[storage.endpoints]` for the vendor's servers, with their defaults. Drivers of one vendor may share keys.
    pub endpoints: &'static [(&'static str, &'static str)],
    /// Returns a key that identifies the object of a location within its storage, no matter who wrote the location: different locations of one object
    /// have the same key. `None` if the location does not identify it.
    pub key: fn(&Location) -> Option<String>,
    /// Opens a storage, without sending a request. Fails with `Settings`.
    pub open: fn(&Settings, &Context) -> Result<Arc<dyn Backend>>,
}

impl Driver {
    /// Returns whether a setting is never shown.
    #[must_use]
    pub fn is_secret(&self, key: &str) -> bool {
        matches!(key, "secret" | "password") || self.secrets.contains(&key)
    }

    /// Returns the setting that names a storage's OAuth document, and the document's id; `None` if it uses none.
    #[must_use]
    pub fn grant(&self, settings: &Settings) -> Option<(&'static str, String)> {
        let takes = |key: &&str| self.schema.contains(&format!("\"{key}\": {{"));
        let named = |key| Some((key, settings.text(key).ok()??)).filter(|(_, id): &(_, String)| !id.is_empty());
        ["oauth_doc_id", "oauth_app_id"].into_iter().filter(takes).find_map(named)
    }
}

/// Who chooses a driver's server: a plan's choice is checked before the plan is saved, and secrets are only sent to the server that they were given
/// for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// The vendor or the operator.
    Fixed,
    /// The plan, with the setting `url`.
    Url,
    /// The plan, with the setting `host` and others. Lists those that name the server if the secrets must not be used for another one.
    Host(&'static [&'static str]),
}

/// How to match a pointer with a storage of a plan: by values in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// By the storage's id alone.
    Id,
    /// By the server of its `url`.
    Url,
    /// By these settings.
    Settings {
        /// The settings in every pointer.
        all: &'static [&'static str],
        /// Additional settings in KAZOO's pointers.
        kazoo: &'static [&'static str],
        /// The suffixes of hosts that are equivalent; the first is the default of `host`.
        hosts: &'static [&'static str],
    },
}

/// How objects are named if a plan has no `field_list`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// `{account}/{owner}/{document}/{attachment}`
    Path,
    /// `{database}/{document}_{attachment}`
    Database,
    /// `{document}_{attachment}`
    Flat,
}

/// The names that a driver's servers accept. A composed name that does not fit is changed before the driver sees it (`plan/name/fit`), since the
/// pointer contains the object's actual location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    /// The maximum length of a segment between slashes, in bytes.
    pub part: usize,
    /// The maximum length of a name including its folder, in bytes.
    pub whole: usize,
    /// How the servers interpret a name.
    pub spelling: Spelling,
}

/// How a driver's servers interpret a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// Literally.
    Plain,
    /// As part of a URL: a server decodes percent-encoding, and the decoded length counts.
    Url,
    /// As Windows and file synchronization clients do: some names have a special meaning there.
    Desktop,
}

/// The maximum length of a path segment in file systems, in bytes (`NAME_MAX` of Linux); in characters on Windows.
pub(crate) const FILE_NAME: usize = 255;

/// The dependencies of drivers; cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    /// The shared HTTP client.
    pub client: Client,
    /// Tracks clean-up that outlives a dropped future.
    pub tasks: Tasks,
    /// The memory budget of all uploads, or one storage's part of it.
    pub budget: Budget,
    /// Roots and endpoints.
    pub options: Arc<Options>,
    /// The tokens for vendors that require OAuth.
    pub oauth: OAuth,
}
