//! Routes requests to their handlers.

use std::sync::Arc;

use http::Method;

use super::{all_docs, attachment, bulk, changes, database, document, root};
use crate::Store;
use crate::contents::database::Database;
use crate::exchange::answer::{Answer, Failure};
use crate::exchange::request::{Exchange, Query};
use crate::exchange::user::User;

/// Endpoints below a database that CouchDB has and this store lacks.
const NOT_OFFERED: [&[u8]; 13] = [
    b"_auto_purge",
    b"_design_docs",
    b"_explain",
    b"_find",
    b"_index",
    b"_local_docs",
    b"_partition",
    b"_purge",
    b"_purged_infos_limit",
    b"_shards",
    b"_sync_shards",
    b"_view_cleanup",
    b"_temp_view",
];

/// CouchDB's endpoints below a design document.
const DESIGN_HANDLERS: [&[u8]; 7] = [b"_view", b"_show", b"_list", b"_update", b"_info", b"_rewrite", b"_search"];

/// Handles a request.
pub(crate) async fn answer(store: &Store, exchange: &mut Exchange) -> Result<Answer, Failure> {
    let path = exchange.path()?;
    let query = exchange.query()?;
    let users = &store.inner.users;
    let user = users.identify(&exchange.head.headers)?;
    let parts: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
    match *parts.as_slice() {
        [] => root::welcome(store, exchange),
        [b"_up"] => root::up(exchange),
        [b"_all_dbs"] => root::all_dbs(store, exchange, &query, &user).await,
        [b"_uuids"] => root::uuids(exchange, &query),
        [b"_session"] => root::session(users, exchange, user).await,
        [name] => database::database(store, exchange, name, &user).await,
        [name, ref rest @ ..] => {
            let database = database::enter(store, name, &user).await?;
            below(&database, exchange, &query, &user, rest).await
        }
    }
}

/// Handles everything below `/{db}/`.
async fn below(
    database: &Arc<Database>,
    exchange: &mut Exchange,
    query: &Query,
    user: &User,
    path: &[&[u8]],
) -> Result<Answer, Failure> {
    match path {
        [b"_security"] => database::security(database, exchange, user).await,
        [b"_revs_limit"] => database::revs_limit(exchange),
        [b"_compact", ..] => database::compact(database, exchange, user).await,
        [b"_ensure_full_commit"] => database::ensure_full_commit(database, exchange),
        [b"_bulk_docs"] => bulk::bulk_docs(database, exchange, user).await,
        [b"_bulk_get"] => bulk::bulk_get(database, exchange, query).await,
        [b"_revs_diff"] => bulk::revs_diff(database, exchange).await,
        [b"_missing_revs"] => bulk::missing_revs(database, exchange).await,
        [b"_all_docs"] => all_docs::all_docs(database, exchange, query).await,
        [b"_changes"] => changes::changes(database, exchange, query).await,
        [name, ..] if NOT_OFFERED.contains(name) => Err(Failure::not_offered(&String::from_utf8_lossy(name))),
        [space @ (b"_design" | b"_local"), id, rest @ ..] => {
            let id = [space, b"/".as_slice(), id].concat();
            one(database, exchange, query, user, &id, rest).await
        }
        [id, rest @ ..] => one(database, exchange, query, user, id, rest).await,
        [] => Err(Failure::no_database()),
    }
}

/// Handles a document or one of its attachments, whose name is the rest of the path.
async fn one(
    database: &Arc<Database>,
    exchange: &mut Exchange,
    query: &Query,
    user: &User,
    id: &[u8],
    rest: &[&[u8]],
) -> Result<Answer, Failure> {
    let id = std::str::from_utf8(id).map_err(|_| document::illegal_id("Document id must be UTF-8 encoded"))?;
    let reads = matches!(exchange.head.method, Method::GET | Method::HEAD);
    if id.starts_with("_design/") {
        if !reads {
            user.require_admin(&database.security().await?)?;
        }
        if rest.first().is_some_and(|name| DESIGN_HANDLERS.contains(name)) {
            return Err(Failure::not_offered("views"));
        }
    }
    if rest.is_empty() {
        document::document(database, exchange, query, user, id).await
    } else {
        attachment::attachment(database, exchange, query, id, rest.join(b"/".as_slice())).await
    }
}
