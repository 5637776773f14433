//! Removes what a broken upload may have left on a server that stores bytes as they arrive.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use stowage_base::tasks::Tasks;

use super::Http;
use super::fetch::etag;
use super::flow::Flow;
use super::link::Link;
use super::options::Options;
use super::web::{Web, discard, is_gone, refusal};
use crate::engine::names::Reserved;
use crate::error::Result;
use crate::{Leftovers, Stored};

/// Watches one upload: if it ends without a definite outcome, the object that it may have left is removed in the background.
#[derive(Debug)]
pub(super) struct Cleanup {
    web: Arc<Web>,
    tasks: Tasks,
    options: Arc<Options>,
    leftovers: Leftovers,
    /// Held until the name is clean again.
    reserved: Option<Reserved>,
    current: Option<(Link, Flow)>,
    doubtful: Option<Link>,
}

impl Cleanup {
    pub(super) fn new(http: &Http, leftovers: &Leftovers, reserved: Option<Reserved>) -> Self {
        Self {
            web: Arc::clone(&http.web),
            tasks: http.tasks.clone(),
            options: Arc::clone(&http.options),
            leftovers: leftovers.clone(),
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
        let (options, leftovers) = (Arc::clone(&self.options), self.leftovers.clone());
        drop(self.tasks.spawn("http clean-up", async move {
            if !is_removed_at_once(&web, &link).await {
                // The server may still be processing the broken request.
                tokio::select! {
                    () = tokio::time::sleep(SETTLED_AFTER) => {}
                    () = tasks.stopping() => {}
                }
                if let Some(etag) = look(&web, &link).await {
                    leftovers.note(Stored { location: options.location(&link), etag, ..Stored::default() });
                }
            }
            drop(reserved);
        }));
    }
}

/// Sends one DELETE; returns whether it removed something. The wait for the answer is short, because another gateway may soon use the name: the
/// client may have repeated its request there.
async fn is_removed_at_once(web: &Web, link: &Link) -> bool {
    matches!(tokio::time::timeout(AT_ONCE, remove(web, link)).await, Ok(Ok(true)))
}

/// Returns the ETag of the object at the link, if the server gives one; `None` if there is no object. Without an answer, there may be one.
async fn look(web: &Web, link: &Link) -> Option<Option<String>> {
    match web.ask(&Method::HEAD, link, &HeaderMap::new()).await {
        Ok((_, response)) if is_gone(response.status()) => None,
        Ok((_, response)) => Some(etag(response.headers()).filter(|_| response.status().is_success())),
        Err(_) => Some(None),
    }
}

/// Sends a DELETE; returns whether it removed an object. It did not if there was none, or if the server does not support deletion.
pub(super) async fn remove(web: &Web, link: &Link) -> Result<bool> {
    let (_, response) = web.follow(Method::DELETE, link.clone(), &HeaderMap::new(), web.patience()).await?;
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

/// How long the DELETE may take.
const AT_ONCE: Duration = Duration::from_secs(1);
/// How long a server may go on with a request whose connection is gone.
const SETTLED_AFTER: Duration = Duration::from_millis(2500);
