//! Requests that are not about an attachment of a planned database are forwarded byte for byte, whatever either side does.
//!
//! Each file is about one topic of HTTP, all on one level and with the same two ends, a raw client and a scripted server.

mod admin;
mod broken;
mod connections;
mod cors;
mod deadlines;
mod early;
mod exact;
mod forwarded;
mod framing;
mod hop;
mod host;
mod http2;
mod limits;
mod shutdown;
mod streaming;
mod tls;

use tokio::io::{AsyncRead, AsyncWrite};

use stowage_testing::gateway::{Running, Setup};
use stowage_testing::raw::{RawClient, RawResponse};
use stowage_testing::upstream::{Connection, Seen, Upstream, soon, until};

/// A gateway in front of a scripted server.
struct World {
    gateway: Running,
    upstream: Upstream,
}

impl World {
    async fn start() -> Self {
        Self::with(&[]).await
    }

    /// Starts with this configuration.
    async fn with(settings: &[(&str, &str)]) -> Self {
        Self::before(Upstream::start().await, "", settings).await
    }

    /// Starts in front of this server, below a path.
    async fn before(upstream: Upstream, path: &str, settings: &[(&str, &str)]) -> Self {
        let setup = Setup::default().upstream(&format!("{}{path}", upstream.url()));
        let setup = settings.iter().fold(setup, |setup, (key, value)| setup.set(key, value));
        let gateway = setup.start().await;
        gateway.followed().await;
        Self { gateway, upstream }
    }

    async fn client(&self) -> RawClient {
        RawClient::connect(self.gateway.address).await.expect("the gateway accepts")
    }

    /// Sends a request on a new connection; returns that, and the upstream's connection with the request.
    async fn ask(&mut self, request: impl AsRef<[u8]>) -> (RawClient, Connection, Seen) {
        let mut client = self.client().await;
        let (connection, seen) = self.asks(&mut client, request).await;
        (client, connection, seen)
    }

    /// Sends a request on a connection; returns the upstream's connection with the request.
    async fn asks<S>(&mut self, client: &mut RawClient<S>, request: impl AsRef<[u8]>) -> (Connection, Seen)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        client.send(request).await.expect("sent");
        self.upstream.request().await
    }

    /// Sends bytes on a new connection; returns what the upstream sees, which responds with `answer`, and what comes back.
    async fn pass(&mut self, request: impl AsRef<[u8]>, answer: impl AsRef<[u8]>) -> (Seen, RawResponse) {
        let request = request.as_ref();
        let mut client = self.client().await;
        client.send(request).await.expect("sent");
        let (mut connection, seen) = tokio::select! {
            seen = self.upstream.request() => seen,
            answer = client.response() => panic!("{} got {answer:?}", request.escape_ascii()),
        };
        connection.send(answer).await;
        let bare = request.starts_with(b"HEAD ");
        let got = soon("an answer", async { if bare { client.head().await } else { client.response().await } }).await;
        self.upstream.keep(connection);
        (seen, got.expect("an answer"))
    }

    /// Waits until the gateway has noticed that its upstream connections are closed.
    async fn quiet_upstream(&self) {
        // One connection is the feed of the plans.
        until("the upstream's end is seen", async || self.gateway.app.upstream.running() <= 1).await;
    }

    /// Sends bytes on a new connection; returns the gateway's own response, and checks that nothing reaches the upstream.
    async fn refused(&mut self, request: impl AsRef<[u8]>) -> RawResponse {
        let request = request.as_ref();
        let mut client = self.client().await;
        client.send(request).await.expect("sent");
        let answer = tokio::select! {
            answer = soon("an answer", client.response()) => answer,
            _ = self.upstream.accept() => panic!("{} reached the upstream", request.escape_ascii()),
        };
        answer.unwrap_or_else(|error| panic!("{}: {error}", request.escape_ascii()))
    }
}

/// Builds a GET for a persistent connection.
fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: couch.example:5984\r\n\r\n")
}

/// Reads a response.
async fn answered<S: AsyncRead + AsyncWrite + Unpin>(client: &mut RawClient<S>) -> RawResponse {
    soon("an answer", client.response()).await.expect("an answer")
}

/// Makes an exchange on open connections; returns the response.
async fn exchange(client: &mut RawClient, connection: &mut Connection, target: &str) -> RawResponse {
    client.send(get(target)).await.expect("sent");
    assert_eq!(connection.request().await.target(), target);
    connection.answer("200 OK", "{}\n").await;
    answered(client).await
}

/// Checks that the response is a refusal in CouchDB's form.
fn assert_refusal(answer: &RawResponse, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert!(["error", "reason"].iter().all(|key| body.get(key).is_some_and(|text| text.is_string())), "{body}");
}

/// A response without a body.
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
