//! Everything that is CouchDB's own: streamed in both directions, untouched.

use http::{Method, Response, Uri, Version};

use super::{Exchange, Gateway};
use crate::error::Error;
use crate::http::body::Body;
use crate::http::client::Patience;
use crate::http::headers;

/// Sends a request on to CouchDB.
pub(super) async fn forward(gateway: &Gateway, exchange: Exchange) -> Result<Response<Body>, Error> {
    let mut request = exchange.request;
    if request.version() == Version::HTTP_2 {
        headers::join_cookies(request.headers_mut());
    }
    let patience = patience(gateway, request.method(), request.uri());
    Ok(gateway.couch.forward(request, patience).await?)
}

/// Some of CouchDB's answers are meant to take long: feeds that wait for changes, replications, indexes that are built.
fn patience(gateway: &Gateway, method: &Method, uri: &Uri) -> Patience {
    let (head, idle) = (Some(gateway.timeouts.response_head), Some(gateway.timeouts.idle_body));
    let path = uri.path();
    if !path.contains("/_") {
        return Patience { head, idle };
    }
    let endless = Patience { head: None, idle: None };
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let query = uri.query().unwrap_or_default();
    let waits = ["longpoll", "continuous", "eventsource", "live"];
    match last {
        "_changes" | "_db_updates" if waits.iter().any(|feed| query.contains(&format!("feed={feed}"))) => endless,
        "_replicate" | "_find" | "_search_cleanup" | "_view_cleanup" if *method == Method::POST => endless,
        _ if path.contains("/_design/") || path.contains("/_partition/") => endless,
        _ => Patience { head, idle },
    }
}
