//! Ownership of blobs: what is at a name, and whether a put created it.

use std::sync::Arc;

use azure_core::http::{Method, StatusCode};
use stowage_base::tasks::Tasks;

use super::ask::{Account, Reply};
use crate::engine::claim::{self, Found, Target};
use crate::engine::location::location;
use crate::{Location, Result, Stored};

/// Metadata header that identifies the put that created a blob; unique per put. Metadata names must be identifiers.
pub(super) const OWNER: &str = "x-ms-meta-stowageid";

/// A blob that a put creates.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) account: Arc<Account>,
    pub(super) blob: String,
    pub(super) owner: String,
}

pub(super) type Claim = claim::Claim<Made>;

impl Target for Made {
    /// The ETag as sent by the server.
    type Known = Option<String>;

    fn tasks(&self) -> &Tasks {
        &self.account.tasks
    }

    fn shown(&self) -> (&str, &str) {
        (&self.account.id, &self.blob)
    }

    async fn find(&self) -> Result<Found<Option<String>>> {
        let found = self.account.head(&self.blob).await?;
        let ours = found.filter(|reply| reply.header(OWNER) == Some(self.owner.as_str()));
        Ok(ours.map_or(Found::Nothing, |reply| Found::Ours(known(&reply))))
    }

    async fn remove(&self, tag: &Option<String>) -> Result<bool> {
        let mut call = self.account.call("remove an object", Method::Delete, None, &self.blob)?;
        if let Some(tag) = tag {
            call = call.header("if-match", tag);
        }
        let reply = self.account.ask(&call).await?;
        match reply.status {
            _ if reply.is_done() || reply.is_gone() => Ok(true),
            StatusCode::PreconditionFailed if reply.code() == "ConditionNotMet" => Ok(false),
            _ => Err(reply.refusal()),
        }
    }

    fn stored(&self, tag: &Option<String>) -> Result<Stored> {
        let location = self.account.location(&self.blob);
        let etag = tag.as_ref().map(|tag| tag.trim_matches('"').to_owned());
        Ok(Stored { location, etag, ..Stored::default() })
    }
}

impl Account {
    /// Returns the location of a blob.
    pub(super) fn location(&self, blob: &str) -> Location {
        location([("container", &self.address.container), ("blob", blob)])
    }

    /// Looks up a name in the plan's container; `None` if there is nothing.
    ///
    /// # Errors
    /// If the response is inconclusive, or there is none.
    pub(super) async fn head(&self, blob: &str) -> Result<Option<Reply>> {
        let reply = self.ask(&self.call("look for an object", Method::Head, None, blob)?).await?;
        if reply.is_done() {
            Ok(Some(reply))
        } else if reply.is_no_blob() {
            Ok(None)
        } else {
            Err(reply.refusal())
        }
    }

    /// Removes a blob. One that is already gone is fine, even along with its container: Azure only says so to the account's own key.
    /// A `container` of `None` means the plan's.
    pub(super) async fn remove(&self, container: Option<&str>, blob: &str) -> Result<()> {
        let reply = self.ask(&self.call("remove an object", Method::Delete, container, blob)?).await?;
        if reply.is_done() || reply.is_gone() { Ok(()) } else { Err(reply.refusal()) }
    }
}

/// Returns the blob's ETag from a response.
pub(super) fn known(reply: &Reply) -> Option<String> {
    reply.tag().filter(|tag| !tag.is_empty()).map(str::to_owned)
}
