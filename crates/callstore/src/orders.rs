//! Notifying others of deaths, and ordering that recordings of dead calls be finalized.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, StatusCode};
use serde_json::Value;
use stowage_http::body::{Body, BoxError, collect};
use stowage_http::client::{Client, Server};
use stowage_http::connect::Reach;
use stowage_http::target::Origin;
use url::Url;

use crate::fold::Micros;

/// Delivers messages to others. The same message may be delivered twice: it has an id.
#[async_trait]
pub trait Orders: Send + Sync + fmt::Debug {
    /// Delivers a message to the recipients of its key: `dialog.dead.<id>`, `recording.finalise.<id>`.
    ///
    /// # Errors
    /// If it may not have been delivered; it is sent again. [`Undeliverable`] if others may be delivered nevertheless.
    async fn send(&self, key: &str, message: Bytes) -> Result<(), BoxError>;
}

/// The error for a message that its recipient does not take, though it may take others.
#[derive(Debug, thiserror::Error)]
#[error("the message cannot be delivered")]
pub struct Undeliverable(#[source] pub BoxError);

/// Sends a notice of a death, and an order to finalize its recording unless that was stopped.
///
/// # Errors
/// As for [`Orders::send`].
pub async fn tell(orders: &dyn Orders, news: &[u8]) -> Result<(), BoxError> {
    let mut message: Value = serde_json::from_slice(news).map_err(|error| Undeliverable(error.into()))?;
    let id = message.get("dialog_id").and_then(Value::as_str).unwrap_or_default().to_owned();
    orders.send(&format!("dialog.dead.{id}"), Bytes::copy_from_slice(news)).await?;
    if message.get("is_unfinished") == Some(&Value::Bool(true)) {
        if let Some(event) = message.get_mut("event") {
            *event = "recording_finalise".into();
        }
        orders.send(&format!("recording.finalise.{id}"), message.to_string().into()).await?;
    }
    Ok(())
}

/// Returns the id of the dialog that a notice is about, and the time by which its death was found: a notice has it in milliseconds.
pub(crate) fn about(news: &[u8]) -> (Box<str>, Micros) {
    let news: Value = serde_json::from_slice(news).unwrap_or_default();
    let text = |member: &str| news.get(member).and_then(Value::as_str);
    let found = text("found").and_then(crate::time::parse).map_or(0, |found| found.saturating_add(999));
    (text("dialog_id").unwrap_or_default().into(), found)
}

/// Posts messages to a URL; any 2xx status accepts one.
#[derive(Debug, Clone)]
pub struct Webhook {
    server: Server,
    client: Client,
    target: String,
}

impl Webhook {
    /// Creates a webhook for this URL.
    ///
    /// # Errors
    /// If the URL has no server.
    pub fn new(client: &Client, url: &Url) -> Result<Self, BoxError> {
        let origin = Origin::of(url).ok_or("orders.webhook names no server")?;
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let target = format!("{}{query}", url.path());
        Ok(Self { server: client.server(origin, Reach::Operator), client: client.clone(), target })
    }
}

#[async_trait]
impl Orders for Webhook {
    async fn send(&self, key: &str, message: Bytes) -> Result<(), BoxError> {
        let mut request = Request::builder().method(Method::POST).uri(&self.target).body(Body::full(message))?;
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::try_from(self.server.origin().authority())?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("x-callstore-key", HeaderValue::try_from(stowage_http::target::encode(key))?);
        let answer = self.server.send(request, self.client.patience()).await?;
        let status = answer.status();
        drop(collect(answer.into_body(), MOST).await?);
        let refusal = || BoxError::from(format!("the webhook answered {}", status.as_u16()));
        match status {
            status if status.is_success() => Ok(()),
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
                Err(Undeliverable(refusal()).into())
            }
            _ => Err(refusal()),
        }
    }
}

/// Maximum number of response bytes read.
const MOST: u64 = 64 << 10;
