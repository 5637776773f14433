//! Dispatches a request to the handler of its route.

use std::sync::Arc;

use futures_util::FutureExt as _;
use http::{Method, Response};
use stowage_http::body::Body;
use stowage_http::method::take_override;

use crate::attachment::{delete, get, put};
use crate::document::copy::copy_document;
use crate::document::delete::delete_document;
use crate::document::write;
use crate::error::Error;
use crate::exchange::deadline::{hear, in_time};
use crate::exchange::{Answered, Exchange};
use crate::gateway::Gateway;
use crate::present::{self, Kind};
use crate::record::about;
use crate::router::{
    Database, DatabaseOperation, DocumentOperation, DocumentTarget, Operation, Route, Target, is_plain, route,
};
use crate::upstream::create;
use crate::upstream::forward::{forward, to_holder, to_home};

/// Handles a request.
pub async fn handle(gateway: Arc<Gateway>, mut exchange: Exchange) -> Answered {
    let id = exchange.id;
    let request = &exchange.request;
    let route = if gateway.is_plain() && is_plain(request.method(), request.uri()) {
        Route::Forward
    } else {
        route(request.method(), request.uri(), request.headers())
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
        Route::Malformed => ("attachment", Err(Error::bad_request("invalid_url_encoding"))),
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
    Answered::new(response, route)
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
        // Each future is boxed on its own, so that a read does not carry the size of a write.
        DocumentOperation::Put => write::labelled(Box::pin(write::put(gateway, target, exchange)).await),
        DocumentOperation::Delete => Box::pin(delete_document(gateway, target, exchange)).await,
        DocumentOperation::Copy => Box::pin(copy_document(gateway, target, exchange)).await,
        DocumentOperation::Other if *exchange.request.method() == Method::POST => {
            write::labelled(Box::pin(write::form(gateway, target, exchange)).await)
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
        DatabaseOperation::Post => write::labelled(Box::pin(write::post(gateway, database, exchange)).await),
        DatabaseOperation::BulkDocs => write::labelled(Box::pin(write::bulk_docs(gateway, database, exchange)).await),
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

/// Forwards a request whose response may hold documents, and presents those documents to the client. `label` is the route label for the metrics in
/// databases whose documents are presented.
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
    let (label, handled) = match operation {
        Operation::Get { body } => ("attachment_get", get::get(gateway, *target, exchange, body).boxed()),
        Operation::Put => ("attachment_put", put::put(gateway, *target, exchange).boxed()),
        Operation::Delete => ("attachment_delete", delete::delete(gateway, *target, exchange).boxed()),
    };
    (label, in_time(limit, &activity, handled).await)
}
