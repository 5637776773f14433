//! `azure_core`'s transport: our own HTTP client, so that there is one TLS stack, one pool and one egress policy.

#![expect(clippy::result_large_err, reason = "the error is `azure_core`'s")]

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::headers::{HeaderName as AzureName, HeaderValue as AzureValue, Headers};
use azure_core::http::{AsyncRawResponse, AsyncResponseBody, Body as AzureBody, HttpClient, Request};
use futures_util::StreamExt;
use http::header::HOST;
use http::{HeaderName, HeaderValue, Method};
use http_body::Frame;
use http_body_util::{BodyDataStream, StreamBody};
use stowage_http::body::{Body, BoxError};
use stowage_http::client::{self, Client, Server};

use crate::{Error, Kind};

/// The connections to one account.
#[derive(Debug)]
pub(super) struct Transport {
    pub(super) server: Server,
    pub(super) client: Client,
}

#[async_trait]
impl HttpClient for Transport {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let request = outgoing(request, &self.server.origin().authority())?;
        let response = self.server.send(request, self.client.patience()).await.map_err(lost)?;
        let (head, body) = response.into_parts();
        let mut headers = Headers::new();
        for (name, value) in &head.headers {
            // This driver reads no header that is not valid text.
            if let Ok(value) = value.to_str() {
                headers.insert(AzureName::from(name.as_str().to_owned()), AzureValue::from(value.to_owned()));
            }
        }
        let broken = |error| azure_core::Error::new(ErrorKind::Io, Error::of_body(error));
        let stream = BodyDataStream::new(body).map(move |data| data.map_err(broken));
        Ok(AsyncRawResponse::new(head.status.as_u16().into(), headers, Box::pin(stream)))
    }
}

/// Converts the request for our client.
fn outgoing(request: &Request, authority: &str) -> azure_core::Result<http::Request<Body>> {
    let AzureBody::Bytes(data) = request.body() else { return Err(broken_pipeline()) };
    let mut sent = http::Request::new(Body::full(data.clone()));
    *sent.method_mut() = Method::from_bytes(request.method().as_str().as_bytes()).map_err(unsendable)?;
    *sent.uri_mut() = request.path_and_query().parse().map_err(unsendable)?;
    let headers = sent.headers_mut();
    for (name, value) in request.headers().iter() {
        let mut sent = HeaderValue::from_str(value.as_str()).map_err(unsendable)?;
        sent.set_sensitive(name.as_str() == "authorization");
        headers.insert(HeaderName::from_bytes(name.as_str().as_bytes()).map_err(unsendable)?, sent);
    }
    headers.insert(HOST, HeaderValue::from_str(authority).map_err(unsendable)?);
    Ok(sent)
}

/// Converts a response body to a streaming body.
pub(super) fn body(answer: AsyncResponseBody) -> Body {
    Body::boxed(StreamBody::new(answer.map(|data| data.map(Frame::data).map_err(|error| BoxError::from(own(error))))))
}

/// The error kind determines whether `azure_core` retries: it does for `Io` and `Connection`.
fn lost(error: client::Error) -> azure_core::Error {
    let kind = match error.kind() {
        client::Kind::Resolve | client::Kind::Connect => ErrorKind::Connection,
        client::Kind::Broken => ErrorKind::Io,
        // An unresponsive server has used up the client's patience.
        client::Kind::Silent | client::Kind::Refused | client::Kind::Tls | client::Kind::BadAnswer(_) => {
            ErrorKind::Other
        }
    };
    azure_core::Error::new(kind, Error::from(error))
}

/// Wraps our error so that it is not retried.
pub(super) fn last(error: Error) -> azure_core::Error {
    azure_core::Error::new(ErrorKind::Other, error)
}

/// Unwraps our error from one of `azure_core`.
pub(super) fn own(error: azure_core::Error) -> Error {
    let mut inner = BoxError::from(error);
    loop {
        inner = match inner.downcast::<Error>() {
            Ok(own) => return *own,
            Err(other) => other,
        };
        let unwrapped = inner.downcast::<azure_core::Error>().ok().and_then(|error| error.into_inner().ok());
        let Some(unwrapped) = unwrapped else {
            return Error::new(Kind::Refused, "a request to Azure cannot be made");
        };
        inner = unwrapped;
    }
}

/// The cause is dropped: it may quote the request.
fn unsendable<E>(_: E) -> azure_core::Error {
    last(Error::new(Kind::Refused, "a name that cannot stand in a request"))
}

/// The error for what this driver never builds: a pipeline without a transport, a body that is not bytes.
pub(super) fn broken_pipeline() -> azure_core::Error {
    last(Error::new(Kind::Refused, "a request to Azure cannot be made"))
}
