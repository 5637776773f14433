//! Sends finished spans to an OpenTelemetry collector: OTLP over HTTP with protobuf bodies
//! (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>).

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use prost::Message;
use stowage_base::tasks::Tasks;
use stowage_http::body::{Body, BoxError, collect};
use stowage_http::client::{Client, Server};
use stowage_http::connect::Reach;
use stowage_http::target::Origin;
use tokio::sync::mpsc;
use tokio::time::Instant;
use url::Url;

use crate::metrics::Metrics;

/// Exports spans to the collector.
#[derive(Debug)]
pub struct Exporter {
    client: Client,
    server: Server,
    target: Uri,
    authority: HeaderValue,
    resource: ResourceAttributesWithSchema,
    spans: mpsc::Receiver<SpanData>,
    metrics: Metrics,
    /// Whether the collector refused the last batch; the log already says so.
    failing: bool,
}

/// The reason the collector did not take a batch.
enum Failure {
    /// The collector may take the batch later, perhaps after the delay that it asks for.
    Passing(BoxError, Option<Duration>),
    Final(BoxError),
}

impl Exporter {
    /// Creates an exporter. `url` is the collector's base URL: spans go to `v1/traces` below it.
    ///
    /// # Errors
    /// Returns an error if the URL names no server.
    pub fn new(
        client: &Client,
        url: &Url,
        spans: mpsc::Receiver<SpanData>,
        metrics: Metrics,
    ) -> Result<Self, BoxError> {
        let origin = Origin::of(url).ok_or("telemetry.otlp names no server")?;
        let authority = HeaderValue::try_from(origin.authority())?;
        let path: PathAndQuery = format!("{}/v1/traces", url.path().trim_end_matches('/')).parse()?;
        let resource = Resource::builder()
            .with_service_name("stowage")
            .with_attributes([
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", uuid::Uuid::new_v4().to_string()),
            ])
            .build();
        Ok(Self {
            client: client.clone(),
            server: client.server(origin, Reach::Operator),
            target: Uri::from(path),
            authority,
            resource: (&resource).into(),
            spans,
            metrics,
            failing: false,
        })
    }

    /// Exports spans until the program stops, then flushes the rest.
    pub async fn run(mut self, tasks: Tasks) {
        loop {
            let batch = self.batch(&tasks).await;
            if batch.is_empty() {
                return;
            }
            self.export(batch, &tasks).await;
        }
    }

    /// Collects the next batch: as many spans as one request takes, or those that arrive within [`COLLECT_FOR`]. Empty once no more will come.
    async fn batch(&mut self, tasks: &Tasks) -> Vec<SpanData> {
        let mut batch = Vec::new();
        let mut until = None;
        while batch.len() < BATCH {
            let room = BATCH - batch.len();
            tokio::select! {
                biased;
                count = self.spans.recv_many(&mut batch, room) => match count {
                    0 => break,
                    _ => { until.get_or_insert_with(|| Instant::now() + COLLECT_FOR); }
                },
                () = tasks.stopping(), if !self.spans.is_closed() => self.spans.close(),
                () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => break,
            }
        }
        batch
    }

    async fn export(&mut self, batch: Vec<SpanData>, tasks: &Tasks) {
        let count = batch.len() as u64;
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let body = Bytes::from(ExportTraceServiceRequest { resource_spans }.encode_to_vec());
        let mut pause = FIRST_PAUSE;
        let mut left = TRIES;
        let error = loop {
            left -= 1;
            match self.post(body.clone()).await {
                Ok(rejected) => return self.taken(count, rejected.min(count)),
                Err(Failure::Passing(_, asked)) if left > 0 && !tasks.is_stopping() => {
                    tokio::select! {
                        () = tokio::time::sleep(asked.unwrap_or(pause).min(LONGEST_PAUSE)) => {}
                        () = tasks.stopping() => {}
                    }
                    pause *= 2;
                }
                Err(Failure::Passing(error, _) | Failure::Final(error)) => break error,
            }
        };
        self.metrics.spans("failed", count);
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(error = %error, "the OpenTelemetry collector does not take spans; they are lost until it does");
        }
    }

    fn taken(&mut self, count: u64, rejected: u64) {
        self.metrics.spans("exported", count - rejected);
        self.metrics.spans("rejected", rejected);
        if std::mem::take(&mut self.failing) {
            tracing::info!("the OpenTelemetry collector takes spans again");
        }
    }

    /// Sends a batch once; returns how many of its spans were rejected.
    async fn post(&self, body: Bytes) -> Result<u64, Failure> {
        match tokio::time::timeout(PATIENCE, self.post_patiently(body)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::Passing("it does not answer in time".into(), None)),
        }
    }

    async fn post_patiently(&self, body: Bytes) -> Result<u64, Failure> {
        let mut request = Request::new(Body::full(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.clone();
        request.headers_mut().insert(HOST, self.authority.clone());
        request.headers_mut().insert(CONTENT_TYPE, PROTOBUF);
        let passing = |error: BoxError| Failure::Passing(error, None);
        let answer = self.server.send(request, self.client.patience()).await.map_err(|error| passing(error.into()))?;
        let (head, body) = answer.into_parts();
        let text = collect(body, LONGEST_ANSWER).await;
        if head.status.is_success() {
            let answer = text.ok().and_then(|text| ExportTraceServiceResponse::decode(text).ok()).unwrap_or_default();
            let rejected = answer.partial_success.map_or(0, |partial| partial.rejected_spans);
            return Ok(u64::try_from(rejected).unwrap_or(0));
        }
        let error = format!("it answered {}", head.status.as_u16()).into();
        match head.status {
            // Other statuses are not retryable: https://opentelemetry.io/docs/specs/otlp/#retryable-response-codes
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Err(Failure::Passing(error, asked_pause(&head.headers))),
            _ => Err(Failure::Final(error)),
        }
    }
}

fn asked_pause(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
/// Spans per request.
const BATCH: usize = 512;
/// How long the first span of a batch waits for more.
const COLLECT_FOR: Duration = Duration::from_secs(1);
/// Attempts per batch.
const TRIES: u32 = 4;
/// The delay before the first retry; it doubles with each further retry.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest retry delay, whatever the collector asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The timeout of one request.
const PATIENCE: Duration = Duration::from_secs(4);
/// The largest response body that is read from the collector, in bytes.
const LONGEST_ANSWER: u64 = 64 << 10;
