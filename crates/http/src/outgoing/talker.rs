//! A minimal client, for commands that send a few requests to one server.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request};
use serde_json::Value;
use stowage_base::tasks::Tasks;
use url::Url;

use crate::body::{Body, BoxError, collect};
use crate::client::{Client, Server};
use crate::connect::{Connector, Reach, Timeouts};
use crate::egress::Egress;
use crate::target::Origin;

/// A client of one server, with the credentials for it.
#[derive(Debug)]
pub struct Talker {
    server: Server,
    client: Client,
    authorization: Option<HeaderValue>,
}

impl Talker {
    /// Creates a client for this server; `authorization` is the header's value.
    ///
    /// # Errors
    /// If the URL names no server, or the value cannot be a header's.
    pub fn new(url: &Url, authorization: Option<String>) -> Result<Self, BoxError> {
        let patience = Duration::from_secs(30);
        let timeouts =
            Timeouts { connect: patience, tls_handshake: patience, response_head: patience, idle_body: patience };
        let connector = Connector::new(Egress::default(), timeouts)?;
        let client = Client::new(connector, Tasks::default(), 64 << 10);
        let origin = Origin::of(url).ok_or("the URL names no server")?;
        let authorization = authorization.map(HeaderValue::try_from).transpose()?;
        Ok(Self { server: client.server(origin, Reach::Operator), client, authorization })
    }

    /// Sends a request and returns the body of a successful response.
    ///
    /// # Errors
    /// If there is no response, or it is a failure; with its body.
    pub async fn send(
        &self,
        method: Method,
        target: &str,
        media_type: &'static str,
        body: Bytes,
    ) -> Result<Bytes, BoxError> {
        let mut request = Request::builder().method(method.clone()).uri(target).body(Body::full(body))?;
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::try_from(self.server.origin().authority())?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        if let Some(value) = &self.authorization {
            headers.insert(AUTHORIZATION, value.clone());
        }
        let answer = self.server.send(request, self.client.patience()).await?;
        let status = answer.status();
        let bytes = collect(answer.into_body(), MOST).await?;
        if status.is_success() {
            return Ok(bytes);
        }
        Err(format!("{method} {target} answered {}: {}", status.as_u16(), String::from_utf8_lossy(&bytes)).into())
    }

    /// Sends a request and returns the JSON of a successful response.
    ///
    /// # Errors
    /// As for [`send`](Self::send), or if the response is not JSON.
    pub async fn ask(
        &self,
        method: Method,
        target: &str,
        media_type: &'static str,
        body: Bytes,
    ) -> Result<Value, BoxError> {
        Ok(serde_json::from_slice(&self.send(method, target, media_type, body).await?)?)
    }

    /// Sends a GET request and returns the JSON of a successful response.
    ///
    /// # Errors
    /// As for [`ask`](Self::ask).
    pub async fn get(&self, target: &str) -> Result<Value, BoxError> {
        self.ask(Method::GET, target, "application/json", Bytes::new()).await
    }
}

/// Builds the value of an `Authorization` header with name and password (RFC 7617).
#[must_use]
pub fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

/// The maximum length of a response, in bytes.
const MOST: u64 = 64 << 20;
