//! Creation and deletion of a database: in its home, and on the other CouchDB servers that hold documents of its types.

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Response, StatusCode, Uri};
use stowage_couch::Caller;
use stowage_http::body::Body;

use super::answer::relay;
use super::forward::forward;
use super::{Home, Homes};
use crate::error::Error;
use crate::exchange::Exchange;
use crate::router::Database;

/// Creates a database, with the plan's create options in addition to the client's query.
pub(crate) async fn create(
    homes: &Homes,
    database: &Database,
    mut exchange: Exchange,
) -> Result<Response<Body>, Error> {
    if homes.plans().all_is_local() {
        return forward(homes, homes.local(), exchange).await;
    }
    let home = homes.of(database).await?;
    let uri = exchange.request.uri();
    let query = home.create_query(database, uri.query())?;
    if query != uri.query().unwrap_or_default() {
        let target = PathAndQuery::try_from(format!("{}?{query}", uri.path()));
        let target = target.map_err(|_| Error::Bug("an encoded query is no query"))?;
        *exchange.request.uri_mut() = Uri::from(target);
    }
    everywhere(homes, &home, database, exchange, StatusCode::PRECONDITION_FAILED).await
}

/// Deletes a database.
pub(crate) async fn delete(homes: &Homes, database: &Database, exchange: Exchange) -> Result<Response<Body>, Error> {
    if homes.plans().all_is_local() {
        return forward(homes, homes.local(), exchange).await;
    }
    let home = homes.of(database).await?;
    everywhere(homes, &home, database, exchange, StatusCode::NOT_FOUND).await
}

/// Sends a request about a database to the other CouchDB servers first and to its home last, with the client's rights: the home's response then holds
/// for all of them, and a retry after a failure completes the work. `done` is the status of a server where it was done before.
async fn everywhere(
    homes: &Homes,
    home: &Home,
    database: &Database,
    exchange: Exchange,
    done: StatusCode,
) -> Result<Response<Body>, Error> {
    let others = if home.has_others() { home.others()? } else { Vec::new() };
    let (headers, method) = (exchange.request.headers(), exchange.request.method().clone());
    let callers: Vec<Caller> = others.iter().map(|other| other.client(headers, &exchange.activity)).collect();
    let query = exchange.request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let target = format!("{}{query}", database.path);
    for caller in callers {
        let answer = caller.send(method.clone(), &target, Bytes::new()).await?;
        if !answer.status().is_success() && answer.status() != done {
            return Ok(relay(answer));
        }
    }
    forward(homes, &home.couch, exchange).await
}
