//! The routes of the server itself.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, EXPIRES, HeaderValue, LOCATION, PRAGMA, SET_COOKIE};
use http::{Method, StatusCode};
use md5::{Digest as _, Md5};
use serde_json::{Value, json};

use crate::Store;
use crate::exchange::answer::{Answer, Failure, chunked, json_answer, set, set_etag};
use crate::exchange::body::too_large;
use crate::exchange::request::{Exchange, Query};
use crate::exchange::user::{SESSION, User, Users};

/// The CouchDB version this store emulates; clients check it.
const COUCHDB_VERSION: &str = "3.5.0";

/// The maximum number of ids per `_uuids` request, as in CouchDB.
const UUIDS: u64 = 1000;

fn require_read(exchange: &Exchange) -> Result<(), Failure> {
    match exchange.head.method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(Failure::method("GET,HEAD")),
    }
}

/// `/`.
pub(crate) fn welcome(store: &Store, exchange: &Exchange) -> Result<Answer, Failure> {
    require_read(exchange)?;
    let body = json!({
        "couchdb": "Welcome",
        "version": COUCHDB_VERSION,
        "git_sha": "",
        "uuid": store.inner.uuid,
        "features": [],
        "vendor": {"name": "Stowage embedded store", "version": env!("CARGO_PKG_VERSION")},
    });
    Ok(json_answer(StatusCode::OK, &body))
}

/// `/_up`.
pub(crate) fn up(exchange: &Exchange) -> Result<Answer, Failure> {
    require_read(exchange)?;
    Ok(json_answer(StatusCode::OK, &json!({"status": "ok", "seeds": {}})))
}

/// `/_all_dbs` with `startkey`, `endkey`, `descending`, `skip` and `limit`.
pub(crate) async fn all_dbs(store: &Store, exchange: &Exchange, query: &Query, user: &User) -> Result<Answer, Failure> {
    require_read(exchange)?;
    user.require_server_admin()?;
    let key = |one: &str, other: &str| -> Result<Option<String>, Failure> {
        let value = query.json(one)?.or(query.json(other)?);
        Ok(value.and_then(|value| value.as_str().map(str::to_owned)))
    };
    let (mut low, mut high) = (key("startkey", "start_key")?, key("endkey", "end_key")?);
    let mut names = store.inner.registry.names().await;
    if query.flag("descending") {
        names.reverse();
        std::mem::swap(&mut low, &mut high);
    }
    names.retain(|name| low.as_ref().is_none_or(|low| name >= low));
    names.retain(|name| high.as_ref().is_none_or(|high| name <= high));
    let count = |name| Ok::<_, Failure>(query.number(name)?.and_then(|n| usize::try_from(n).ok()));
    let limit = count("limit")?.unwrap_or(usize::MAX);
    let page: Vec<String> = names.into_iter().skip(count("skip")?.unwrap_or(0)).take(limit).collect();
    let text = format!("{}\n", Value::from(page));
    let tag = hex::encode(Md5::digest(text.as_bytes()));
    let mut answer = chunked(text);
    set_etag(&mut answer, &tag);
    Ok(answer)
}

/// `/_uuids`.
pub(crate) fn uuids(exchange: &Exchange, query: &Query) -> Result<Answer, Failure> {
    if exchange.head.method != Method::GET {
        return Err(Failure::method("GET"));
    }
    let count = query.number("count")?.unwrap_or(1);
    if count > UUIDS {
        let reason = "count parameter too large";
        return Err(Failure::new(StatusCode::FORBIDDEN, "forbidden", reason));
    }
    let uuids: Vec<String> = (0..count).map(|_| uuid::Uuid::new_v4().simple().to_string()).collect();
    let body = json!({"uuids": uuids});
    let tag = hex::encode(Md5::digest(body.to_string().as_bytes()));
    let mut answer = json_answer(StatusCode::OK, &body);
    set_etag(&mut answer, &tag);
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(EXPIRES, HeaderValue::from_static("Mon, 01 Jan 1990 00:00:00 GMT"));
    Ok(answer)
}

/// `/_session`: returns the current user, logs in, logs out.
pub(crate) async fn session(users: &Users, exchange: &mut Exchange, user: User) -> Result<Answer, Failure> {
    match exchange.head.method {
        Method::GET | Method::HEAD => {
            let mut info = json!({"authentication_handlers": ["cookie", "default"]});
            if let (Some(handler), Some(info)) = (user.handler, info.as_object_mut()) {
                info.insert("authenticated".into(), handler.into());
            }
            let body = json!({"ok": true, "userCtx": user.context(), "info": info});
            Ok(json_answer(StatusCode::OK, &body))
        }
        Method::POST => login(users, exchange).await,
        Method::DELETE => {
            users.end_session(&exchange.head.headers);
            let mut answer = json_answer(StatusCode::OK, &json!({"ok": true}));
            set_cookie(&mut answer, "", 0);
            Ok(answer)
        }
        _ => Err(Failure::method("GET,HEAD,POST,DELETE")),
    }
}

async fn login(users: &Users, exchange: &mut Exchange) -> Result<Answer, Failure> {
    let query = exchange.query()?;
    let kind = exchange.header(CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
    let (name, password) = if kind.starts_with("application/json") {
        let members = exchange.object().await?;
        let text = |key: &str| members.get(key).and_then(Value::as_str).map(str::to_owned);
        (text("name").or_else(|| text("username")), text("password"))
    } else {
        let body = exchange.body.read(too_large).await?;
        let form = std::str::from_utf8(&body).map_err(|_| Failure::bad_request("invalid UTF-8"))?;
        let form = Query::parse(form)?;
        let text = |key: &str| form.get(key).map(str::to_owned);
        (text("name").or_else(|| text("username")), text("password"))
    };
    let (name, password) = (name.unwrap_or_default(), password.unwrap_or_default());
    match users.login(&name, &password) {
        Ok(user) => {
            let next = query.get("next").filter(|next| next.starts_with('/'));
            let status = if next.is_some() { StatusCode::FOUND } else { StatusCode::OK };
            let body = json!({"ok": true, "name": name, "roles": user.roles()});
            let mut answer = json_answer(status, &body);
            set_cookie(&mut answer, &users.start_session(&name), SESSION.as_secs());
            if let Some(next) = next {
                set(&mut answer, LOCATION, &exchange.address(next));
            }
            Ok(answer)
        }
        Err(refusal) => {
            let mut answer = refusal.answer();
            set_cookie(&mut answer, "", 0);
            Ok(answer)
        }
    }
}

fn set_cookie(answer: &mut Answer, token: &str, age: u64) {
    let cookie = format!("AuthSession={token}; Version=1; Max-Age={age}; Path=/; HttpOnly");
    set(answer, SET_COOKIE, &cookie);
}
