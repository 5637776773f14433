//! Requests to the storage's server, and to where it redirects.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, HOST, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body::Body as HttpBody;
use stowage_http::body::{Body, cause, collect};
use stowage_http::client::{self, Client, Patience, Server};
use stowage_http::connect::Reach;
use stowage_http::target::Origin;

use super::link::{Base, Link};
use super::redirect::Trail;
use crate::engine::tries::{Tries, retry_after};
use crate::error::{Error, Kind, Result};

/// The storage's server, with the credentials only it may see.
#[derive(Debug)]
pub(super) struct Web {
    client: Client,
    home: Server,
    account: Option<HeaderValue>,
    headers: HeaderMap,
    /// The other server used last: redirects tend to lead to the same one.
    elsewhere: Mutex<Option<Server>>,
}

impl Web {
    pub(super) fn new(client: Client, base: &Base, headers: HeaderMap) -> Self {
        let home = client.server(base.origin().clone(), Reach::Tenant);
        Self { client, home, account: base.account().cloned(), headers, elsewhere: Mutex::new(None) }
    }

    /// Returns the timeouts of an exchange.
    pub(super) fn patience(&self) -> Patience {
        self.client.patience()
    }

    /// Builds a request; credentials and the settings' headers are only sent to the settings' origin.
    pub(super) fn request(&self, method: Method, link: &Link, body: Body) -> Result<Request<Body>> {
        let nonsense = || Error::new(Kind::Refused, "the object's URL cannot be sent");
        let target = PathAndQuery::try_from(link.target()).map_err(|_| nonsense())?;
        if target.as_str() != link.target() {
            return Err(nonsense());
        }
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from(target);
        let headers = request.headers_mut();
        let authority = HeaderValue::try_from(link.origin().authority()).map_err(|_| nonsense())?;
        headers.insert(HOST, authority);
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let is_home = link.origin() == self.home.origin();
        let account = self.account.as_ref().filter(|_| is_home).or_else(|| link.account());
        if let Some(account) = account {
            headers.insert(AUTHORIZATION, account.clone());
        }
        if is_home {
            headers.extend(self.headers.clone());
        }
        Ok(request)
    }

    /// Sends a request to the server of `link`.
    pub(super) async fn send(&self, link: &Link, request: Request<Body>, patience: Patience) -> Result<Response<Body>> {
        self.server(link.origin()).send(request, patience).await.map_err(failed)
    }

    /// Sends a request without a body, retrying and following redirects. Redirected requests carry the same `extra`
    /// headers.
    pub(super) async fn ask(&self, method: &Method, link: &Link, extra: &HeaderMap) -> Result<(Link, Response<Body>)> {
        let mut tries = Tries::start(0);
        loop {
            match self.follow(method.clone(), link.clone(), extra, tries.patience(self.patience())).await {
                Ok((_, response)) if refusal(method, response.status()).kind() == Kind::Passing => {
                    let error = refused(method, response).await;
                    if !tries.again(&error).await {
                        return Err(error);
                    }
                }
                Err(error) if tries.again(&error).await => {}
                outcome => return outcome,
            }
        }
    }

    /// Sends a request without a body, following redirects.
    pub(super) async fn follow(
        &self,
        mut method: Method,
        mut link: Link,
        extra: &HeaderMap,
        patience: Patience,
    ) -> Result<(Link, Response<Body>)> {
        let mut trail = Trail::default();
        loop {
            if method == Method::DELETE && link.is_folder() {
                // As if the server refused this one object: the storage's other removals go on.
                let error = Error::new(Kind::Refused, "the URL is that of a folder, which is never removed");
                return Err(error.with_status(StatusCode::METHOD_NOT_ALLOWED));
            }
            let mut request = self.request(method.clone(), &link, Body::empty())?;
            request.headers_mut().extend(extra.clone());
            let response = self.send(&link, request, patience).await?;
            match trail.next(&method, &link, response.status(), response.headers())? {
                None => return Ok((link, response)),
                Some(next) => (method, link) = next,
            }
            discard(response).await;
        }
    }

    fn server(&self, origin: &Origin) -> Server {
        if origin == self.home.origin() {
            return self.home.clone();
        }
        let mut elsewhere = self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner);
        match &*elsewhere {
            Some(server) if server.origin() == origin => server.clone(),
            _ => elsewhere.insert(self.client.server(origin.clone(), Reach::Tenant)).clone(),
        }
    }
}

/// Returns the error for an unsuccessful response, without anything from its body.
pub(super) fn refusal(method: &Method, status: StatusCode) -> Error {
    Error::answered(status, format!("{method} was not answered with success"))
}

/// Like [`refusal`], with the server's message and requested delay.
pub(super) async fn refused(method: &Method, response: Response<Body>) -> Error {
    let error = refusal(method, response.status()).after(retry_after(response.headers()));
    let said = tokio::time::timeout(SHORT_WAIT, collect(response.into_body(), SHORT_ANSWER)).await;
    match said {
        Ok(Ok(said)) => error.saying(&said),
        _ => error,
    }
}

/// Returns whether a response means that nothing is there (RFC 9110 sections 15.5.5 and 15.5.11); no other status does.
pub(super) const fn is_gone(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE)
}

/// Returns whether nothing is known about the server because it was unreachable or silent.
pub(super) fn is_unreachable(error: &Error) -> bool {
    let kind = cause::<client::Error>(error).map(client::Error::kind);
    kind.is_some_and(|kind| !matches!(kind, client::Kind::Broken | client::Kind::BadAnswer(_)))
}

/// Returns whether a response body has a coding that was not requested.
pub(super) fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_ENCODING).is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Drains a short response, so that its connection can be reused.
pub(super) async fn discard(response: Response<Body>) {
    let body = response.into_body();
    if !body.is_end_stream() && body.size_hint().upper().is_some_and(|length| length <= SHORT_ANSWER) {
        // On failure the connection is closed, and the response has already been interpreted.
        let _closed = tokio::time::timeout(SHORT_WAIT, collect(body, SHORT_ANSWER)).await;
    }
}

/// Preserves the error kind of the body being sent.
fn failed(error: client::Error) -> Error {
    match cause::<Error>(&error).map(Error::kind) {
        Some(kind) => Error::new(kind, "the body could not be sent to its end").because(error),
        None => error.into(),
    }
}

const SHORT_ANSWER: u64 = 64 << 10;
const SHORT_WAIT: Duration = Duration::from_millis(500);
