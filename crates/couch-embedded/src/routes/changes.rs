//! `_changes`: request parsing. The feed itself is in `feed`.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use md5::{Digest as _, Md5};
use rouchdb_core::adapter::Adapter as _;
use rouchdb_core::document::ChangesStyle;
use serde_json::{Map, Value};

use crate::contents::database::Database;
use crate::exchange::answer::{Answer, Failure, set_etag, streamed};
use crate::exchange::request::{Closing, Exchange, Query};
use crate::routes::feed::{Feed, FeedRequest, Kind};

/// Default timeout of a feed without changes; also CouchDB's.
const TIMEOUT: Duration = Duration::from_secs(60);

/// `/{db}/_changes`.
pub(crate) async fn changes(
    database: &Arc<Database>,
    exchange: &mut Exchange,
    query: &Query,
) -> Result<Answer, Failure> {
    let body = exchange.options().await?;
    // Subscribed before anything is read, so that no change is missed in between.
    let notices = database.engine.subscribe();
    let wanted = wanted(database, query, &body).await?;
    let kind = wanted.kind;
    let closing = exchange.head.extensions.get::<Closing>().map(|closing| closing.0.clone());
    let at = database.engine.info().await?.update_seq.as_num();
    let feed = Feed::new(Arc::clone(database), wanted, notices, closing.unwrap_or_default());
    if exchange.head.method == Method::HEAD {
        return Ok(streamed(futures_util::stream::empty()));
    }
    let mut answer = streamed(feed.into_stream());
    if kind == Kind::Normal {
        let tag = hex::encode(Md5::digest(database.seq(at).as_bytes()));
        set_etag(&mut answer, &tag);
    }
    Ok(answer)
}

async fn wanted(database: &Database, query: &Query, body: &Map<String, Value>) -> Result<FeedRequest, Failure> {
    let kind = match query.get("feed").unwrap_or("normal") {
        "normal" => Kind::Normal,
        "longpoll" => Kind::Longpoll,
        "continuous" | "live" => Kind::Continuous,
        "eventsource" => return Err(Failure::not_offered("the eventsource feed")),
        _ => {
            let reason = "Supported `feed` types: normal, continuous, live, longpoll, eventsource";
            return Err(Failure::bad_request(reason));
        }
    };
    let doc_ids = match query.get("filter") {
        None => None,
        Some("_doc_ids") => {
            let listed = match body.get("doc_ids") {
                Some(listed) => Some(listed.clone()),
                None => query.json("doc_ids")?,
            };
            let listed = listed.and_then(|listed| serde_json::from_value(listed).ok());
            Some(listed.ok_or_else(|| Failure::bad_request("`doc_ids` filter parameter is not a list of doc ids."))?)
        }
        Some(other) => return Err(Failure::not_offered(&format!("the filter {other}"))),
    };
    let last = database.engine.info().await?.update_seq.as_num();
    let since = since(database, query.get("since").unwrap_or("0"), last)?;
    let heartbeat = match query.get("heartbeat") {
        None | Some("false") => None,
        Some("true") => Some(TIMEOUT),
        Some(_) => query.number("heartbeat")?.map(Duration::from_millis),
    };
    if heartbeat.is_some_and(|pause| pause.is_zero()) {
        return Err(Failure::bad_request("The heartbeat value should be a positive integer (in milliseconds)."));
    }
    // A feed with a heartbeat never times out.
    let timeout = match query.number("timeout")? {
        _ if heartbeat.is_some() => None,
        Some(given) => Some(Duration::from_millis(given).min(TIMEOUT)),
        None => Some(TIMEOUT),
    };
    let all = query.get("style") == Some("all_docs");
    Ok(FeedRequest {
        kind,
        since,
        // CouchDB treats a limit of 0 as 1.
        limit: query.number("limit")?.map(|limit| limit.max(1)),
        descending: query.flag("descending"),
        include_docs: query.flag("include_docs"),
        attachments: query.flag("attachments"),
        doc_ids,
        style: if all { ChangesStyle::AllDocs } else { ChangesStyle::MainOnly },
        heartbeat,
        timeout,
    })
}

/// Returns the number of the change to start after. A sequence from another incarnation of the database has no meaning here, so
/// everything is new to its owner.
fn since(database: &Database, text: &str, last: u64) -> Result<u64, Failure> {
    if text == "now" {
        return Ok(last);
    }
    // CouchDB's own replicator sends it as JSON.
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let (number, instance) = text.split_once('-').unwrap_or((text, &database.instance));
    let number =
        number.parse().map_err(|_| Failure::bad_request("Malformed sequence supplied in 'since' parameter."))?;
    Ok(if instance == database.instance { number } else { 0 })
}
