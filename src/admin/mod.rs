//! The admin listener: health, metrics, the storage API and the operator's page.

pub mod api;
pub mod explain;
mod page;
pub mod status;

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use stowage_base::activity::Activity;
use stowage_base::tasks::Tasks;
use stowage_http::body::Body;
use stowage_http::server::ACCEPT_AGAIN_AFTER;
use stowage_storage::DRIVERS;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::gateway::Gateway;
use crate::metrics::Levels;
use crate::middleware::Admission;
use api::Api;
use status::Standing;

/// The admin listener's handlers; cheap to clone.
#[derive(Debug, Clone)]
pub struct Admin {
    gateway: Arc<Gateway>,
    api: Api,
    standing: Arc<Standing>,
    admission: Admission,
    stopping: CancellationToken,
}

impl Admin {
    /// Creates the handlers. Once `stopping` is cancelled, `/ready` reports that the gateway is stopping.
    #[must_use]
    pub fn new(
        gateway: Arc<Gateway>,
        api: Api,
        standing: Standing,
        admission: Admission,
        stopping: CancellationToken,
    ) -> Self {
        Self { gateway, api, standing: Arc::new(standing), admission, stopping }
    }

    /// Serves until `closing` is cancelled, after the drain: health checks continue during it.
    pub async fn accept(self, listener: TcpListener, tasks: Tasks, closing: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = closing.cancelled() => return,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
                continue;
            };
            let (admin, closing) = (self.clone(), closing.clone());
            drop(tasks.spawn("admin connection", async move {
                let service = service_fn(|request| async { Ok::<_, Infallible>(admin.answer(request).await) });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(admin.gateway.timeouts.request_head)
                    .serve_connection(TokioIo::new(stream), service);
                let mut connection = std::pin::pin!(connection);
                tokio::select! {
                    outcome = &mut connection => drop(outcome),
                    () = closing.cancelled() => {
                        // The last answers may not be sent yet.
                        connection.as_mut().graceful_shutdown();
                        drop(connection.await);
                    }
                }
            }));
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        if Api::owns(request.uri().path()) {
            let (idle, tasks) = (self.gateway.timeouts.http.idle_body, &self.gateway.tasks);
            return self
                .api
                .answer(request.map(|body| Body::request(body, idle, false, tasks, &Activity::default())))
                .await;
        }
        let page = page::file(request.uri().path());
        let known = page.is_some() || matches!(request.uri().path(), "/live" | "/ready" | "/metrics" | "/status");
        if known && !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        if let Some(page) = page {
            return page;
        }
        match request.uri().path() {
            "/status" => {
                let status =
                    self.standing.shown(&self.gateway.plans, &self.gateway.storages, !self.stopping.is_cancelled());
                let mut answer = text(StatusCode::OK, status.to_string());
                answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                answer
            }
            "/live" => text(StatusCode::OK, "live\n"),
            "/ready" if self.stopping.is_cancelled() => text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
            "/ready" => text(StatusCode::OK, "ready\n"),
            "/metrics" => {
                let levels = Levels {
                    in_flight: self.admission.in_flight(),
                    upload_buffer: self.gateway.budget.held(),
                    background_tasks: self.gateway.tasks.running(),
                };
                self.tell_outages();
                text(StatusCode::OK, self.gateway.metrics.text(levels))
            }
            _ => text(StatusCode::NOT_FOUND, "there is nothing here\n"),
        }
    }

    /// Updates the gauge of storages that are down, which is only computed on demand.
    fn tell_outages(&self) {
        let down: Vec<_> = self.gateway.storages.standings().filter(|standing| standing.down.is_some()).collect();
        for driver in DRIVERS {
            let count = down.iter().filter(|standing| standing.handler == driver.handler).count();
            self.gateway.metrics.outages().down(driver.handler, count as u64);
        }
    }
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    response
}
