//! Telling others of deaths, and ordering that the recordings of dead calls be finished.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request};
use serde_json::Value;
use stowage_http::body::{Body, BoxError, collect};
use stowage_http::client::{Client, Server};
use stowage_http::connect::Reach;
use stowage_http::target::Origin;
use url::Url;

/// Takes messages for others. The same may come twice: it has an id.
#[async_trait]
pub trait Orders: Send + Sync + fmt::Debug {
    /// Gives a message to those whom its key concerns: `dialog.dead.<id>`, `recording.finalise.<id>`.
    ///
    /// # Errors
    /// Where it may not have been taken; it is given again.
    async fn send(&self, key: &str, message: Bytes) -> Result<(), BoxError>;
}

/// Tells of a death, and orders that its recording be finished where nobody stopped it.
///
/// # Errors
/// As for [`Orders::send`].
pub async fn tell(orders: &dyn Orders, news: &[u8]) -> Result<(), BoxError> {
    let mut message: Value = serde_json::from_slice(news)?;
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

/// Posts messages to a URL; any 2xx takes one.
#[derive(Debug, Clone)]
pub struct Webhook {
    server: Server,
    client: Client,
    target: String,
}

impl Webhook {
    /// To this URL.
    ///
    /// # Errors
    /// A URL that names no server.
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
        if status.is_success() { Ok(()) } else { Err(format!("the webhook answered {}", status.as_u16()).into()) }
    }
}

/// So much of an answer is read.
const MOST: u64 = 64 << 10;
