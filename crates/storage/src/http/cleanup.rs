//! Removes what a broken upload may have left on a server that stores bytes as they arrive.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use serde_json::{Map, Value};
use stowage_base::tasks::Tasks;

use super::Http;
use super::flow::Flow;
use super::link::Link;
use super::web::{Web, discard, is_gone, refusal};
use crate::engine::names::Reserved;
use crate::error::Result;

/// Watches one upload: if it ends without a definite outcome, what it may have left is removed in the background.
#[derive(Debug)]
pub(super) struct Cleanup {
    web: Arc<Web>,
    tasks: Tasks,
    storage: String,
    document: String,
    /// Held until the name is clean again.
    reserved: Option<Reserved>,
    current: Option<(Link, Flow)>,
    doubtful: Option<Link>,
}

impl Cleanup {
    pub(super) fn new(http: &Http, document: &Map<String, Value>, reserved: Option<Reserved>) -> Self {
        let document = document.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        Self {
            web: Arc::clone(&http.web),
            tasks: http.tasks.clone(),
            storage: http.id.clone(),
            document,
            reserved,
            current: None,
            doubtful: None,
        }
    }

    /// Records the start of a request; the outcome of the previous one stays unknown.
    pub(super) fn aim(&mut self, link: &Link, flow: &Flow) {
        self.note();
        self.current = Some((link.clone(), flow.clone()));
    }

    /// Records that the current request certainly left nothing.
    pub(super) fn settled(&mut self) {
        self.current = None;
    }

    /// Records that something may be at `link`.
    pub(super) fn doubt(&mut self, link: &Link) {
        self.doubtful = Some(link.clone());
    }

    /// Records that the object is stored.
    pub(super) fn done(&mut self) {
        self.current = None;
        self.doubtful = None;
    }

    fn note(&mut self) {
        if let Some((link, _)) = self.current.take().filter(|(_, flow)| flow.started()) {
            self.doubtful = Some(link);
        }
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        self.note();
        let Some(link) = self.doubtful.take() else { return };
        let (web, tasks, reserved) = (Arc::clone(&self.web), self.tasks.clone(), self.reserved.take());
        let (storage, document) = (std::mem::take(&mut self.storage), std::mem::take(&mut self.document));
        drop(self.tasks.spawn("http clean-up", async move {
            if let Err(error) = scrub(&web, &tasks, &link).await {
                tracing::error!(%storage, %document, url = %link, %error, "a broken upload may have left an object behind");
            }
            drop(reserved);
        }));
    }
}

/// Retries until something was removed, or nothing appears for a while: the server may still be processing the broken request.
async fn scrub(web: &Web, tasks: &Tasks, link: &Link) -> Result<()> {
    let mut outcome = remove(web, link).await;
    for pause in PAUSES {
        if matches!(outcome, Ok(true)) || tasks.is_stopping() {
            break;
        }
        tokio::time::sleep(pause).await;
        outcome = remove(web, link).await;
    }
    outcome.map(drop)
}

/// Sends a DELETE; returns whether it removed an object: not if there was none, or if the server does not support deletion.
pub(super) async fn remove(web: &Web, link: &Link) -> Result<bool> {
    let (_, response) = web.ask(&Method::DELETE, link, &HeaderMap::new()).await?;
    let status = response.status();
    discard(response).await;
    match status {
        // RFC 9110 section 15.4.4 and RFC 4918 section 9.6.1: neither says what happened to the object.
        StatusCode::SEE_OTHER | StatusCode::MULTI_STATUS => is_removed(web, link, status).await,
        status if status.is_success() => Ok(true),
        StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
            Ok(false)
        }
        status => Err(refusal(&Method::DELETE, status)),
    }
}

async fn is_removed(web: &Web, link: &Link, answered: StatusCode) -> Result<bool> {
    let (_, response) = web.ask(&Method::HEAD, link, &HeaderMap::new()).await?;
    if is_gone(response.status()) { Ok(true) } else { Err(refusal(&Method::DELETE, answered)) }
}

const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];
