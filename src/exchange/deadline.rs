//! One deadline for a request: from its last byte to the head of its answer.

use std::time::Duration;

use http_body::Body as _;
use stowage_base::activity::Activity;
use stowage_couch as couch;
use stowage_http::client;
use stowage_http::heard::heard;
use stowage_storage as storage;

use super::Exchange;
use crate::error::Error;

/// Begins the request's deadline, and waits for its body on the client's time.
pub(crate) fn hear(limit: Duration, exchange: &mut Exchange) {
    let deadline = exchange.activity.answer_within(limit);
    let body = exchange.request.body_mut();
    if !body.is_end_stream() {
        *body = heard(std::mem::take(body), deadline);
    }
}

/// Answers before the deadline of the request. What is under way then is dropped, and undone as when the client leaves.
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

/// Whose silence it was: that of the storage that was asked last and has not answered, else CouchDB's.
fn late(activity: &Activity) -> Error {
    let note = activity.note();
    match note.storage.is_empty() || note.outcome.is_some() {
        true => couch::Error::Client(client::Error::from(client::Kind::Silent)).into(),
        false => Error::Storage(note.storage.into(), storage::Error::late()),
    }
}
