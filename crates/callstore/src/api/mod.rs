//! The HTTP API: event ingestion, queries, health, metrics and the web page.

mod inlet;
mod lists;
mod page;
mod sites;
mod split;
mod stream;

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::{Value, json};
use stowage_base::activity::Activity;
use stowage_base::tasks::Tasks;
use stowage_base::token::{Holder, Tokens, given};
use stowage_http::body::Body;
use stowage_http::forwarded::Arrival;
use stowage_http::server::Answers;
use tokio_util::sync::CancellationToken;
use tower::Service;

pub use inlet::Inlet;
pub use lists::Site;
pub use split::{Piece, Splitter};
pub use stream::Watchers;

use crate::follow::Progress;
use crate::metrics::Metrics;
use crate::sites::Own;

/// The API's service; cheap to clone.
#[derive(Debug, Clone)]
pub struct Api(Arc<Parts>);

/// Dependencies of the API.
#[derive(Debug)]
pub struct Parts {
    /// API tokens; if empty, requests need none.
    pub tokens: Tokens,
    /// This site, followed by the other sites it knows.
    pub sites: Vec<Site>,
    /// This site and its instance, also for decisions about others.
    pub own: Own,
    /// The other sites, for the status of their links.
    pub others: Vec<crate::sites::Site>,
    /// Takes in events.
    pub inlet: Inlet,
    /// How far the journal has been folded.
    pub progress: Progress,
    /// The site's groups, as JSON.
    pub groups: Value,
    /// Limits concurrent subscribers.
    pub watchers: Watchers,
    /// Metrics.
    pub metrics: Metrics,
    /// Idle timeout of request bodies.
    pub idle: Duration,
    /// Tracks work that outlives a request.
    pub tasks: Tasks,
    /// Makes `/ready` report that the program is stopping.
    pub stopping: CancellationToken,
}

impl Api {
    /// Creates the API.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    async fn answer(self, request: Request<Body>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        if let Some(file) = page::file(&path) {
            return if is_read { file } else { not_allowed("GET, HEAD") };
        }
        match path.as_str() {
            "/live" => text(StatusCode::OK, "live\n"),
            "/ready" if self.0.stopping.is_cancelled() => text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
            "/ready" if !self.0.progress.is_ready() => text(StatusCode::SERVICE_UNAVAILABLE, "reading the journal\n"),
            "/ready" => text(StatusCode::OK, "ready\n"),
            "/metrics" => self.metrics(),
            "/v1/events" if *request.method() == Method::POST => self.take(request).await,
            path if path.starts_with(sites::BELOW) => self.adopt(request.into_parts().0).await,
            path if path.starts_with("/v1/") && is_read => self.show(request.into_parts().0).await,
            path if path.starts_with("/v1/") => {
                not_allowed(if path == "/v1/events" { "GET, POST" } else { "GET, HEAD" })
            }
            _ => failure(StatusCode::NOT_FOUND, "not_found", "there is nothing here"),
        }
    }

    /// Returns the holder of the request's token; without configured tokens, everyone who can reach the listener is an operator.
    fn holder(&self, headers: &HeaderMap) -> Result<Holder, Box<Response<Body>>> {
        if self.0.tokens.is_empty() {
            return Ok(Holder::Operator);
        }
        self.0.tokens.holder(given(headers)).ok_or_else(|| {
            let mut answer =
                failure(StatusCode::UNAUTHORIZED, "unauthorized", "a token is wanted, in X-Auth-Token or as a bearer");
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            Box::new(answer)
        })
    }

    /// Refuses the token of an account.
    fn require_operator(&self, headers: &HeaderMap, reason: &str) -> Result<(), Box<Response<Body>>> {
        match self.holder(headers)? {
            Holder::Operator => Ok(()),
            Holder::Account(_) => Err(Box::new(failure(StatusCode::FORBIDDEN, "forbidden", reason))),
        }
    }

    async fn take(&self, request: Request<Body>) -> Response<Body> {
        let reason = "the token is that of an account, and events are of all";
        if let Err(answer) = self.require_operator(request.headers(), reason) {
            return *answer;
        }
        let (head, body) = request.into_parts();
        let (status, answer) = self.0.inlet.take(&head.headers, body).await;
        let mut answer = json_answer(status, &answer);
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        answer
    }

    async fn show(&self, head: http::request::Parts) -> Response<Body> {
        let holder = match self.holder(&head.headers) {
            Ok(holder) => holder,
            Err(answer) => return *answer,
        };
        let (path, query) = (head.uri.path(), head.uri.query());
        match path {
            "/v1/events" => stream::watch(&self.0, holder, query),
            "/v1/groups" if holder == Holder::Operator => json_answer(StatusCode::OK, &self.groups()),
            "/v1/nodes" if holder == Holder::Operator => json_answer(StatusCode::OK, &lists::nodes(&self.0)),
            "/v1/groups" | "/v1/nodes" => {
                failure(StatusCode::FORBIDDEN, "forbidden", "the token is that of an account")
            }
            path => {
                // Runs on a blocking thread, because it reads the state's file.
                let (parts, path, query) = (Arc::clone(&self.0), path.to_owned(), query.map(str::to_owned));
                let shown = move || lists::show(&parts, &holder, &path, query.as_deref());
                tokio::task::spawn_blocking(shown).await.unwrap_or_else(|_| {
                    failure(StatusCode::INTERNAL_SERVER_ERROR, "internal", "this is a bug; the log has more")
                })
            }
        }
    }

    fn groups(&self) -> Value {
        let own = &self.0.own;
        let epoch = own.leading.epoch();
        json!({
            "instance": &*own.name,
            "is_active": epoch.is_some(),
            "epoch": epoch.unwrap_or_else(|| own.state.index().epoch),
            "groups": self.0.groups,
            "sites": self.0.others.iter().map(|site| site.json(&own.state)).collect::<Vec<_>>(),
        })
    }

    /// Asks no broker: a scrape neither waits for it nor writes to the stream.
    fn metrics(&self) -> Response<Body> {
        let Own { journal, state, leading, .. } = &self.0.own;
        let end = journal.last_known();
        let at = state.index().offset;
        let lag = end.map_or(0, |end| at.map_or(end + 1, |at| end.saturating_sub(at)));
        for site in &self.0.others {
            let is_adopted = state.adopted().borrow().contains(&site.name);
            self.0.metrics.site(&site.name, site.lag(), site.is_linked(), is_adopted);
        }
        text(StatusCode::OK, self.0.metrics.text(state, lag, leading.epoch(), self.0.progress.is_ready()))
    }
}

impl Answers for Api {
    type Body = Body;
    type Connection = Self;

    fn of(&self, _: Arrival) -> Self {
        self.clone()
    }
}

impl Service<Request<Incoming>> for Api {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let api = self.clone();
        let (idle, tasks) = (api.0.idle, api.0.tasks.clone());
        let request = request.map(|body| Body::request(body, idle, false, &tasks, &Activity::default()));
        Box::pin(async move {
            let metrics = api.0.metrics.clone();
            let outcome = std::panic::AssertUnwindSafe(api.answer(request)).catch_unwind().await;
            let answer = outcome.unwrap_or_else(|_| {
                failure(StatusCode::INTERNAL_SERVER_ERROR, "internal", "this is a bug; the log has more")
            });
            metrics.answered(answer.status().as_u16());
            Ok(answer)
        })
    }
}

fn text(status: StatusCode, text: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    response
}

pub(crate) fn json_answer(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let (status, mut body) = match serde_json::to_string(value) {
        Ok(body) => (status, body),
        // A map whose keys are no texts: a bug.
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written as JSON");
            let failure = json!({ "error": "internal", "reason": "the answer cannot be written" });
            (StatusCode::INTERNAL_SERVER_ERROR, failure.to_string())
        }
    };
    body.push('\n');
    let mut response = text(status, body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(crate) fn failure(status: StatusCode, error: &str, reason: &str) -> Response<Body> {
    json_answer(status, &json!({ "error": error, "reason": reason }))
}

fn not_allowed(methods: &'static str) -> Response<Body> {
    let mut answer = failure(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &format!("only {methods}"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    answer
}
