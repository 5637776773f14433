//! The routes that concern a database as a whole.

use std::sync::Arc;

use http::header::LOCATION;
use http::{Method, StatusCode};
use rouchdb_adapter_redb::DEFAULT_REV_LIMIT;
use rouchdb_core::adapter::Adapter as _;
use serde_json::json;

use crate::Store;
use crate::contents::database::Database;
use crate::exchange::answer::{Answer, Failure, json_answer, set};
use crate::exchange::request::{Exchange, encode};
use crate::exchange::user::User;

/// `/{db}` itself.
pub(crate) async fn database(
    store: &Store,
    exchange: &mut Exchange,
    name: &[u8],
    user: &User,
) -> Result<Answer, Failure> {
    let registry = &store.inner.registry;
    match exchange.head.method {
        Method::PUT => {
            user.require_server_admin()?;
            registry.create(name).await?;
            let mut answer = json_answer(StatusCode::CREATED, &json!({"ok": true}));
            let path = format!("/{}", encode(&String::from_utf8_lossy(name)));
            set(&mut answer, LOCATION, &exchange.address(&path));
            Ok(answer)
        }
        Method::DELETE => {
            user.require_server_admin()?;
            registry.delete(name).await?;
            Ok(json_answer(StatusCode::OK, &json!({"ok": true})))
        }
        Method::GET | Method::HEAD => {
            let database = enter(store, name, user).await?;
            Ok(json_answer(StatusCode::OK, &database.info().await?))
        }
        Method::POST => {
            let database = enter(store, name, user).await?;
            crate::routes::document::post(&database, exchange, user).await
        }
        _ => {
            enter(store, name, user).await?;
            Err(Failure::method("DELETE,GET,HEAD,POST"))
        }
    }
}

/// Returns the database called `name`, if `user` is a member of it.
pub(crate) async fn enter(store: &Store, name: &[u8], user: &User) -> Result<Arc<Database>, Failure> {
    let database = store.inner.registry.get(name).await?;
    if !user.admin {
        user.require_member(&database.security().await?)?;
    }
    Ok(database)
}

/// `/{db}/_security`.
pub(crate) async fn security(database: &Database, exchange: &mut Exchange, user: &User) -> Result<Answer, Failure> {
    match exchange.head.method {
        Method::GET | Method::HEAD => Ok(json_answer(StatusCode::OK, &database.security().await?)),
        Method::PUT => {
            user.require_admin(&database.security().await?)?;
            let document = exchange.object().await?;
            database.set_security(document).await?;
            Ok(json_answer(StatusCode::OK, &json!({"ok": true})))
        }
        _ => Err(Failure::method("GET,HEAD,PUT")),
    }
}

/// `/{db}/_revs_limit`: the engine's fixed limit.
pub(crate) fn revs_limit(exchange: &Exchange) -> Result<Answer, Failure> {
    match exchange.head.method {
        Method::GET | Method::HEAD => Ok(json_answer(StatusCode::OK, &json!(DEFAULT_REV_LIMIT))),
        _ => Err(Failure::not_offered("another _revs_limit")),
    }
}

/// `/{db}/_compact`, which is complete when the response is sent.
pub(crate) async fn compact(database: &Database, exchange: &Exchange, user: &User) -> Result<Answer, Failure> {
    exchange.require_post()?;
    user.require_admin(&database.security().await?)?;
    database.engine.compact().await?;
    Ok(json_answer(StatusCode::ACCEPTED, &json!({"ok": true})))
}

/// `/{db}/_ensure_full_commit`: every save is already committed.
pub(crate) fn ensure_full_commit(database: &Database, exchange: &Exchange) -> Result<Answer, Failure> {
    exchange.require_post()?;
    let body = json!({"ok": true, "instance_start_time": database.created});
    Ok(json_answer(StatusCode::CREATED, &body))
}
