//! What a put may have left at a name, until the caller has taken it over.

use std::sync::Arc;
use std::time::Duration;

use azure_core::http::{Method, StatusCode};
use serde_json::{Map, Value};

use super::ask::{Account, Reply};
use crate::engine::finish::clean_up;
use crate::{Kind, Result, Stored};

/// The metadata header that tells our blob from another put's: unique for each put. Metadata's names are identifiers.
pub(super) const OWNER: &str = "x-ms-meta-stowageid";

/// A blob of ours, or perhaps one: removed by `Drop` unless it is kept.
#[derive(Debug)]
pub(super) struct Claim(Trace);

/// What is known of the blob. Not what removes it when dropped: a clean-up that never ran must not start another.
#[derive(Debug, Clone)]
struct Trace {
    account: Arc<Account>,
    blob: String,
    owner: String,
    tag: Option<String>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing of ours is there.
    Nothing,
    /// A request was sent, and what came of it is not known.
    Doubtful,
    /// The blob is ours.
    Ours,
}

impl Account {
    /// What is at a name of the plan's container; `None` for nothing.
    ///
    /// # Errors
    /// Where the answer does not say it, or there is none.
    pub(super) async fn look(&self, blob: &str) -> Result<Option<Reply>> {
        let reply = self.ask(&self.call("look for an object", Method::Head, None, blob)?).await?;
        match () {
            () if reply.is_done() => Ok(Some(reply)),
            () if reply.is_no_blob() => Ok(None),
            () => Err(reply.refusal()),
        }
    }

    /// Whether Azure says that nothing is at a name: a refusal does not say it.
    ///
    /// # Errors
    /// Where it says nothing for now.
    pub(super) async fn is_free(&self, blob: &str) -> Result<bool> {
        match self.look(blob).await {
            Ok(found) => Ok(found.is_none()),
            Err(error) if error.kind() == Kind::Refused => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes a blob, also one that is gone, be it with its whole container: Azure says so only to the account's own key.
    /// A container of `None` is the plan's.
    pub(super) async fn remove(&self, container: Option<&str>, blob: &str) -> Result<()> {
        let reply = self.ask(&self.call("remove an object", Method::Delete, container, blob)?).await?;
        if reply.is_done() || reply.is_gone() { Ok(()) } else { Err(reply.refusal()) }
    }
}

impl Claim {
    /// For a request that is about to be sent.
    pub(super) fn doubtful(account: Arc<Account>, blob: &str, owner: &str) -> Self {
        Self(Trace { account, blob: blob.to_owned(), owner: owner.to_owned(), tag: None, state: State::Doubtful })
    }

    /// The blob was stored.
    pub(super) fn confirm(&mut self, reply: &Reply) {
        self.0.confirm(reply);
    }

    /// Nothing was stored.
    pub(super) fn give_up(&mut self) {
        self.0.state = State::Nothing;
    }

    /// Finds out whether the blob of that name is ours.
    ///
    /// # Errors
    /// Where that cannot be found out; the claim stays doubtful.
    pub(super) async fn settle(&mut self) -> Result<bool> {
        self.0.settle().await
    }

    /// Takes the blob over: it stays.
    pub(super) fn keep(mut self) -> Stored {
        self.give_up();
        let mut location = Map::new();
        location.insert("container".to_owned(), Value::String(self.0.account.address.container.clone()));
        location.insert("blob".to_owned(), Value::String(std::mem::take(&mut self.0.blob)));
        let etag = self.0.tag.take().map(|tag| tag.trim_matches('"').to_owned());
        Stored { location, etag, ..Stored::default() }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.0.state != State::Nothing {
            clean_up(&self.0.account.tasks, "azure clean-up", self.0.clone().remove());
        }
    }
}

impl Trace {
    fn confirm(&mut self, reply: &Reply) {
        self.tag = reply.tag().filter(|tag| !tag.is_empty()).map(str::to_owned);
        self.state = State::Ours;
    }

    async fn settle(&mut self) -> Result<bool> {
        let Some(reply) = self.account.look(&self.blob).await? else { return Ok(false) };
        if reply.header(OWNER) != Some(self.owner.as_str()) {
            return Ok(false);
        }
        self.confirm(&reply);
        Ok(true)
    }

    /// Removes what is ours, if anything is.
    async fn remove(mut self) {
        let mut failure = None;
        for pause in PAUSES {
            tokio::time::sleep(pause).await;
            match self.remove_once().await {
                Ok(true) => return,
                Ok(false) => failure = None,
                Err(error) => failure = Some(error),
            }
        }
        if let Some(error) = failure {
            tracing::warn!(
                storage = %self.account.id, blob = %self.blob, %error, "an object that no document names may be left"
            );
        }
    }

    /// `false`: nothing of ours is there, as yet.
    async fn remove_once(&mut self) -> Result<bool> {
        if self.state == State::Doubtful && !self.settle().await? {
            return Ok(false);
        }
        let mut call = self.account.call("remove an object", Method::Delete, None, &self.blob)?;
        if let Some(tag) = &self.tag {
            call = call.header("if-match", tag);
        }
        let reply = self.account.ask(&call).await?;
        match reply.status {
            _ if reply.is_done() => Ok(true),
            _ if reply.is_gone() => Ok(true),
            StatusCode::PreconditionFailed if reply.code() == "ConditionNotMet" => {
                // Not the version that was known: look again whose it is.
                self.state = State::Doubtful;
                Ok(false)
            }
            _ => Err(reply.refusal()),
        }
    }
}

/// A request whose answer was lost may still be at work on the server: look more than once.
const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(5)];
