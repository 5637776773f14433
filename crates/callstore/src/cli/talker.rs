//! Client for a running call store, built on the program's own HTTP client.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request};
use serde_json::Value;
use stowage_base::tasks::Tasks;
use stowage_http::body::{Body, BoxError, collect};
use stowage_http::client::{Client, Server};
use stowage_http::connect::{Connector, Reach, Timeouts};
use stowage_http::egress::Egress;
use stowage_http::target::Origin;
use url::Url;

/// A minimal client.
#[derive(Debug)]
pub(super) struct Talker {
    server: Server,
    client: Client,
    authorization: Option<HeaderValue>,
}

/// Address and credentials of a running call store.
#[derive(Debug, clap::Args)]
pub(super) struct Running {
    /// The URL of the running call store
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:5987")]
    url: Url,
    /// A token of listen.tokens, if there are any; all users of this machine see it here [default: CALLSTORE_TOKEN]
    #[arg(long)]
    token: Option<String>,
}

impl Running {
    pub(super) fn talker(&self) -> Result<Talker, BoxError> {
        let token = self.token.clone().or_else(|| std::env::var("CALLSTORE_TOKEN").ok());
        Talker::new(&self.url, token.map(|token| format!("Bearer {token}")))
    }
}

impl Talker {
    /// Creates a client for this server; `authorization` is the header's value.
    pub(super) fn new(url: &Url, authorization: Option<String>) -> Result<Self, BoxError> {
        let patience = Duration::from_secs(30);
        let timeouts =
            Timeouts { connect: patience, tls_handshake: patience, response_head: patience, idle_body: patience };
        let connector = Connector::new(Egress::default(), timeouts)?;
        let client = Client::new(connector, Tasks::default(), 64 << 10);
        let origin = Origin::of(url).ok_or("the URL names no server")?;
        let authorization = authorization.map(HeaderValue::try_from).transpose()?;
        Ok(Self { server: client.server(origin, Reach::Operator), client, authorization })
    }

    /// Sends a request and returns the JSON of a successful response.
    pub(super) async fn ask(
        &self,
        method: Method,
        target: &str,
        media_type: &'static str,
        body: Bytes,
    ) -> Result<Value, BoxError> {
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
        if !status.is_success() {
            return Err(
                format!("{method} {target} answered {}: {}", status.as_u16(), String::from_utf8_lossy(&bytes)).into()
            );
        }
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// Sends a GET request.
    pub(super) async fn get(&self, target: &str) -> Result<Value, BoxError> {
        self.ask(Method::GET, target, "application/json", Bytes::new()).await
    }
}

/// Maximum response size.
const MOST: u64 = 64 << 20;
