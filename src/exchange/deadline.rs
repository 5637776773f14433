//! A request's single deadline: from its last byte to the head of its response.

use std::time::Duration;

use http_body::Body as _;
use stowage_base::activity::Activity;
use stowage_couch as couch;
use stowage_http::client;
use stowage_http::heard::heard;
use stowage_storage as storage;

use super::Exchange;
use crate::error::Error;

/// Starts the request's deadline, and suspends it while the client still sends its body.
pub(crate) fn hear(limit: Duration, exchange: &mut Exchange) {
    let deadline = exchange.activity.answer_within(limit);
    let body = exchange.request.body_mut();
    if !body.is_end_stream() {
        *body = heard(std::mem::take(body), deadline);
    }
}

/// Bounds a handler by the request's deadline. Past it, work in progress is dropped and undone, as when the client disconnects.
pub(crate) async fn in_time<T>(
    limit: Duration,
    activity: &Activity,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let deadline = activity.answer_within(limit);
    let outcome = deadline.bound(answer).await.unwrap_or_else(|| Err(late(activity)));
    deadline.lift();
    outcome
}

/// Attributes a missed deadline: to the storage that was called last, if it has not responded, else to CouchDB.
fn late(activity: &Activity) -> Error {
    let note = activity.note();
    if note.storage.is_empty() || note.outcome.is_some() {
        couch::Error::Client(client::Error::from(client::Kind::Silent)).into()
    } else {
        Error::Storage(note.storage.into(), storage::Error::late())
    }
}
