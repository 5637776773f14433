//! Making and deleting a database: in the CouchDB of its class, and in those beside it that documents of its types are in.

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Method, Response, StatusCode, Uri};
use stowage_couch::Caller;
use stowage_http::body::Body;

use super::answer::relay;
use super::forward::forward;
use super::{Home, Homes};
use crate::error::Error;
use crate::exchange::Exchange;
use crate::router::Database;

/// Makes a database, with what the plan says about that besides the client's own query.
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
    let there = |status: StatusCode| status.is_success() || status == StatusCode::PRECONDITION_FAILED;
    let others = Others::of(&home, database, &exchange)?;
    match others.ask(Method::PUT, there).await? {
        Some(refusal) => Ok(relay(refusal)),
        None => forward(homes, &home.couch, exchange).await,
    }
}

/// Deletes a database.
pub(crate) async fn delete(homes: &Homes, database: &Database, exchange: Exchange) -> Result<Response<Body>, Error> {
    if homes.plans().all_is_local() {
        return forward(homes, homes.local(), exchange).await;
    }
    let home = homes.of(database).await?;
    let gone = |status: StatusCode| status.is_success() || status == StatusCode::NOT_FOUND;
    let others = Others::of(&home, database, &exchange)?;
    match others.ask(Method::DELETE, gone).await? {
        Some(refusal) => Ok(relay(refusal)),
        None => forward(homes, &home.couch, exchange).await,
    }
}

/// The CouchDB servers beside the class's. They are asked first, with the client's rights: what the class's answers then
/// holds for all of them, and who repeats a request that failed finishes it.
struct Others {
    callers: Vec<Caller>,
    target: String,
}

impl Others {
    fn of(home: &Home, database: &Database, exchange: &Exchange) -> Result<Self, Error> {
        let others = if home.has_others() { home.others()? } else { Vec::new() };
        let headers = exchange.request.headers();
        let callers = others.iter().map(|other| other.client(headers, &exchange.activity)).collect();
        let query = exchange.request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        Ok(Self { callers, target: format!("{}{query}", database.path) })
    }

    /// Gives the first refusal.
    async fn ask(
        self,
        method: Method,
        is_done: impl Fn(StatusCode) -> bool + Send,
    ) -> Result<Option<Response<Bytes>>, Error> {
        for caller in self.callers {
            let answer = caller.send(method.clone(), &self.target, Bytes::new()).await?;
            if !is_done(answer.status()) {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }
}
