//! What is done with a request: forwarding it, or one function per operation on an attachment.

mod asking;
mod commit;
mod copy;
mod counted;
mod delete;
mod document_copy;
mod document_delete;
mod documents;
mod get;
mod storages;

mod link;
mod locks;
mod operation;
mod outside;
mod parts;
mod present;
mod put;
mod remove;
mod save;
mod source;

use std::sync::Arc;

use http::{Method, Response, StatusCode};
use stowage_base::tasks::Tasks;
use stowage_couch::Couch;
use stowage_http::body::Body;
use stowage_http::egress::Egress;
use stowage_http::method::take_override;
use stowage_storage::{Budget, Registry};

use crate::config::{self, Present};
use crate::error::Error;
use crate::exchange::deadline::{hear, in_time};
use crate::exchange::{Answered, Exchange};
use crate::metrics::Metrics;
use crate::plan::Plans;
use crate::record::Records;
use crate::record::about;
use crate::router::{
    Database, DatabaseOperation, DocumentOperation, DocumentTarget, Operation, Route, Target, is_plain, route,
};
use crate::upstream::Homes;
use crate::upstream::forward::{forward, to_holder, to_home};
use crate::upstream::{Home, create};
pub use locks::Locks;
use present::Kind;
pub use present::shown_text;

/// Everything that requests need, made once.
#[derive(Debug)]
pub struct Gateway {
    /// The `local` connection.
    pub couch: Couch,
    /// Which CouchDB each database lives in.
    pub homes: Homes,
    /// In which databases clients see outside attachments as CouchDB's own.
    pub present_stubs: config::PresentStubs,
    /// The plans of all accounts.
    pub plans: Plans,
    /// The opened storages.
    pub storages: Registry,
    /// Which addresses plans may name.
    pub egress: Egress,
    /// The memory of all uploads.
    pub budget: Budget,
    /// `[limits]`
    pub limits: config::Limits,
    /// `[timeouts]`
    pub timeouts: config::Timeouts,
    /// What is counted.
    pub metrics: Metrics,
    /// What failed, for the account's own eyes.
    pub records: Records,
    /// Commits and clean-up: what has to end although the client is gone.
    pub tasks: Tasks,
    /// One writer at a time for each attachment.
    pub locks: Locks,
}

impl Gateway {
    /// Whether clients see the outside attachments of this database, whose home this is, as CouchDB's own.
    fn presents(&self, database: &Database, home: &Home) -> bool {
        match self.present_stubs.in_class(database.class.as_str()) {
            Present::Always => true,
            Present::Planned => home.stores,
            Present::Never => false,
        }
    }

    /// The home of a database where clients see its outside attachments as CouchDB's own; `None` where they do not.
    async fn presented(&self, database: &Database) -> Result<Option<Home>, Error> {
        match self.present_stubs.in_class(database.class.as_str()) {
            Present::Never => return Ok(None),
            Present::Planned if self.plans.nothing_is_stored() => return Ok(None),
            Present::Planned | Present::Always => {}
        }
        let home = self.homes.of(database).await?;
        Ok(self.presents(database, &home).then_some(home))
    }

    /// Whether all documents are read from the configured CouchDB and written to it, as they are.
    fn is_plain(&self) -> bool {
        self.plans.all_is_local() && self.plans.nothing_is_stored() && !self.present_stubs.beyond_plans()
    }
}

/// Answers a request.
pub async fn handle(gateway: Arc<Gateway>, mut exchange: Exchange) -> Answered {
    let id = exchange.id;
    let request = &exchange.request;
    let route = match gateway.is_plain() && is_plain(request.method(), request.uri()) {
        true => Route::Forward,
        false => route(request.method(), request.uri(), request.headers()),
    };
    if !matches!(route, Route::Forward) {
        take_override(&mut exchange.request);
    }
    let (route, outcome) = match route {
        Route::Forward => ("forward", forward(&gateway.homes, &gateway.couch, exchange).await),
        Route::Document(target, operation) => {
            Box::pin(document(Arc::clone(&gateway), *target, operation, exchange)).await
        }
        Route::Database(database, operation) => {
            Box::pin(within(Arc::clone(&gateway), *database, operation, exchange)).await
        }
        Route::Malformed => ("attachment", Err(malformed())),
        Route::Attachment(target, operation) => {
            let about = about(&target, operation);
            let (route, outcome) = attachment(Arc::clone(&gateway), target, operation, exchange).await;
            if let Err(error) = &outcome {
                gateway.records.failed(about, error, &id);
            }
            (route, outcome)
        }
    };
    let response = outcome.unwrap_or_else(|error| {
        error.log(&id);
        if let Error::Couch(inner) = &error
            && error.is_server_fault()
        {
            gateway.metrics.couchdb_failure(inner.reason());
        }
        error.into_response()
    });
    Answered { response, route }
}

async fn document(
    gateway: Arc<Gateway>,
    target: DocumentTarget,
    operation: DocumentOperation,
    exchange: Exchange,
) -> (&'static str, Result<Response<Body>, Error>) {
    match operation {
        DocumentOperation::Get => match gateway.presented(&target.database).await {
            Ok(Some(home)) => {
                let (limit, activity) = (gateway.timeouts.answer, exchange.activity.clone());
                let shown = Box::pin(present::document(gateway, home, target, exchange));
                ("document", in_time(limit, &activity, shown).await)
            }
            Ok(None) => ("forward", to_holder(&gateway.homes, &target, exchange).await),
            Err(error) => ("forward", Err(error)),
        },
        // Each in a box of its own: a read is not to carry a write along.
        DocumentOperation::Put => Box::pin(documents::put(gateway, target, exchange)).await,
        DocumentOperation::Delete => Box::pin(document_delete::delete_document(gateway, target, exchange)).await,
        DocumentOperation::Copy => Box::pin(document_copy::copy_document(gateway, target, exchange)).await,
        DocumentOperation::Other if *exchange.request.method() == Method::POST => {
            documents::form(gateway, target, exchange).await
        }
        DocumentOperation::Other => shown(gateway, target.database, Kind::Other, "forward", exchange).await,
    }
}

async fn within(
    gateway: Arc<Gateway>,
    database: Database,
    operation: DatabaseOperation,
    exchange: Exchange,
) -> (&'static str, Result<Response<Body>, Error>) {
    match operation {
        DatabaseOperation::Post => Box::pin(documents::post(gateway, database, exchange)).await,
        DatabaseOperation::BulkDocs => Box::pin(documents::bulk_docs(gateway, database, exchange)).await,
        DatabaseOperation::BulkGet => shown(gateway, database, Kind::BulkGet, "document", exchange).await,
        DatabaseOperation::List(list) => {
            let asks = present::asks_for_documents(list, &exchange.request);
            let label = if asks { "document" } else { "forward" };
            shown(gateway, database, Kind::List(list), label, exchange).await
        }
        DatabaseOperation::Other => shown(gateway, database, Kind::Other, "forward", exchange).await,
        DatabaseOperation::Create => ("forward", create::create(&gateway.homes, &database, exchange).await),
        DatabaseOperation::Delete => ("forward", create::delete(&gateway.homes, &database, exchange).await),
        DatabaseOperation::Bytes => ("forward", to_home(&gateway.homes, &database, exchange).await),
    }
}

/// Sends a request on whose answer may hold documents; clients see them as they are to see them. `label` is what it counts as
/// where that is looked at.
async fn shown(
    gateway: Arc<Gateway>,
    database: Database,
    kind: Kind,
    label: &'static str,
    exchange: Exchange,
) -> (&'static str, Result<Response<Body>, Error>) {
    match gateway.presented(&database).await {
        Ok(Some(home)) => (label, Box::pin(present::within(gateway, home, database, kind, exchange)).await),
        Ok(None) => ("forward", to_home(&gateway.homes, &database, exchange).await),
        Err(error) => ("forward", Err(error)),
    }
}

async fn attachment(
    gateway: Arc<Gateway>,
    target: Box<Target>,
    operation: Operation,
    mut exchange: Exchange,
) -> (&'static str, Result<Response<Body>, Error>) {
    let (limit, activity) = (gateway.timeouts.answer, exchange.activity.clone());
    hear(limit, &mut exchange);
    match operation {
        Operation::Get { body } => {
            ("attachment_get", in_time(limit, &activity, Box::pin(get::get(gateway, *target, exchange, body))).await)
        }
        Operation::Put => {
            ("attachment_put", in_time(limit, &activity, Box::pin(put::put(gateway, *target, exchange))).await)
        }
        Operation::Delete => {
            ("attachment_delete", in_time(limit, &activity, Box::pin(delete::delete(gateway, *target, exchange))).await)
        }
    }
}

fn malformed() -> Error {
    Error::refused(StatusCode::BAD_REQUEST, "bad_request", "invalid_url_encoding".to_owned())
}
