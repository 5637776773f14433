//! Which CouchDB a database of a plan lives in, and where in it, or beside it, a document is.

use std::sync::Arc;

use bytes::Bytes;
use http::header::HeaderMap;
use http::{Response, StatusCode};

use super::Gateway;
use crate::couch::{Answer, Caller, Couch, Document, DocumentPath, is_missing_database};
use crate::error::Error;
use crate::plan::{LOCAL, Merged};
use crate::router::Database;
use crate::telemetry::activity::Activity;

/// The CouchDB of a database: its class's, and those that the class's types name.
pub(super) struct Home {
    /// The account's plan, or the system's.
    pub(super) plan: Arc<Merged>,
    /// The class's own.
    pub(super) couch: Couch,
    /// Where documents of some types are.
    pub(super) others: Vec<Couch>,
    /// Whether the plan, or one of the account's users' plans, may send attachments elsewhere.
    pub(super) stores: bool,
}

/// A document as CouchDB gave it to the client's credentials, or CouchDB's own word why not.
pub(super) enum Read {
    Document(Document, http::response::Parts),
    /// There is no such document, or no such revision of it; with CouchDB's answer.
    Missing(Response<Bytes>),
    /// To be passed on as it is.
    Refused(Response<Bytes>),
}

impl Home {
    pub(super) async fn of(gateway: &Gateway, database: &Database) -> Result<Self, Error> {
        let plan = gateway.plans.effective(database.account.as_ref(), None).await?;
        let (own, others) = plan.connections(database.class, &database.name)?;
        let couch = connect(gateway, &plan, own)?;
        let others = others.into_iter().map(|id| connect(gateway, &plan, id)).collect::<Result<_, _>>()?;
        let stores = plan.class_has_handler(database.class, &database.name)
            || gateway.plans.has_user_plans(database.account.as_ref());
        Ok(Self { plan, couch, others, stores })
    }

    /// Whether an attachment may be elsewhere than in the class's CouchDB: if not, its document need not be read.
    pub(super) fn may_be_outside(&self) -> bool {
        self.stores || !self.others.is_empty()
    }

    /// Reads a document, first where its class lives, and says who gave it. `query` is raw. Where nobody has it, it is
    /// the class's CouchDB that says so.
    pub(super) async fn read(
        &self,
        path: &DocumentPath,
        query: &str,
        headers: &HeaderMap,
        activity: &Activity,
    ) -> Result<(Read, Caller), Error> {
        let caller = self.couch.client(headers, activity);
        let first = read(path, query, &caller).await?;
        if !matches!(first, Read::Missing(_)) {
            return Ok((first, caller));
        }
        for other in &self.others {
            let there = other.client(headers, activity);
            if let found @ Read::Document(..) = read(path, query, &there).await? {
                return Ok((found, there));
            }
        }
        Ok((first, caller))
    }

    /// The CouchDB that has a document: the class's where nobody has it.
    pub(super) async fn holder(
        &self,
        path: &DocumentPath,
        headers: &HeaderMap,
        activity: &Activity,
    ) -> Result<Couch, Error> {
        if self.others.is_empty() {
            return Ok(self.couch.clone());
        }
        Ok(self.read(path, "", headers, activity).await?.1.couch().clone())
    }
}

/// The CouchDB of a connection that the plan defines.
pub(super) fn connect(gateway: &Gateway, plan: &Merged, id: &str) -> Result<Couch, Error> {
    if id == LOCAL {
        return Ok(gateway.couch.clone());
    }
    let settings = plan.connection(id)?.ok_or(Error::Bug("a checked connection is gone"))?;
    gateway.connections.open(&settings).map_err(|error| Error::Connection(id.into(), error))
}

/// Reads a document. `query` is raw.
pub(super) async fn read(path: &DocumentPath, query: &str, caller: &Caller) -> Result<Read, Error> {
    Ok(match caller.read(path, query).await? {
        Answer::Document(document, head) => Read::Document(document, head),
        Answer::Other(answer) if answer.status() == StatusCode::NOT_FOUND && !is_missing_database(answer.body()) => {
            Read::Missing(answer)
        }
        Answer::Other(answer) => Read::Refused(answer),
    })
}
