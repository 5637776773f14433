//! Calls to a vendor's HTTP API, retried where that is safe.
//!
//! Every call can be retried: its body is in memory. What a retry cannot tell is whether an earlier attempt took effect after all;
//! [`Reply::doubtful`] and [`Lost::seen`] leave that for the caller to find out.

mod reply;

use self::reply::Limits;
pub(crate) use self::reply::Reply;
pub(crate) use super::lost::Lost;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, StatusCode, Uri};
use http_body::Body as _;
use moka::sync::Cache;
use url::Url;

use super::tries::Tries;
use crate::error::{Error, Kind, Result};
use stowage_http::body::Body;
use stowage_http::client::{Client, Patience, Server};
use stowage_http::connect::Reach;
use stowage_http::target::Origin;

/// A vendor's API, with the connections to its servers.
#[derive(Debug)]
pub(crate) struct Api {
    vendor: &'static Vendor,
    client: Client,
    /// Servers named in the operator's configuration; all others must be public.
    trusted: Vec<Origin>,
    servers: Cache<Origin, Server>,
}

/// Vendor-specific behavior.
#[derive(Debug)]
pub(crate) struct Vendor {
    /// Human-readable name.
    pub(crate) name: &'static str,
    /// Whether a response is a failure, by its status and document; for an object, and before reading, the document is empty.
    pub(crate) fails: fn(StatusCode, &[u8]) -> bool,
    /// Parses a failure's status and body.
    pub(crate) fault: fn(StatusCode, &[u8]) -> Fault,
}

/// Default for most vendors: a redirect is not a failure, because callers handle it.
pub(crate) fn by_status(status: StatusCode, _: &[u8]) -> bool {
    status.is_client_error() || status.is_server_error()
}

/// Details of a failure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The vendor's error code; empty if there is none. Contains no secrets and nothing from the client.
    pub(crate) code: String,
    /// Whether the failure is transient although its status alone does not say so.
    pub(crate) passes: bool,
    /// Delay requested in the failure's body rather than by `Retry-After`.
    pub(crate) pause: Option<Duration>,
}

/// A call to be made.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) origin: Origin,
    /// Path and query, sent verbatim.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) data: Bytes,
    /// Whether the response is an object, which is streamed, rather than JSON or nothing.
    object: bool,
    /// Whether the call removes what has a name.
    by_name: bool,
    /// Whether the response document may take minutes.
    slow: bool,
}

impl fmt::Debug for Call {
    /// Omits possible secrets: URLs given by a vendor carry their own authorization.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("method", &self.method).field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Call {
    /// Creates a call without a body, whose response is a document. `target` is path and query.
    pub(crate) fn new(method: Method, origin: &Origin, target: impl Into<String>) -> Self {
        let (origin, target) = (origin.clone(), target.into());
        let (headers, data) = (HeaderMap::new(), Bytes::new());
        Self { method, origin, target, headers, data, object: false, by_name: false, slow: false }
    }

    /// Creates a call to a URL given by the vendor.
    ///
    /// # Errors
    /// `Refused` for schemes other than `http` and `https`.
    pub(crate) fn to(method: Method, url: &str) -> Result<Self> {
        let wrong = || Error::new(Kind::Refused, "the storage gave an address that is no URL");
        let url: Url = url.parse().map_err(|_| wrong())?;
        let origin = Origin::of(&url).ok_or_else(wrong)?;
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        Ok(Self::new(method, &origin, format!("{}{query}", url.path())))
    }

    /// Creates a call to a URL given in a response of `from`.
    ///
    /// # Errors
    /// As for [`to`](Self::to); also `Refused` if the URL lacks TLS and `from` has it: a response must not be able to downgrade what is
    /// sent.
    pub(crate) fn given(method: Method, url: &str, from: &Origin) -> Result<Self> {
        let call = Self::to(method, url)?;
        if from.tls && !call.origin.tls {
            return Err(Error::new(Kind::Refused, "the storage gave an address without TLS"));
        }
        Ok(call)
    }

    /// Expects an object in response.
    pub(crate) fn object(mut self) -> Self {
        self.object = true;
        self
    }

    /// Waits for minutes for the response document, as long as something arrives.
    pub(crate) fn slow(mut self) -> Self {
        self.slow = true;
        self
    }

    /// Marks a removal that would also remove an object stored under the name since: it is not repeated once it may have taken effect.
    pub(crate) fn by_name(mut self) -> Self {
        self.by_name = true;
        self
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: impl http::header::IntoHeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Adds a header with this text.
    ///
    /// # Errors
    /// `Refused` for text that is not valid in a header.
    pub(crate) fn text(self, name: impl http::header::IntoHeaderName, text: &str) -> Result<Self> {
        let value = HeaderValue::from_str(text);
        Ok(self.header(name, value.map_err(|_| Error::new(Kind::Refused, "a text that cannot stand in a header"))?))
    }

    /// Sets the body.
    pub(crate) fn body(mut self, media_type: HeaderValue, data: impl Into<Bytes>) -> Self {
        self.headers.insert(http::header::CONTENT_TYPE, media_type);
        self.data = data.into();
        self
    }

    fn request(&self, authorization: Option<&HeaderValue>, body: Body) -> Result<Request<Body>> {
        let wrong = |_| Error::new(Kind::Refused, "a name that cannot stand in a request");
        let target: PathAndQuery = self.target.parse().map_err(wrong)?;
        let authority = HeaderValue::from_str(&self.origin.authority())
            .map_err(|_| Error::new(Kind::Settings, "a host that cannot stand in a request"))?;
        let is_empty = body.size_hint().exact() == Some(0);
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = Uri::from(target);
        *request.headers_mut() = self.headers.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, authority);
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        if is_empty && matches!(self.method, Method::PUT | Method::POST | Method::PATCH) {
            // hyper omits the header without a body, and vendors respond with 411.
            headers.insert(CONTENT_LENGTH, 0.into());
        }
        Ok(request)
    }
}

impl Api {
    /// `trusted` are servers chosen by the operator.
    pub(crate) fn new(vendor: &'static Vendor, client: Client, trusted: Vec<Origin>) -> Self {
        Self { vendor, client, trusted, servers: Cache::new(MOST_SERVERS) }
    }

    /// Makes a call, retrying transient failures a few times. A failure is a reply, too: see [`Reply::is_done`].
    ///
    /// # Errors
    /// If there is no response.
    pub(crate) async fn ask(
        &self,
        call: &Call,
        authorization: Option<&HeaderValue>,
    ) -> std::result::Result<Reply, Lost> {
        let once = |patience| self.once(call, authorization, Body::full(call.data.clone()), patience);
        self.repeat((call.data.len(), !call.by_name), once).await
    }

    /// Retries a call with a body of this many bytes while the failure is transient; each attempt may be signed anew. With `is_safe` unset, a call that
    /// may have taken effect is not retried.
    ///
    /// # Errors
    /// If there is no response.
    pub(crate) async fn repeat<F>(
        &self,
        (bytes, is_safe): (usize, bool),
        once: impl Fn(Patience) -> F,
    ) -> std::result::Result<Reply, Lost>
    where
        F: Future<Output = std::result::Result<Reply, Lost>>,
    {
        let mut seen = false;
        let mut tries = Tries::start(bytes);
        loop {
            match once(tries.patience(self.client.patience())).await {
                Ok(mut reply) => {
                    let acted = reply::may_have_acted(reply.status);
                    let is_busy = reply.status == StatusCode::SERVICE_UNAVAILABLE;
                    let is_last = !reply.passes() || (acted && !is_safe && !is_busy);
                    if is_last || !tries.again(&reply.refusal("answer")).await {
                        reply.doubtful = seen;
                        return Ok(reply);
                    }
                    seen |= acted;
                }
                Err(lost) => {
                    seen |= lost.seen;
                    let is_last = lost.seen && !is_safe;
                    if is_last || !tries.again(&lost.error).await {
                        return Err(Lost { error: lost.error, seen });
                    }
                }
            }
        }
    }

    /// Makes a call once, for callers that must check before retrying. `body` replaces the call's own.
    ///
    /// # Errors
    /// If there is no response.
    pub(crate) async fn once(
        &self,
        call: &Call,
        authorization: Option<&HeaderValue>,
        body: Body,
        patience: Patience,
    ) -> std::result::Result<Reply, Lost> {
        let request = call.request(authorization, body)?;
        let response = self.server(&call.origin).send(request, patience).await;
        let response = response.map_err(|error| Lost { seen: error.may_be_seen(), error: error.into() })?;
        let whole = patience.head.map(|head| if call.slow { head.max(SLOW) } else { head });
        let limits = Limits { failure: patience.head, document: whole };
        let reply = Reply::read(self.vendor, response, call.object, limits).await;
        let mut reply = reply.map_err(|error| Lost { error, seen: true })?;
        if let Some(authorization) = authorization {
            reply.conceal(authorization);
        }
        Ok(reply)
    }

    /// Returns the timeouts of a response.
    pub(crate) fn patience(&self) -> Patience {
        self.client.patience()
    }

    fn server(&self, origin: &Origin) -> Server {
        self.servers.get_with_by_ref(origin, || {
            let reach = if self.trusted.contains(origin) { Reach::Operator } else { Reach::Tenant };
            self.client.server(origin.clone(), reach)
        })
    }
}

/// The longest that a slow response document may take in total. A client's own deadline is shorter.
const SLOW: Duration = Duration::from_secs(600);
/// Number of servers kept connected per vendor; vendors give URLs for sessions and downloads.
const MOST_SERVERS: u64 = 16;
#[cfg(test)]
mod tests;
