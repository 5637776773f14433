//! Locates documents: at home, or on a CouchDB beside it. The client's own rights decide what is found.

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde_json::json;

pub(crate) use super::Home;
use super::Whose;
use super::answer::relay;
use crate::error::Error;
use crate::exchange::Requester;
use crate::plan::{Placement, decide, plan_for};
use crate::router::Database;
pub(crate) use stowage_couch::Answer;
use stowage_couch::{self as couch, Caller, Couch, Document, DocumentPath, is_deleted};
use stowage_http::body::{Body, TooLarge, cause};

impl Home {
    /// Returns whether an attachment may be anywhere but in the home's CouchDB: if not, its document need not be read.
    pub(crate) fn may_be_outside(&self) -> bool {
        self.stores || self.has_others()
    }

    /// Reads a document, at home first, and returns the caller that found it. `query` is raw. If no server has the document, the home's response is
    /// returned; a server that refuses the read is assumed to have it.
    pub(crate) async fn read(
        &self,
        path: &DocumentPath,
        query: &str,
        requester: Requester<'_>,
    ) -> Result<(Answer, Caller), Error> {
        self.find(path, (query, None), requester).await
    }

    /// Reads the leaf that descends from a revision, or the revision itself if it is a leaf; without a revision, reads the document.
    pub(crate) async fn read_leaf(
        &self,
        path: &DocumentPath,
        rev: Option<&str>,
        requester: Requester<'_>,
    ) -> Result<(Answer, Caller), Error> {
        self.find(path, ("", rev), requester).await
    }

    async fn find(
        &self,
        path: &DocumentPath,
        (query, leaf): (&str, Option<&str>),
        requester: Requester<'_>,
    ) -> Result<(Answer, Caller), Error> {
        let caller = requester.at(&self.couch);
        let first = read_as(path, query, leaf, &caller).await?;
        if !matches!(first, Answer::Missing(_)) || !self.has_others() {
            return Ok((first, caller));
        }
        for other in self.others()? {
            let there = requester.at(&other);
            match read_as(path, query, leaf, &there).await? {
                answer if answer.is_missing() => {}
                found => return Ok((found, there)),
            }
        }
        Ok((first, caller))
    }

    /// Refuses a request, unless CouchDB refuses the client access to the database: that response takes precedence.
    pub(crate) async fn refuse(
        &self,
        database: &Database,
        requester: Requester<'_>,
        error: Error,
    ) -> Result<Response<Body>, Error> {
        let answer = requester.at(&self.couch).send(Method::GET, &database.path, Bytes::new()).await?;
        if answer.status().is_success() { Err(error) } else { Ok(relay(answer)) }
    }

    /// Returns the CouchDB that has a document, or had it before its deletion: the home if none has.
    pub(crate) async fn holder(&self, path: &DocumentPath, requester: Requester<'_>) -> Result<Couch, Error> {
        if !self.has_others() {
            return Ok(self.couch.clone());
        }
        match presence(path, &requester.at(&self.couch)).await? {
            Presence::There => Ok(self.couch.clone()),
            Presence::Gone | Presence::Unknown => {
                let other = self.other_holder(path, requester).await?;
                Ok(other.unwrap_or_else(|| self.couch.clone()))
            }
        }
    }

    /// Returns the CouchDB beside the home that has a document, or had it before its deletion.
    pub(crate) async fn other_holder(
        &self,
        path: &DocumentPath,
        requester: Requester<'_>,
    ) -> Result<Option<Couch>, Error> {
        let mut gone = None;
        for other in self.others()? {
            match presence(path, &requester.at(&other)).await? {
                Presence::There => return Ok(Some(other)),
                Presence::Gone => gone = gone.or(Some(other)),
                Presence::Unknown => {}
            }
        }
        Ok(gone)
    }

    /// Returns the CouchDB that the plan of a document's owner names for its type.
    pub(crate) async fn of_type(&self, database: &Database, document: &Document) -> Result<Couch, Error> {
        if !self.has_others() {
            return Ok(self.couch.clone());
        }
        let plan = plan_for(self.homes.plans(), database, document).await?;
        let connection = match decide(&plan, database, document)? {
            Placement::PassThrough { connection } => connection,
            Placement::Store(decision) => decision.connection,
        };
        // The user only counts if they have a plan: otherwise the plan is the account's.
        let user = document.text("owner_id").filter(|owner| plan.sources().contains(owner));
        self.homes.connect(&plan, &connection, &Whose { account: database.account.clone(), user })
    }
}

/// Whether a CouchDB has a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    /// The CouchDB has the document, or refuses to say.
    There,
    /// The document was deleted.
    Gone,
    /// The document never existed there.
    Unknown,
}

async fn presence(path: &DocumentPath, caller: &Caller) -> Result<Presence, Error> {
    let answer = match caller.read(path, "").await {
        Ok(Answer::Missing(answer) | Answer::Refused(answer)) if answer.status() == StatusCode::NOT_FOUND => answer,
        Ok(_) => return Ok(Presence::There),
        Err(error) if is_too_large(&error) => return Ok(Presence::There),
        Err(error) => return Err(error.into()),
    };
    Ok(if is_deleted(answer.body()) { Presence::Gone } else { Presence::Unknown })
}

/// Returns whether a document exceeds the size limit, which still proves that it exists.
pub(crate) fn is_too_large(error: &couch::Error) -> bool {
    matches!(error.itself(), couch::Error::Body(error) if cause::<TooLarge>(&**error).is_some())
}

/// Reads the leaf that descends from a revision, or else a document with a raw query.
async fn read_as(path: &DocumentPath, query: &str, leaf: Option<&str>, caller: &Caller) -> Result<Answer, Error> {
    if leaf.is_some() { read_leaf(path, leaf, caller).await } else { read(path, query, caller).await }
}

/// Reads the leaf that descends from a revision, or the revision itself if it is a leaf; without a revision, reads the document.
pub(crate) async fn read_leaf(path: &DocumentPath, rev: Option<&str>, caller: &Caller) -> Result<Answer, Error> {
    let Some(rev) = rev else { return read(path, "", caller).await };
    let (leaves, head) = match caller.open_revs(path, &json!([rev]).to_string(), "&latest=true").await? {
        Answer::Found(leaves, head) => (leaves, head),
        Answer::Missing(answer) => return Ok(Answer::Missing(answer)),
        Answer::Refused(answer) => return Ok(Answer::Refused(answer)),
    };
    let is_itself = |leaf: &Document| leaf.rev().as_deref() == Some(rev);
    Ok(match leaves.into_iter().flatten().max_by_key(is_itself) {
        Some(leaf) => Answer::Found(leaf, head),
        None => Answer::Missing(Response::from_parts(head, Bytes::new())),
    })
}

/// Reads a document. `query` is raw.
pub(crate) async fn read(path: &DocumentPath, query: &str, caller: &Caller) -> Result<Answer, Error> {
    Ok(caller.read(path, query).await?)
}
